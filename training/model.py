"""What is evaluated: a checkpoint or an exported engine, behind one face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f2pnet.backends import open_backend
from f2pnet.bundle import Thresholds, open_bundle
from f2pnet.errors import ConfigError, MissingResource
from models.checkpoint import CheckpointError, load_checkpoint
from models.f2pnet import F2PNet
from training.evaluate import Predictor, network_predictor
from training.thresholds import Choice

TORCH_BATCH = 16


@dataclass(frozen=True)
class Model:
    """`predictor` takes up to `max_batch` images of side `image_size`; `choice` is what it ships with."""

    predictor: Predictor
    choice: Choice
    image_size: int
    max_batch: int


def open_network(path: Path) -> Model:
    """A checkpoint that `f2p train` wrote."""
    network, facts = read_checkpoint(path)
    return as_model(network, choice_of(facts))


def as_model(network: F2PNet, choice: Choice) -> Model:
    """A network in memory."""
    return Model(network_predictor(network), choice, network.config.image_size, TORCH_BATCH)


def open_engine(folder: Path) -> Model:
    """An engine bundle, on the backend that the line would take."""
    bundle = open_bundle(folder)
    backend = open_backend("auto", bundle)
    choice = Choice(bundle.manifest.defect_output, bundle.manifest.thresholds)
    return Model(backend.run, choice, backend.facts.image_size, backend.facts.max_batch)


def choice_of(facts: dict[str, Any]) -> Choice:
    """The thresholds that a checkpoint carries; plain defaults for one whose run was not finished."""
    return Choice(facts.get("defect_output", "mask"), Thresholds.model_validate(facts.get("thresholds", {})))


def read_checkpoint(path: Path) -> tuple[F2PNet, dict[str, Any]]:
    """Network and facts. Raises MissingResource without a file, ConfigError for one that is no checkpoint of ours."""
    if not path.is_file():
        raise MissingResource(f"no checkpoint {path}: check the path, or make one with `f2p train`")
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
