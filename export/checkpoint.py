"""A checkpoint as the start of an export: its network in torch, and what its training said of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from export.formats.artifacts import REFERENCE, Source, as_artifact
from export.formats.onnx_artifacts import MODEL_FILE, build_fp32
from export.gate.parity import RememberingBackend
from export.graph import Checkpointed, onnx_from_network
from export.origin import GraphBuilder, Origin, Shapes
from export.torch_backend import TorchBackend
from f2pnet.backends import Backend
from f2pnet.engine.bundle import Artifact, Bundle, Manifest, MetricSheet, PriorFacts, TrainingFacts, sha256_of
from f2pnet.errors import ConfigError, MissingResource
from models.deploy import deployed
from models.files.checkpoint import CheckpointError, load_checkpoint
from models.good_only import is_good_only, load_good_only

CHECKPOINT_BATCH = 16


def origin_of_checkpoint(
    path: Path,
    folder: Path,
    name: str,
    *,
    image_size: int | None,
    max_batch: int,
    static_batch: bool,
    build: GraphBuilder | None = None,
) -> Origin:
    """See `export.opening.open_origin`."""
    network, facts = read_checkpoint(path, image_size)
    shapes = (build or onnx_from_network)(network, folder / MODEL_FILE, max_batch if static_batch else None)
    source = Source(folder / MODEL_FILE, network.config.image_size, max_batch, static_batch)
    fp32 = as_artifact(REFERENCE, build_fp32(source, "fp32", folder), folder, source)
    manifest = _manifest(name, path, network, facts, shapes, fp32)
    reference = RememberingBackend(TorchBackend(network, manifest.outputs, max_batch), manifest.outputs)
    return Origin(source, reference, manifest, built={REFERENCE: fp32}, network=network)


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
