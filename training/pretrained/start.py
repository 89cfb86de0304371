"""What a new network starts from: weights that others published, files of the user, or random numbers.

A size for which weights were published never starts without them unless the recipe says `none`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError, MissingResource
from models.configuration import NetworkConfig
from models.f2pnet import F2PNet
from models.files.weights import CheckpointError
from models.pretrained import read_cnn, read_sam, start_cnn, start_from_sam
from training.pretrained.catalogue import CATALOGUE, Part, Published, for_part, locate
from training.pretrained.convert import described_origin

UNSTATED = "not stated"


@dataclass(frozen=True)
class Prior:
    """One file that a network starts from, as metrics.json, checkpoint and engine manifest name it."""

    part: Literal["sam", "cnn", "network"]
    file: str
    sha256: str
    licence: str
    source: str

    def facts(self) -> dict[str, str]:
        return asdict(self)


def priors_of(facts: Mapping[str, Any], source: str) -> list[Prior]:
    """Those that the facts of a checkpoint or of a saved run name. Raises ConfigError for damaged facts."""
    try:
        return [Prior(**prior) for prior in facts.get("priors", [])]
    except TypeError as error:
        raise ConfigError(f"{source} has damaged facts: its priors are {facts['priors']!r} ({error})") from error


@dataclass(frozen=True)
class Found:
    """A file for one part, before it is read."""

    part: Part
    path: Path
    entry: Published | None
    """Of the catalogue; None for a file of the user's own."""

    def checked(self) -> Prior:
        """Its facts. Raises ConfigError where its hash is not the published one."""
        sha256 = sha256_of(self.path)
        if self.entry is not None and not self.entry.matches(sha256):
            raise ConfigError(
                f"{self.path} is damaged or another file: its sha256 is {sha256[:12]}..., that of the published one "
                f"begins with {(self.entry.sha256 or '')[:12]}; delete it and get it again: {self.entry.command}"
            )
        stated = described_origin(self.path)
        if self.entry is not None:
            stated = {"licence": self.entry.licence, "source": self.entry.source}
        return Prior(
            self.part,
            self.path.name,
            sha256,
            stated.get("licence", UNSTATED),
            stated.get("source", "a file of the user"),
        )


def find_weights(config: NetworkConfig, sam: str | Path, cnn: str | Path, folder: Path) -> list[Found]:
    """The files for both parts: `auto`, `none` or a path each.

    Raises MissingResource with the commands that cure it where weights were published and are not here.
    """
    searched: list[tuple[Part, str | Path, list[Published]]] = [("sam", sam, for_part("sam", config.sam_type))]
    if "cnn" not in config.without:
        searched.append(("cnn", cnn, for_part("cnn", config.cnn) if has_published_width(config) else []))
    found, missing = [], []
    for part, choice, entries in searched:
        if isinstance(choice, Path):
            found.append(_own_file(part, choice))
        elif choice == "auto" and entries:
            here = [(entry, path) for entry in entries if (path := locate(entry, folder)) is not None]
            if here:
                found.append(Found(part, here[0][1], here[0][0]))
            else:
                missing.append((part, entries))
    if missing:
        raise MissingResource(_missing(config, missing, folder))
    return found


def give_weights(network: F2PNet, found: Sequence[Found]) -> list[Prior]:
    """Check and read every file, then copy all of them into a new network; returns what they are.

    Raises ConfigError for a file that is damaged, holds something else, or fits another size; the network is then not
    to be used.
    """
    priors = [each.checked() for each in found]
    try:
        read: list[Any] = [
            read_sam(each.path) if each.part == "sam" else read_cnn(each.path, network.config.cnn) for each in found
        ]
        for each, weights in zip(found, read, strict=True):
            if each.part == "sam":
                start_from_sam(network, weights)
            else:
                start_cnn(network, weights, str(each.path))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    return priors


def has_published_width(config: NetworkConfig) -> bool:
    """Whether the CNN has the width that its published weights have: nano's and tiny's are narrower."""
    return config.cnn == "tf_efficientnet_lite0" or config.cnn_width == 64


def _own_file(part: Part, path: Path) -> Found:
    if not path.is_file():
        raise MissingResource(f"{part}_weights names {path}, and there is no such file: check the path")
    entry = next((entry for entry in CATALOGUE if entry.file == path.name), None)
    return Found(part, path, entry)


def _missing(config: NetworkConfig, missing: Sequence[tuple[Part, list[Published]]], folder: Path) -> str:
    parts = " and ".join({"sam": "SAM", "cnn": "ImageNet"}[part] for part, _ in missing)
    cures = "; ".join(" or ".join(entry.command for entry in entries) for _, entries in missing)
    return (
        f"{config.sam_type} starts from {parts} weights, and {folder} has none: {cures}. "
        "To train from random numbers all the same: --from-scratch"
    )
