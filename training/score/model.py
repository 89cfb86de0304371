"""What is evaluated: a checkpoint or an exported engine, behind one face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from f2pnet.backends import open_backend
from f2pnet.engine.bundle import Thresholds, open_bundle
from f2pnet.pictures.preprocess import Resize
from models.f2pnet import F2PNet
from training.metrics.evaluate import Predictor, network_predictor
from training.metrics.thresholds import Choice
from training.networks.trainable import read_network

if TYPE_CHECKING:
    from training.networks.trainable import Network

TORCH_BATCH = 16


@dataclass(frozen=True)
class Model:
    """`predictor` takes up to `max_batch` images of side `image_size`, made square by `resize`; `choice` is what it
    ships with."""

    predictor: Predictor
    choice: Choice
    image_size: int
    max_batch: int
    resize: Resize = "stretch"


def open_network(path: Path) -> Model:
    """A checkpoint that `f2p train` wrote."""
    network, facts = read_network(path)
    return as_model(network, choice_of(facts), resize_of(facts))


def as_model(network: Network, choice: Choice, resize: Resize) -> Model:
    """A network in memory."""
    predictor = network_predictor(cast(F2PNet, network))  # a baseline has F2P-Net's face
    return Model(predictor, choice, network.config.image_size, TORCH_BATCH, resize)


def open_engine(folder: Path) -> Model:
    """An engine bundle, on the backend that the line would take."""
    bundle = open_bundle(folder)
    backend = open_backend("auto", bundle)
    choice = Choice(bundle.manifest.defect_output, bundle.manifest.thresholds)
    return Model(backend.run, choice, backend.facts.image_size, backend.facts.max_batch, bundle.manifest.input.resize)


def resize_of(facts: dict[str, Any]) -> Resize:
    """How images become square for this checkpoint; recipes without the key stretched them."""
    return "letterbox" if facts.get("recipe", {}).get("resize") == "letterbox" else "stretch"


def choice_of(facts: dict[str, Any]) -> Choice:
    """The thresholds that a checkpoint carries; plain defaults for one whose run was not finished."""
    return Choice(facts.get("defect_output", "mask"), Thresholds.model_validate(facts.get("thresholds", {})))
