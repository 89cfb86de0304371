"""Whether a file holds the weights that its entry in the catalogue says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError
from models.configuration import network_config
from models.f2pnet import build_cnn
from models.files.weights import CheckpointError, require_fit
from models.pretrained import read_cnn, read_sam
from training.pretrained.catalogue import Published

STANDARD_WIDTH = 64
"""Of published ResNets."""


@dataclass(frozen=True)
class Checked:
    """The outcome for one file; `problem` is empty where it is sound."""

    entry: Published
    path: Path
    sha256: str
    problem: str


def check(entry: Published, path: Path) -> Checked:
    """Hash, names and shapes of a file."""
    sha256 = sha256_of(path)
    if not entry.matches(sha256):
        problem = f"its sha256 begins with {sha256[:12]}, that of the published file with {(entry.sha256 or '')[:12]}"
        return Checked(entry, path, sha256, problem)
    try:
        require_readable(entry, path)
    except ConfigError as error:
        return Checked(entry, path, sha256, str(error))
    return Checked(entry, path, sha256, "")


def require_readable(entry: Published, path: Path) -> None:
    """Raises ConfigError unless the file holds the weights of the network that the entry is for."""
    try:
        if entry.part == "sam":
            found = read_sam(path).sam_type
            if found != entry.fits:
                raise ConfigError(f"{path} is SAM's {found}, wanted {entry.fits}")
            return
        config = network_config("vit_b", cnn=entry.fits, cnn_width=STANDARD_WIDTH, cnn_norm="fixed")
        with torch.device("meta"):
            cnn, _ = build_cnn(config)
        require_fit(cnn, read_cnn(path, config.cnn), source=str(path))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
