"""SAM's weights, of its official checkpoints, of MobileSAM's, and of files that `convert` made of ONNX graphs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.configuration import NetworkConfig, network_config
from models.f2pnet import F2PNet
from models.files.names import canonical_name
from models.files.weights import CheckpointError, fill, fit_tables, read_tensors, require_fit, some
from models.sam import Sam, build_sam

SAM_PARTS = ("vicnet.vit.", "prompt_encoder.", "decoder.sam.")
RETRAINED_IN_REFERENCE = ("decoder.sam.mask_tokens.", "decoder.sam.iou_prediction_head.")
"""The published code replaces these of SAM's parts by fresh ones."""

OFFICIAL_SIZES = ("vit_t", "vit_b", "vit_l", "vit_h")
"""Sizes of which weights were published."""

TINY_VIT_MARK = "image_encoder.patch_embed.seq.0."
UNUSED = re.compile(r"image_encoder\.(norm_head|head)\.|.*\.attention_bias_idxs$")
"""What MobileSAM's file holds beside SAM: TinyViT's classifier, and a table that is derived."""
BATCH_NORM_EPS = 1e-5


@dataclass(frozen=True)
class SamWeights:
    """Tensors of a whole SAM, by the names of `build_sam(network_config(sam_type))`."""

    sam_type: str
    tensors: dict[str, Tensor]
    source: str


def read_sam(path: str | Path) -> SamWeights:
    """The weights of a file, all names and shapes checked. Raises CheckpointError for a file that holds no SAM."""
    path = Path(path)
    tensors = read_tensors(path)
    config = _sam_config(tensors, str(path))
    if config.is_staged:
        tensors = fold_batch_norms({name: t for name, t in tensors.items() if not UNUSED.match(name)}, str(path))
    with torch.device("meta"):
        sam = build_sam(config)
    require_fit(sam, tensors, source=str(path))
    return SamWeights(config.sam_type, tensors, str(path))


def load_sam(path: str | Path) -> Sam:
    """SAM as in the file, in eval mode. Raises CheckpointError on any missing or unexpected key."""
    weights = read_sam(path)
    sam = build_sam(network_config(weights.sam_type))
    fill(sam, weights.tensors, source=weights.source)
    return sam.eval()


def start_from_sam(network: F2PNet, weights: SamWeights) -> None:
    """Gives the network's SAM parts these weights, in place; the parts that are F2P-Net's own stay.

    Position tables are resampled if the network's images are not 1024 x 1024. Raises CheckpointError for another size.
    """
    if weights.sam_type != network.config.sam_type:
        raise CheckpointError(
            f"{weights.source} is SAM's {weights.sam_type}; this network is a {network.config.sam_type}"
        )
    ours = network.state_dict()
    wanted = [name for name in ours if name.startswith(SAM_PARTS) and not _is_retrained(network, name)]
    fitted = fit_tables({name: weights.tensors[canonical_name(name)] for name in wanted}, network)
    fill(network, ours | fitted, source=weights.source)


def fill_encoder(encoder: nn.Module, weights: SamWeights) -> None:
    """Gives a vit_t's encoder, which has no position table, the weights of SAM's. Raises CheckpointError where they
    don't fit."""
    prefix = "image_encoder."
    own = {name.removeprefix(prefix): t for name, t in weights.tensors.items() if name.startswith(prefix)}
    fill(encoder, own, source=weights.source)


def fold_batch_norms(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Each `X.c` (a convolution without bias) and `X.bn` as one convolution `X` with bias; all else as it is."""
    folded = {name: tensor for name, tensor in tensors.items() if ".c." not in name and ".bn." not in name}
    for name, kernel in tensors.items():
        if not name.endswith(".c.weight"):
            continue
        layer = name.removesuffix(".c.weight")
        parts = ("weight", "bias", "running_mean", "running_var")
        if missing := [part for part in parts if f"{layer}.bn.{part}" not in tensors]:
            raise CheckpointError(f"{source} does not fit: {layer}.bn lacks {some(missing)}")
        scale, shift, mean, variance = (tensors[f"{layer}.bn.{part}"].double() for part in parts)
        if not all(values.shape == kernel.shape[:1] for values in (scale, shift, mean, variance)):
            raise CheckpointError(f"{source} does not fit: {layer}.bn has another width than {layer}.c")
        scale = scale / (variance + BATCH_NORM_EPS).sqrt()
        folded[f"{layer}.weight"] = (kernel.double() * scale.reshape(-1, *[1] * (kernel.dim() - 1))).float()
        folded[f"{layer}.bias"] = (shift - mean * scale).float()
    return folded


def _sam_config(tensors: Mapping[str, Tensor], source: str) -> NetworkConfig:
    """Which SAM this is, known by the width of its position embedding, or by TinyViT's first layer."""
    if any(name.startswith(TINY_VIT_MARK) for name in tensors):
        return network_config("vit_t")
    positions = tensors.get("image_encoder.pos_embed")
    if positions is None:
        raise CheckpointError(
            f"{source} is no SAM checkpoint: it lacks image_encoder.pos_embed; it has {some(tensors)}"
        )
    for size in OFFICIAL_SIZES:
        config = network_config(size)
        if not config.is_staged and config.width == positions.shape[-1]:
            return config
    raise CheckpointError(f"{source} has ViT width {positions.shape[-1]}; SAM's are 768, 1024 and 1280")


def _is_retrained(network: F2PNet, name: str) -> bool:
    return network.config.mode == "reference" and name.startswith(RETRAINED_IN_REFERENCE)
