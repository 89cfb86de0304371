"""The networks that `f2p train` can train: F2P-Net, and the baselines it is measured against; made, kept and read."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import safetensors
import safetensors.torch
from torch import nn

from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError, MissingExtra, MissingResource
from models.configuration import NetworkConfig, network_config
from models.f2pnet import F2PNet, build_network
from models.files.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from models.files.weights import fill, fit_tables
from models.good_only import GoodOnlyNetwork, is_good_only, load_good_only
from models.pretrained import read_cnn
from training.pretrained.catalogue import pretrained_folder
from training.pretrained.start import UNSTATED, Prior, find_weights, give_weights, priors_of
from training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from training.networks.baseline import Baseline

Network: TypeAlias = "F2PNet | Baseline | GoodOnlyNetwork"

BASELINES = {
    "unet": "training.networks.unet:unet",
    "segformer": "training.networks.segformer:segformer",
    "unet_imagenet": "training.networks.unet_imagenet:unet_imagenet",
}
CLASS_HEAD = "decoder.class_head."
BASELINE_FORMAT = "f2pnet-baseline-1"


class Started(NamedTuple):
    """A network before its first step, and the files whose weights it holds."""

    network: Network
    priors: list[Prior]


def new_network(
    recipe: TrainingRecipe, classes: int = 0, pretrained: Path | None = None, *, with_weights: bool = True
) -> Started:
    """The recipe's network with the weights that it starts from; `classes` of its class map, 0: none.

    `pretrained` is the folder of published weights (None: as the environment says). `with_weights=False` leaves them
    out, for a network that is filled by other means. Raises MissingResource for weights that are not here, ConfigError
    for files that cannot be used.
    """
    if recipe.network != "f2pnet":
        baseline = _baseline(recipe.network, recipe.image_size)
        if recipe.start_from is not None and with_weights:
            baseline.load_state_dict(read_network(recipe.start_from)[0].state_dict())
        elif recipe.network == "unet_imagenet" and with_weights:
            return Started(baseline, _start_encoder(baseline, recipe.cnn_weights, pretrained_folder(pretrained)))
        return Started(baseline, [])
    if recipe.start_from is not None:
        return _from_checkpoint(recipe, recipe.start_from, classes)
    config = network_config(
        recipe.sam_type,
        recipe.image_size,
        num_classes=classes,
        without=recipe.without,
        second_pass=recipe.second_pass,
    )
    if recipe.cnn_weights == "none" and config.cnn_norm == "fixed":
        config = replace(config, cnn_norm="batch")  # there are no statistics to keep
    if not with_weights:
        return Started(build_network(config), [])
    found = find_weights(config, recipe.sam_weights, recipe.cnn_weights, pretrained_folder(pretrained))
    network = build_network(config)
    return Started(network, give_weights(network, found))


def _start_encoder(baseline: Baseline, weights: str | Path, folder: Path) -> list[Prior]:
    """Gives a baseline's encoder the weights that F2P-Net's CNN would get."""
    like = replace(network_config("vit_t"), sam_type=baseline.config.network)
    priors = []
    for found in find_weights(like, "none", weights, folder):
        priors.append(found.checked())
        try:
            body: Any = baseline.body
            body.start_encoder(read_cnn(found.path, like.cnn), str(found.path))
        except CheckpointError as error:
            raise ConfigError(str(error)) from error
    return priors


def adopt_start(recipe: TrainingRecipe) -> TrainingRecipe:
    """The recipe with size and image size of the checkpoint it starts from, where it does not set them itself."""
    if recipe.start_from is None or recipe.network != "f2pnet" or {"sam_type", "image_size"} <= recipe.model_fields_set:
        return recipe
    config = read_network(recipe.start_from)[0].config
    if not isinstance(config, NetworkConfig):
        raise ConfigError(f"{recipe.start_from} is a baseline ({config.network}), wanted an F2P-Net")
    adopted = {"sam_type": config.sam_type, "image_size": config.image_size}
    return recipe.model_copy(update={k: v for k, v in adopted.items() if k not in recipe.model_fields_set})


def _from_checkpoint(recipe: TrainingRecipe, path: Path, classes: int) -> Started:
    """A checkpoint of ours at the recipe's image size and classes: all its weights, but a class map of other classes
    begins anew."""
    old, facts = read_network(path)
    if not isinstance(old, F2PNet) or old.config.sam_type != recipe.sam_type:
        seen = old.config.sam_type if isinstance(old, F2PNet) else old.config.network
        raise ConfigError(f"{path} is a {seen}, the recipe's network is a {recipe.sam_type}: set sam_type to {seen}")
    config = replace(
        old.config,
        image_size=recipe.image_size,
        num_classes=classes,
        without=recipe.without,
        second_pass=recipe.second_pass,
    )
    network = build_network(config)
    ours = network.state_dict()
    tensors = fit_tables(dict(old.state_dict()), network)
    other_classes = classes != old.config.num_classes
    kept = {name: t for name, t in tensors.items() if not (other_classes and name.startswith(CLASS_HEAD))}
    try:
        fill(network, {**{name: t for name, t in ours.items() if name.startswith(CLASS_HEAD)}, **kept}, str(path))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    inherited = priors_of(facts, str(path))
    own = Prior(
        "network", path.name, sha256_of(path), facts.get("licence", UNSTATED), facts.get("notes") or "f2p train"
    )
    return Started(network, [*inherited, own])


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
        if is_good_only(path):
            return load_good_only(path)
        return load_checkpoint(path)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error


def _baseline(name: str, image_size: int) -> Baseline:
    module_name, _, function = BASELINES[name].partition(":")
    try:
        body = getattr(importlib.import_module(module_name), function)()
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the baseline '{name}' and its packages ({error.name})", "baselines") from error
    from training.networks.baseline import Baseline, BaselineConfig

    return Baseline(BaselineConfig(name, image_size), body)


def _baseline_description(path: Path) -> dict[str, str] | None:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (safetensors.SafetensorError, OSError):
        return None  # perhaps a file of the authors: the other reader says so
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
