"""Where an export starts: a checkpoint, or a bundle whose ONNX file stands in for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from export.formats.artifacts import REFERENCE, Kind, Source, as_artifact
from export.formats.onnx_artifacts import MODEL_FILE, build_fp32
from export.gate.parity import RememberingBackend
from export.graph import Checkpointed, onnx_from_network
from export.torch_backend import TorchBackend
from f2pnet.backends import Backend, open_backend
from f2pnet.engine.bundle import (
    Artifact,
    Bundle,
    Manifest,
    MetricSheet,
    Precision,
    PriorFacts,
    TrainingFacts,
    open_bundle,
    sha256_of,
)
from f2pnet.errors import ConfigError, MissingResource
from models.deploy import deployed
from models.files.checkpoint import CheckpointError, load_checkpoint
from models.good_only import is_good_only, load_good_only

CHECKPOINT_BATCH = 16
Shapes = dict[str, tuple[int, ...]]
GraphBuilder = Callable[[Checkpointed, Path, int | None], Shapes]
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


def open_origin(
    path: Path,
    folder: Path,
    name: str,
    *,
    image_size: int | None,
    max_batch: int,
    static_batch: bool,
    build: GraphBuilder = onnx_from_network,
) -> Origin:
    """Read a checkpoint file or a bundle folder and put its fp32 ONNX file into `folder`.

    Raises MissingResource or ConfigError where it is neither, BundleError where the bundle is damaged.
    """
    if path.is_dir():
        if image_size is not None or static_batch:
            raise ConfigError(
                f"{path} is a bundle, whose graph is fixed: --image-size and --static-batch need the checkpoint"
            )
        return _from_bundle(open_bundle(path), folder, name)
    network, facts = read_checkpoint(path, image_size)
    shapes = build(network, folder / MODEL_FILE, max_batch if static_batch else None)
    source = Source(folder / MODEL_FILE, network.config.image_size, max_batch, static_batch)
    fp32 = as_artifact(REFERENCE, build_fp32(source, "fp32", folder), folder, source)
    manifest = _manifest(name, path, network, facts, shapes, fp32)
    reference = RememberingBackend(TorchBackend(network, manifest.outputs, max_batch), manifest.outputs)
    return Origin(source, reference, manifest, built={REFERENCE: fp32}, network=network)


def known_scores(path: Path) -> list[dict[str, Any]]:
    """The score sheets that a checkpoint or a bundle carries. Raises as `open_origin` does."""
    if path.is_dir():
        return [sheet.model_dump() for sheet in open_bundle(path).manifest.training.metrics]
    return list(read_checkpoint(path)[1].get("metrics", []))


def _from_bundle(bundle: Bundle, folder: Path, name: str) -> Origin:
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


def open_checkpoint(path: Path, threads: int | None = None) -> tuple[Bundle, Backend]:
    """A checkpoint as if it were a bundle, and torch to run it: for a look at it before an export.

    Raises MissingResource or ConfigError where it is not usable.
    """
    network, facts = read_checkpoint(path)
    ready, size = deployed(network), network.config.image_size
    with torch.inference_mode():
        values = ready(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    shapes = {name: tuple(value.shape[1:]) for name, value in zip(ready.output_names, values, strict=True)}
    itself = Artifact(
        file=path.name, format="checkpoint", precision="fp32", sha256=sha256_of(path), max_batch=CHECKPOINT_BATCH
    )
    manifest = _manifest(path.stem, path, network, facts, shapes, itself)
    return Bundle(path.parent, manifest), TorchBackend(network, manifest.outputs, CHECKPOINT_BATCH, threads)


def read_checkpoint(path: Path, image_size: int | None = None) -> tuple[Checkpointed, dict[str, Any]]:
    """The network and what its training said of it. Raises MissingResource, or ConfigError for unusable weights."""
    if not path.is_file():
        raise MissingResource(f"no checkpoint {path}: check the path, or make one with `f2p train`")
    try:
        network, facts = _loaded(path, image_size)
    except (CheckpointError, ValueError) as error:
        raise ConfigError(str(error)) from error
    broken = [name for name, values in network.state_dict().items() if not values.isfinite().all()]
    if broken:
        raise ConfigError(
            f"{path}: {len(broken)} tensors hold NaN or infinite weights ({', '.join(broken[:3])}): "
            "training diverged; export an earlier checkpoint"
        )
    return network, facts


def _loaded(path: Path, image_size: int | None) -> tuple[Checkpointed, dict[str, Any]]:
    if not is_good_only(path):
        return load_checkpoint(path, image_size)
    network, facts = load_good_only(path)
    if image_size not in (None, network.config.image_size):
        raise ConfigError(
            f"{path} remembers good parts at {network.config.image_size} px: --image-size can't change it"
        )
    return network, facts


def _manifest(
    name: str, checkpoint: Path, network: Checkpointed, facts: dict[str, Any], shapes: Shapes, artifact: Artifact
) -> Manifest:
    recipe = facts.get("recipe", {})
    return Manifest.model_validate(
        {
            "name": name,
            "created_at": datetime.now(UTC).replace(microsecond=0),
            "network": {
                "sam_type": network.config.sam_type,
                "image_size": network.config.image_size,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "second_pass": network.config.second_pass,
            },
            "checkpoint_sha256": sha256_of(checkpoint),
            "input": {"resize": recipe.get("resize", "stretch")},
            "outputs": [{"name": output, "shape": shape} for output, shape in shapes.items()],
            "defect_output": facts.get("defect_output", "mask"),
            "classes": facts.get("classes", ["defect"]),
            "thresholds": facts.get("thresholds", {}),
            "training": TrainingFacts(
                dataset=" + ".join(facts.get("datasets", [])) or "unknown",
                shots=recipe.get("shots"),
                metrics=[MetricSheet.model_validate(sheet) for sheet in facts.get("metrics", [])],
                priors=[PriorFacts.model_validate(prior) for prior in facts.get("priors", [])],
                from_scratch=facts.get("from_scratch"),
                notes=facts.get("notes"),
            ),
            "artifacts": [artifact],
        }
    )
