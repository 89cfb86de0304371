from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from models import AutoNetwork, load_checkpoint, save_checkpoint
from models.configuration import SecondPass
from models.prompt_free import second_mask
from tests.models.small_networks import small_network

SECOND_PASSES: list[SecondPass] = ["none", "mask", "points", "boxes"]
UNWANTED_OPERATORS = {"Loop", "DFT", "ScatterND", "NonZero", "If"}


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (3, 128, 128, 3), dtype=torch.uint8)


@torch.no_grad()
def test_outputs_are_probabilities_in_the_promised_order(pixels: Tensor) -> None:
    auto = AutoNetwork(small_network(num_classes=3))

    outputs = dict(zip(auto.output_names, auto(pixels), strict=True))

    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "mask": (3, 32, 32), "pixel_map": (3, 32, 32), "score": (3,), "class_map": (3, 3, 32, 32),
    }  # fmt: skip
    assert all(output.min() >= 0 and output.max() <= 1 for output in outputs.values())
    torch.testing.assert_close(outputs["class_map"].sum(dim=1), torch.ones(3, 32, 32))


def test_a_binary_network_promises_no_class_map() -> None:
    assert AutoNetwork(small_network()).output_names == ("mask", "pixel_map", "score")


@pytest.mark.parametrize("second_pass", SECOND_PASSES[1:])
@torch.no_grad()
def test_a_second_pass_changes_the_mask_and_nothing_else(second_pass: SecondPass, pixels: Tensor) -> None:
    network = small_network()

    once = AutoNetwork(network)(pixels)
    network.config = replace(network.config, second_pass=second_pass, second_pass_threshold=0.01)
    twice = AutoNetwork(network)(pixels)

    assert not torch.equal(once[0], twice[0])
    assert torch.equal(once[1], twice[1])
    assert torch.equal(once[2], twice[2])


@torch.no_grad()
def test_where_the_map_finds_nothing_the_second_pass_gives_an_empty_mask(pixels: Tensor) -> None:
    mask, _, _ = AutoNetwork(small_network(second_pass="boxes", second_pass_threshold=1 - 1e-9))(pixels)

    assert mask.max() < 1e-9


@pytest.mark.parametrize("second_pass", SECOND_PASSES)
@torch.no_grad()
def test_a_batch_gives_what_its_images_give_one_by_one(second_pass: SecondPass, pixels: Tensor) -> None:
    auto = AutoNetwork(small_network(second_pass=second_pass, second_pass_threshold=0.3))

    together, alone = auto(pixels), [auto(pixels[i : i + 1]) for i in range(3)]

    for index, output in enumerate(together):
        torch.testing.assert_close(output, torch.cat([one[index] for one in alone]), atol=1e-5, rtol=1e-5)


def test_an_unknown_second_pass_is_refused() -> None:
    with pytest.raises(ValueError, match=r"second_pass is 'loop'.*none, mask, points, boxes"):
        small_network(second_pass="loop")


@torch.no_grad()
def test_a_checkpoint_keeps_its_second_pass(tmp_path: Path, pixels: Tensor) -> None:
    network = small_network(second_pass="points", second_pass_points=3, second_pass_threshold=0.2)
    save_checkpoint(tmp_path / "best.pth", network, {})

    loaded, _ = load_checkpoint(tmp_path / "best.pth")

    assert loaded.config == network.config
    assert torch.equal(AutoNetwork(loaded)(pixels)[0], AutoNetwork(network)(pixels)[0])


def test_training_may_prompt_the_second_pass_without_a_gradient_through_the_prompts() -> None:
    network = small_network(second_pass="mask")
    encoded = network.encode(torch.rand(2, 3, 128, 128) * 255)
    first = network.decode(encoded)

    second_mask(network, encoded, first).sum().backward()

    assert network.decoder.pixel_head.weight.grad is None
    assert network.decoder.hf_token.weight.grad is not None


EXPORTS = ["none", "boxes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mask", "points"))]


@pytest.fixture(scope="module", params=EXPORTS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[AutoNetwork, Path]:
    """A network and its ONNX file. As few blocks as hold one of each kind: the exporter takes seconds for each."""
    few_blocks = {"depth": 5, "global_blocks": (1, 2, 3, 4), "decoder_depth": 1}
    auto = AutoNetwork(
        small_network(num_classes=2, second_pass=request.param, second_pass_threshold=0.3, **few_blocks)
    ).eval()
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            auto, (torch.zeros(2, 128, 128, 3, dtype=torch.uint8),), path, dynamo=True, input_names=["image"],
            output_names=list(auto.output_names), dynamic_shapes={"images": {0: torch.export.Dim("batch", max=64)}},
            verbose=False,
        )  # fmt: skip
    return auto, path


def test_the_exported_graph_gives_the_same_for_any_batch(exported: tuple[AutoNetwork, Path], pixels: Tensor) -> None:
    auto, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    for batch in (pixels, pixels[:1]):
        outputs = session.run(list(auto.output_names), {"image": batch.numpy()})

        with torch.no_grad():
            expected = auto(batch)
        for ours, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_the_exported_graph_holds_no_operator_that_engines_refuse(exported: tuple[AutoNetwork, Path]) -> None:
    graph = onnx.load(exported[1]).graph

    assert {node.op_type for node in graph.node}.isdisjoint(UNWANTED_OPERATORS)
