from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import CheckpointError, build_network, network_config
from models.pretrained import load_sam, read_cnn, read_sam, start_cnn, start_from_sam
from models.sam import build_sam
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
