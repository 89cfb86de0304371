"""ImageNet weights for the auxiliary CNN: torchvision's ResNets, and EfficientNet-Lite0 of two ports."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.configuration import CnnKind
from models.encoders.efficientnet import STAGES
from models.f2pnet import F2PNet
from models.files.weights import CheckpointError, fill, read_tensors, some

CLASSIFIERS = {
    "resnet": re.compile(r"fc\."),
    "timm": re.compile(r"(conv_head|bn2|classifier)\."),
    "flat": re.compile(r"_(conv_head|bn1|fc)\."),
}
"""What a file holds for its 1000 classes, by the names it uses."""

FLAT_BLOCK = re.compile(r"_blocks\.(\d+)\._(\w+)\.(\w+)")
FLAT_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
COUNTER = "num_batches_tracked"


def read_cnn(path: str | Path, kind: CnnKind) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file under our names, without classifier and counters.

    Raises CheckpointError for a file that is no CNN of this kind.
    """
    path = Path(path)
    tensors = {name: t for name, t in read_tensors(path).items() if not name.endswith(COUNTER)}
    if kind != "tf_efficientnet_lite0":
        return _without(tensors, "resnet")
    if "_conv_stem.weight" in tensors:
        return {_timm_name(name, str(path)): tensor for name, tensor in _without(tensors, "flat").items()}
    return _without(tensors, "timm")


def start_cnn(network: F2PNet, tensors: Mapping[str, Tensor], source: str) -> None:
    """Gives the auxiliary CNN the tensors of `read_cnn`, in place. Raises CheckpointError where they do not fit."""
    fill_cnn(network.vicnet.cnn, tensors, source)


def fill_cnn(cnn: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    counters = {name: torch.zeros_like(t) for name, t in cnn.state_dict().items() if name.endswith(COUNTER)}
    fill(cnn, {**tensors, **counters}, source)


def _without(tensors: Mapping[str, Tensor], names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not CLASSIFIERS[names].match(name)}


def _timm_name(flat: str, source: str) -> str:
    """The name in timm of a tensor of a port that numbers its blocks through, `_blocks.3._expand_conv.weight`."""
    if (found := FLAT_BLOCK.fullmatch(flat)) is None:
        layer, _, value = flat.partition(".")
        if layer not in FLAT_STEM:
            raise CheckpointError(f"{source} is no EfficientNet-Lite0: unexpected {some([flat])}")
        return f"{FLAT_STEM[layer]}.{value}"
    number, layer, value = int(found[1]), found[2], found[3]
    places = [(stage, block) for stage, (depth, *_) in enumerate(STAGES) for block in range(depth)]
    if number >= len(places):
        raise CheckpointError(f"{source} is no EfficientNet-Lite0: it has more than {len(places)} blocks ({flat})")
    stage, block = places[number]
    first = STAGES[stage][2] == 1
    layers = (
        {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
        if first
        else {
            "expand_conv": "conv_pw",
            "bn0": "bn1",
            "depthwise_conv": "conv_dw",
            "bn1": "bn2",
            "project_conv": "conv_pwl",
            "bn2": "bn3",
        }
    )
    if layer not in layers:
        raise CheckpointError(f"{source} is no EfficientNet-Lite0: unexpected {some([flat])}")
    return f"blocks.{stage}.{block}.{layers[layer]}.{value}"
