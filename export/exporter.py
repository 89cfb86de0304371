"""A checkpoint becomes an engine bundle: graph, manifest, gate, and only then a folder that looks like an engine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export.card import engine_card
from export.graph import onnx_from_network
from export.parity import FP32_LIMITS, Limits, check_parity, measure_parity, read_images
from export.torch_backend import TorchBackend
from f2pnet.backends import open_backend
from f2pnet.bundle import Artifact, Bundle, Manifest, MetricSheet, TrainingFacts, sha256_of, write_bundle
from f2pnet.errors import ConfigError, MissingResource
from models.checkpoint import CheckpointError, load_checkpoint
from models.f2pnet import F2PNet

MODEL_FILE = "model.onnx"
GraphBuilder = Callable[[F2PNet, Path], dict[str, tuple[int, ...]]]
"""Writes the model file; returns the outputs' shapes without the batch, by name."""

BUILDERS = ("torch", "onnx", "onnxslim", "onnxruntime")


def export_bundle(
    checkpoint: Path,
    out_dir: Path,
    *,
    verify: Sequence[Path],
    max_batch: int = 16,
    scores: Sequence[MetricSheet] = (),
    limits: Limits = FP32_LIMITS,
    build: GraphBuilder = onnx_from_network,
) -> Bundle:
    """Write the engine of `checkpoint` to `out_dir` (whose name it takes) as ONNX in float32.

    `verify` names the data set folders on whose test images the engine must agree with the checkpoint; the worst of
    them decides and stands in the manifest. `scores` are further figures for the manifest; `build` writes the graph.
    Raises ParityError where it does not agree (nothing is written then), MissingResource or ConfigError where something
    given is not usable.
    """
    network, facts = _read_checkpoint(checkpoint)
    images = {folder.name: read_images(folder) for folder in verify}
    if not images:
        raise ConfigError("an engine is proven on real images: name at least one data set with --verify")
    with tempfile.TemporaryDirectory(prefix="f2p-export-") as scratch:
        model = Path(scratch, MODEL_FILE)
        shapes = build(network, model)
        manifest = _manifest(out_dir.name, checkpoint, network, facts, shapes, model, max_batch, scores)
        trial = write_bundle(Path(scratch, "trial"), manifest, {MODEL_FILE: model})
        reference = TorchBackend(network, manifest.outputs, max_batch)
        with open_backend("onnxruntime", trial, device="cpu") as engine:
            measured = [measure_parity(trial, engine, reference, pictures, name) for name, pictures in images.items()]
        for parity in measured:
            check_parity(parity, limits)
        worst = min(measured, key=lambda parity: parity.mask_iou_min)
        proven = manifest.artifacts[0].model_copy(update={"parity": worst})
        manifest = manifest.model_copy(update={"artifacts": [proven]})
        return write_bundle(out_dir, manifest, {MODEL_FILE: model}, readme=engine_card(manifest, measured))


def _read_checkpoint(path: Path) -> tuple[F2PNet, dict[str, Any]]:
    if not path.is_file():
        raise MissingResource(f"no checkpoint {path}: check the path, or make one with `f2p train`")
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error


def _manifest(
    name: str,
    checkpoint: Path,
    network: F2PNet,
    facts: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
    model: Path,
    max_batch: int,
    scores: Sequence[MetricSheet],
) -> Manifest:
    recipe = facts.get("recipe", {})
    artifact = Artifact(
        file=MODEL_FILE,
        format="onnx",
        precision="fp32",
        sha256=sha256_of(model),
        max_batch=max_batch,
        built_with={package: version(package) for package in BUILDERS},
    )
    return Manifest.model_validate(
        {
            "name": name,
            "created_at": datetime.now(UTC).replace(microsecond=0),
            "network": {
                "sam_type": network.config.sam_type,
                "image_size": network.config.image_size,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
            },
            "checkpoint_sha256": sha256_of(checkpoint),
            "outputs": [{"name": output, "shape": shape} for output, shape in shapes.items()],
            "defect_output": facts.get("defect_output", "mask"),
            "classes": facts.get("classes", ["defect"]),
            "thresholds": facts.get("thresholds", {}),
            "training": TrainingFacts(
                dataset=" + ".join(facts.get("datasets", [])) or "unknown",
                shots=recipe.get("shots"),
                metrics=[*(MetricSheet.model_validate(sheet) for sheet in facts.get("metrics", [])), *scores],
                notes=facts.get("notes"),
            ),
            "artifacts": [artifact],
        }
    )
