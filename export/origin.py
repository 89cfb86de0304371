"""Where an export starts: a checkpoint, or a bundle whose ONNX file stands in for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.artifacts import REFERENCE, Kind, Source
from export.gate.parity import RememberingBackend
from f2pnet.backends import Backend, open_backend
from f2pnet.engine.bundle import Artifact, Bundle, Manifest, Precision

if TYPE_CHECKING:
    from export.graph import Checkpointed

Shapes = dict[str, tuple[int, ...]]
GraphBuilder = Callable[["Checkpointed", Path, int | None], Shapes]
"""Writes the ONNX file (with the batch fixed to the number, or free for None); returns the outputs' shapes without
the batch, by name."""


@dataclass(frozen=True)
class Origin:
    """What an export starts from: a file to build from, a backend to be judged against, and the manifest's facts."""

    source: Source
    reference: Backend
    manifest: Manifest  # its one artifact is the fp32 ONNX file
    built: Mapping[Kind, Artifact] = field(default_factory=dict)
    """What opening it built already, for the gate to judge."""
    proven: frozenset[Kind] = frozenset()
    """What passed the gate before, with the checkpoint at hand."""
    kept: list[Artifact] = field(default_factory=list)  # of the bundle that the export starts from
    kept_files: Mapping[str, Path] = field(default_factory=dict)
    network: Checkpointed | None = None  # None: there is no checkpoint


def origin_of_bundle(bundle: Bundle, folder: Path, name: str) -> Origin:
    """The bundle's fp32 ONNX file on ONNX Runtime stands in for the checkpoint, with which it was proven to agree."""
    artifact = bundle.artifact("onnx", "fp32")
    files = {file: bundle.folder / file for file in bundle.manifest.files}
    for file in artifact.files:
        shutil.copyfile(files[file], folder / file)
    others: dict[Precision, Path] = {
        held.precision: files[held.file]
        for held in bundle.manifest.artifacts
        if (held.format, held.role) == ("onnx", "auto")
    }
    source = Source(
        folder / artifact.file,
        bundle.manifest.network.image_size,
        artifact.max_batch,
        artifact.static_batch,
        onnx=others,
    )
    manifest = bundle.manifest.model_copy(update={"name": name, "artifacts": [artifact]})
    reference = open_backend("onnxruntime", Bundle(bundle.folder, manifest), device="cpu")
    others_kept = [held for held in bundle.manifest.artifacts if held != artifact]
    return Origin(
        source,
        RememberingBackend(reference, manifest.outputs),
        manifest,
        proven=frozenset({REFERENCE}),
        kept=[artifact, *others_kept],
        kept_files=files,
    )
