from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from models import CheckpointError, build_network, load_checkpoint, network_config, save_checkpoint
from models.files.names import canonical_name
from tests.models.small_networks import small_network


@torch.no_grad()
def test_a_network_comes_back_as_it_was_saved(tmp_path: Path, images: Tensor) -> None:
    network = small_network(num_classes=3)
    save_checkpoint(tmp_path / "best", network, {"dataset": "MT", "iou": 0.5})

    loaded, facts = load_checkpoint(tmp_path / "best")

    assert loaded.config == network.config
    assert facts == {"dataset": "MT", "iou": 0.5}
    assert not loaded.training
    assert torch.equal(loaded(images).mask_logits, network(images).mask_logits)
    assert [file.name for file in tmp_path.iterdir()] == ["best"]


def test_a_checkpoint_is_read_whatever_the_length_of_its_header(tmp_path: Path) -> None:
    """The file begins with that length: one in thirty-two has the first byte of a pickle there."""
    network, starts = small_network(), set()
    for letters in range(0, 256, 8):
        save_checkpoint(tmp_path / "best", network, {"note": "x" * letters})
        starts.add((tmp_path / "best").read_bytes()[:1])
        assert load_checkpoint(tmp_path / "best")[1] == {"note": "x" * letters}
    assert b"\x80" in starts


@torch.no_grad()
def test_a_network_may_be_loaded_for_another_image_size(tmp_path: Path) -> None:
    """Tables are resampled: a ramp over the rows of the token grid stays a ramp, twice as fine."""
    network = small_network()
    ramp = torch.arange(8.0).repeat_interleave(8)
    network.vicnet.evpt.hf_up.bias.copy_(ramp)
    network.vicnet.vit.pos_embed.copy_(ramp.reshape(1, 8, 8, 1).expand(1, 8, 8, 48))
    save_checkpoint(tmp_path / "n", network, {})

    larger, _ = load_checkpoint(tmp_path / "n", image_size=256)

    finer = torch.arange(16.0) / 2 - 0.25
    inner = slice(4, 12)
    torch.testing.assert_close(larger.vicnet.evpt.hf_up.bias.reshape(16, 16)[inner, 5], finer[inner])
    # Bicubic weights are not exact on a ramp, only near it.
    torch.testing.assert_close(larger.vicnet.vit.pos_embed[0, inner, 5, 0], finer[inner], atol=0.1, rtol=0)
    assert larger.vicnet.vit.blocks[1].attn.rel_pos_h.shape == (31, 24)
    assert larger(torch.rand(1, 3, 256, 256) * 255).mask_logits.shape == (1, 1, 64, 64)


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "n"
    save_checkpoint(path, small_network(), {})
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.*No such file"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_safetensors_file_of_others_is_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(3)}, tmp_path / "n")

    with pytest.raises(CheckpointError, match="has format None"):
        load_checkpoint(tmp_path / "n")


@pytest.mark.parametrize(
    "configuration", ["not json", "[]", '{"sam_type": "x"}', '{"sam_type": "x", "width": "wide", "depth": 1}']
)
def test_a_damaged_description_is_refused(configuration: str, tmp_path: Path) -> None:
    metadata = {"format": "f2pnet-checkpoint-1", "configuration": configuration, "facts": "{}"}
    safetensors.torch.save_file({"weight": torch.zeros(3)}, tmp_path / "n", metadata)

    with pytest.raises(CheckpointError, match="damaged description"):
        load_checkpoint(tmp_path / "n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 10**9}, "cannot be built: it names more blocks"),
        ({"width": 2 * 10**9}, "cannot be built"),
        ({"width": 48.5}, "damaged description"),
        ({"image_size": 2**20}, "does not fit: wrong shapes"),
        ({"num_classes": 5}, "does not fit: missing decoder.class_head"),
    ],
)
def test_a_description_that_the_weights_contradict_costs_neither_time_nor_memory(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    network = small_network()
    description = json.dumps(network.config.to_dict() | changes)
    metadata = {"format": "f2pnet-checkpoint-1", "configuration": description, "facts": "{}"}
    safetensors.torch.save_file(network.state_dict(), tmp_path / "n", metadata)

    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "n")


class Hostile:
    """Unpickling it would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Hostile(tmp_path / "witness")}, tmp_path / "n.pth")

    with pytest.raises(CheckpointError, match="holds more than tensors"):
        load_checkpoint(tmp_path / "n.pth")
    assert not (tmp_path / "witness").exists()


def test_a_truncated_torch_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.pth"
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])

    with pytest.raises(CheckpointError, match="cannot be read as a PyTorch checkpoint"):
        load_checkpoint(path)


def test_a_torch_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "n.pth")

    with pytest.raises(CheckpointError, match="holds a list; it must be a state dict"):
        load_checkpoint(tmp_path / "n.pth")


def authors_state(size: str = "vit_b", value: float = 0.5) -> dict[str, Tensor]:
    """A file as the published training saves it: every name, doubles included. Each tensor is one number stretched."""
    with torch.device("meta"):
        canonical = {
            canonical_name(name): tensor
            for name, tensor in build_network(network_config(size, mode="reference")).state_dict().items()
        }
    state = {}
    for name, tensor in canonical.items():
        stretched = torch.tensor(value).to(tensor.dtype).expand(tensor.shape)
        is_sams = name.startswith(
            ("image_encoder.pos", "image_encoder.patch", "image_encoder.blocks", "image_encoder.neck")
        )
        if is_sams:
            names = ["ori_sam." + name, name.replace("image_encoder.", "image_encoder.sam_img_encoder.")]
        elif name.startswith("prompt_encoder."):
            names = ["ori_sam." + name, name.replace("prompt_encoder.", "prompt_encoder.sam_prompt_encoder.")]
        elif name == "mask_decoder.hf_token.weight":
            names = [name, "image_encoder.hq_token"]
        else:
            names = [name]
        state.update(dict.fromkeys(names, stretched))
    return state


@pytest.mark.parametrize(("size", "keys"), [("vit_b", 742), ("vit_l", 1118), ("vit_h", 1374)])
def test_our_names_cover_the_authors_keys(size: str, keys: int) -> None:
    assert len(authors_state(size)) == keys


def test_the_authors_file_gives_a_network_in_reference_mode(tmp_path: Path) -> None:
    torch.save(authors_state(), tmp_path / "best_model_mIoU.pth")

    network, facts = load_checkpoint(tmp_path / "best_model_mIoU.pth")

    assert (network.config.sam_type, network.config.mode) == ("vit_b", "reference")
    assert facts["format"] == "authors"
    assert all(tensor.eq(0.5).all() for name, tensor in network.state_dict().items() if tensor.is_floating_point())


def test_doubles_that_differ_are_refused(tmp_path: Path) -> None:
    state = authors_state()
    state["image_encoder.hq_token"] = torch.ones(1, 256)
    torch.save(state, tmp_path / "n.pth")

    with pytest.raises(CheckpointError, match=r"hf_token.weight twice with different values \(image_encoder.hq_token"):
        load_checkpoint(tmp_path / "n.pth")


def test_missing_and_unexpected_keys_are_named(tmp_path: Path) -> None:
    state = authors_state()
    del state["image_encoder.fpn.2.bias"]
    state["image_encoder.fpn.9.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "n.pth")

    with pytest.raises(CheckpointError, match=r"missing vicnet.fpn.2.bias; unexpected image_encoder.fpn.9.bias"):
        load_checkpoint(tmp_path / "n.pth")


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "n.pth")

    with pytest.raises(CheckpointError, match="is no F2P-Net checkpoint"):
        load_checkpoint(tmp_path / "n.pth")
