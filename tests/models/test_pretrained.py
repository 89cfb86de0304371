from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models import CheckpointError, build_network, network_config
from models.pretrained import load_sam, read_cnn, read_sam, start_cnn, start_from_sam
from models.sam import build_sam
from tests.models.official_mobile_sam import official_state
from tests.models.small_networks import small_network


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with exactly the keys and shapes of SAM's vit_b, each tensor one number stretched."""
    path = tmp_path_factory.mktemp("sam") / "sam_vit_b.pth"
    torch.save(sam_state(), path)
    return path


def sam_state() -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build_sam(network_config("vit_b")).state_dict().items()}
    return {name: torch.full((1,), 0.5).expand(shape) for name, shape in shapes.items()}


def test_an_official_file_loads_whole(official: Path) -> None:
    sam = load_sam(official)

    assert all(tensor.eq(0.5).all() for tensor in sam.state_dict().values())


@pytest.mark.parametrize("image_size", [1024, 256])
def test_training_starts_from_sam_at_any_image_size(image_size: int, official: Path) -> None:
    network = build_network(network_config("vit_b", image_size=image_size))

    start_from_sam(network, read_sam(official))

    sams = [
        network.vicnet.vit.pos_embed,
        network.vicnet.vit.blocks[2].attn.rel_pos_h,
        network.decoder.sam.iou_token.weight,
    ]
    assert all(torch.allclose(tensor, torch.tensor(0.5)) for tensor in sams)
    assert not network.vicnet.evpt.shared.weight.eq(0.5).any()


def test_reference_mode_keeps_its_own_mask_tokens(official: Path) -> None:
    network = build_network(network_config("vit_b", image_size=256, mode="reference"))

    start_from_sam(network, read_sam(official))

    assert not network.decoder.sam.mask_tokens.weight.eq(0.5).any()
    assert network.decoder.sam.iou_token.weight.eq(0.5).all()


def test_a_file_of_another_size_is_refused(official: Path) -> None:
    with pytest.raises(CheckpointError, match="is SAM's vit_b; this network is a nano"):
        start_from_sam(build_network(network_config("nano")), read_sam(official))


def test_missing_and_unexpected_keys_are_named(tmp_path: Path) -> None:
    state = sam_state()
    del state["mask_decoder.iou_token.weight"]
    state["mask_decoder.hf_token.weight"] = torch.zeros(1, 256)
    torch.save(state, tmp_path / "sam.pth")

    with pytest.raises(CheckpointError, match=r"missing mask_decoder.iou_token.*unexpected mask_decoder.hf_token"):
        load_sam(tmp_path / "sam.pth")


def test_a_file_that_is_not_sams_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "sam.pth")

    with pytest.raises(CheckpointError, match=r"no SAM checkpoint.*it has weight"):
        load_sam(tmp_path / "sam.pth")


def test_the_cnn_starts_from_a_classifiers_weights(tmp_path: Path) -> None:
    """Names and shapes as torchvision's resnet18 saves them, at the width of the small network."""
    network = small_network()
    state = {name: torch.full_like(tensor, 2) for name, tensor in network.vicnet.cnn.state_dict().items()}
    torch.save(state | {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}, tmp_path / "resnet.pth")

    start_cnn(network, read_cnn(tmp_path / "resnet.pth", "resnet18"), "resnet.pth")

    assert network.vicnet.cnn.conv1.weight.eq(2).all()
    assert "layer2.0.downsample.1.running_var" in state


@pytest.fixture(scope="module")
def official_vit_t(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mobile-sam") / "mobile_sam.pt"
    torch.save(official_state(), path)
    return path


def test_an_official_file_of_mobile_sam_loads_with_its_batch_norms_folded(official_vit_t: Path) -> None:
    """Every key of the file is there or unused, and one layer is followed by hand."""
    theirs = official_state()
    layer = "image_encoder.layers.2.blocks.3.local_conv"
    image = torch.randn(1, 160, 6, 6)

    sam = load_sam(official_vit_t)

    convolved = F.conv2d(image, theirs[f"{layer}.c.weight"], padding=1, groups=160)
    norm = [theirs[f"{layer}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    ours = sam.image_encoder.layers[2].blocks[3].local_conv(image)
    torch.testing.assert_close(ours, F.batch_norm(convolved, *norm), atol=1e-4, rtol=1e-4)
    untouched = [name for name in theirs if ".c." not in name and ".bn." not in name and "head." not in name]
    assert all(torch.equal(sam.state_dict()[name], theirs[name]) for name in untouched if "norm_head" not in name)


def test_vit_t_starts_from_mobile_sam_at_any_image_size(official_vit_t: Path) -> None:
    network = build_network(network_config("vit_t", image_size=96))

    start_from_sam(network, read_sam(official_vit_t))

    theirs = official_state()
    tables = network.vicnet.vit.layers[3].blocks[1].attn.attention_biases
    assert torch.equal(tables, theirs["image_encoder.layers.3.blocks.1.attn.attention_biases"])
    assert torch.equal(network.decoder.sam.mask_tokens.weight, theirs["mask_decoder.mask_tokens.weight"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("image_encoder.layers.1.downsample.conv2.bn.running_var"), r"conv2.bn lacks running_var"),
        (lambda state: state.pop("image_encoder.neck.2.weight"), r"missing image_encoder.neck.2.weight"),
        (
            lambda state: state.update({"image_encoder.patch_embed.seq.0.bn.bias": torch.zeros(31)}),
            r"seq.0.bn has another width than .*seq.0.c",
        ),
        (
            lambda state: state.update({"image_encoder.layers.3.blocks.0.attn.qkv.weight": torch.zeros(960, 160)}),
            r"wrong shapes .*qkv.weight \(960, 160\) instead of \(960, 320\)",
        ),
        (lambda s: s.update({"image_encoder.layers.4.x": torch.zeros(1)}), r"unexpected image_encoder.layers.4.x"),
    ],
)  # fmt: skip
def test_what_does_not_fit_in_a_file_of_mobile_sam_is_named(damage: Any, message: str, tmp_path: Path) -> None:
    state = official_state()
    damage(state)
    torch.save(state, tmp_path / "mobile_sam.pt")

    with pytest.raises(CheckpointError, match=rf"mobile_sam.pt does not fit: .*{message}"):
        read_sam(tmp_path / "mobile_sam.pt")


def test_a_sam_for_another_size_changes_nothing(official_vit_t: Path) -> None:
    network = build_network(network_config("vit_b", image_size=64))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    with pytest.raises(CheckpointError, match="is SAM's vit_t; this network is a vit_b"):
        start_from_sam(network, read_sam(official_vit_t))

    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
