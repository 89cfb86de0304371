"""The networks that `f2p train` can train: F2P-Net, and the baselines it is measured against; made, kept and read."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
from torch import nn

from f2pnet.errors import ConfigError, MissingExtra, MissingResource
from models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from models.configuration import network_config
from models.f2pnet import F2PNet, build_network
from training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from training.baselines.baseline import Baseline

    Network = F2PNet | Baseline

BASELINES = {
    "unet": "training.baselines.unet:unet",
    "segformer": "training.baselines.segformer:segformer",
}
BASELINE_FORMAT = "f2pnet-baseline-1"


def new_network(recipe: TrainingRecipe, classes: int = 0) -> Network:
    """The recipe's network with random weights, or with those of `start_from`; `classes` of its class map, 0: none."""
    if recipe.network == "f2pnet":
        network: Network = build_network(
            network_config(recipe.sam_type, recipe.image_size, num_classes=classes, without=recipe.without)
        )
    else:
        network = _baseline(recipe.network, recipe.image_size)
    if recipe.start_from is not None:
        network.load_state_dict(read_network(recipe.start_from)[0].state_dict())
    return network


def save_network(path: Path, network: nn.Module, facts: dict[str, Any]) -> None:
    """Write a checkpoint: weights, configuration and `facts`, whole or not at all."""
    if isinstance(network, F2PNet):
        save_checkpoint(path, network, facts)
        return
    description = {"format": BASELINE_FORMAT, "configuration": json.dumps(asdict(network.config))}  # type: ignore[call-overload]
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    unfinished = path.with_name(path.name + ".part")
    safetensors.torch.save_file(tensors, unfinished, description | {"facts": json.dumps(facts)})
    unfinished.replace(path)


def read_network(path: Path) -> tuple[Network, dict[str, Any]]:
    """Network in evaluation mode, and facts, of a checkpoint of either kind.

    Raises MissingResource without a file, ConfigError for one that is no checkpoint of ours.
    """
    if not path.is_file():
        raise MissingResource(f"no checkpoint {path}: check the path, or make one with `f2p train`")
    if (description := _baseline_description(path)) is not None:
        return _read_baseline(path, description)
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error


def _baseline(name: str, image_size: int) -> Baseline:
    module_name, _, function = BASELINES[name].partition(":")
    try:
        body = getattr(importlib.import_module(module_name), function)()
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the baseline '{name}' and its packages ({error.name})", "baselines") from error
    from training.baselines.baseline import Baseline, BaselineConfig

    return Baseline(BaselineConfig(name, image_size), body)


def _baseline_description(path: Path) -> dict[str, str] | None:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (safetensors.SafetensorError, OSError):
        return None  # perhaps a file of the authors: the other reader tells
    return metadata if metadata.get("format") == BASELINE_FORMAT else None


def _read_baseline(path: Path, description: dict[str, str]) -> tuple[Baseline, dict[str, Any]]:
    configuration = json.loads(description["configuration"])
    if configuration.get("network") not in BASELINES:
        raise ConfigError(
            f"{path} holds a network '{configuration.get('network')}'; this version knows {', '.join(BASELINES)}"
        )
    network = _baseline(configuration["network"], configuration["image_size"])
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ConfigError(f"{path} does not fit {configuration['network']}: {error}") from error
    return network.eval(), json.loads(description["facts"])
