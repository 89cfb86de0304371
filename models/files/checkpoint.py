"""Checkpoints: our own format, and the files of the authors of F2P-Net.

Ours is one safetensors file with the weights, the whole configuration and the training's facts: numbers and text
only, so that a hostile file can do no more than be refused. The authors' is a plain torch state dict.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.configuration import SIZES, NetworkConfig, network_config
from models.f2pnet import F2PNet, build_network
from models.files.names import canonical_name, canonical_of_authors
from models.files.weights import CheckpointError, fill, fit_tables, is_safetensors, read_pth, require_fit, some

__all__ = ["CheckpointError", "load_checkpoint", "save_checkpoint"]

FORMAT = "f2pnet-checkpoint-1"

TORCH_FILE_STARTS = (b"PK", b"\x80")
"""A zip archive, or a pickle as older versions of torch wrote it."""

AUTHORS_MARK = "mask_decoder.iou_prediction_head.weight"
"""Only the published F2P-Net has this head as a single layer."""


def save_checkpoint(path: str | Path, network: F2PNet, facts: dict[str, Any]) -> None:
    """Writes weights, configuration and `facts` (anything JSON holds), whole or not at all."""
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "configuration": json.dumps(network.config.to_dict()),
        "facts": json.dumps(facts),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    unfinished = path.with_name(path.name + ".part")
    safetensors.torch.save_file(tensors, unfinished, metadata)
    unfinished.replace(path)


def load_checkpoint(path: str | Path, image_size: int | None = None) -> tuple[F2PNet, dict[str, Any]]:
    """The network in eval mode, on the CPU, and the facts of its training.

    A file of the authors gives a network in `reference` mode. `image_size` changes the network's input size;
    its position tables are then resampled (ValueError if no network has that size). Raises CheckpointError for a
    file that is neither, or damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error}") from error
    if not is_safetensors(start) and start.startswith(TORCH_FILE_STARTS):
        config, tensors, facts = _read_authors(path)
    else:
        config, tensors, facts = _read_own(path)
    _require_fit(config, tensors, path)
    if image_size is None:
        network = build_network(config)
        fill(network, tensors, source=str(path))
    else:
        network = build_network(replace(config, image_size=image_size))
        fill(network, fit_tables(tensors, network), source=str(path))
    return network.eval(), facts


def _require_fit(config: NetworkConfig, tensors: dict[str, Tensor], path: Path) -> None:
    """Refuses a description that its own weights contradict, before any memory is spent on it."""
    try:
        if max(config.depth, sum(config.vit_depths), config.prompt_width, config.decoder_depth) > len(tensors):
            raise ValueError(f"it names more blocks than the file has tensors, {len(tensors)}")
        with torch.device("meta"):
            network = build_network(config)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{path} describes a network that cannot be built: {error}") from error
    require_fit(network, tensors, source=str(path))


def _read_own(path: Path) -> tuple[NetworkConfig, dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {metadata.get('format')!r}; this version reads {FORMAT!r}")
    try:
        config = NetworkConfig.from_dict(json.loads(metadata["configuration"]))
        facts = dict(json.loads(metadata["facts"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged description: {error}") from error
    return config, tensors, facts


def _read_authors(path: Path) -> tuple[NetworkConfig, dict[str, Tensor], dict[str, Any]]:
    theirs = read_pth(path)
    canonical = _without_doubles(theirs, path)
    if AUTHORS_MARK not in canonical or "image_encoder.pos_embed" not in canonical:
        raise CheckpointError(
            f"{path} is no F2P-Net checkpoint: it lacks {AUTHORS_MARK} and has {some(theirs)}. "
            "To start training from a checkpoint of SAM, name it as `sam_weights` in the recipe"
        )
    config = _authors_config(canonical["image_encoder.pos_embed"].shape[-1], path)
    with torch.device("meta"):
        ours = list(build_network(config).state_dict())
    renamed = {name: canonical.pop(canonical_name(name)) for name in ours if canonical_name(name) in canonical}
    return config, renamed | canonical, {"format": "authors", "tensors": len(theirs)}


def _without_doubles(theirs: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """One tensor for each canonical name; where the file holds several, they must be equal."""
    canonical: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        known = canonical.setdefault(canonical_of_authors(name), tensor)
        if known is not tensor and not torch.equal(known, tensor):
            raise CheckpointError(f"{path} holds {canonical_of_authors(name)} twice with different values ({name})")
    return canonical


def _authors_config(width: int, path: Path) -> NetworkConfig:
    for size in SIZES:
        config = network_config(size)
        if config.sam_heads and config.width == width:
            return network_config(size, mode="reference")
    raise CheckpointError(f"{path} has ViT width {width}; F2P-Net's are 768, 1024 and 1280")
