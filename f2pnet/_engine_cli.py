"""`f2p engine`: what a bundle is, and whether it runs here."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from f2pnet.backends import open_backend
from f2pnet.backends.base import Backend
from f2pnet.bundle import Bundle, Precision, open_bundle

TIMED_RUNS = 10

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="engine bundle")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

engine = typer.Typer(help="What an engine bundle is, and whether it runs here.")


@engine.command()
def info(bundle: BundleFolder, as_json: AsJson = False) -> None:
    """The manifest, for people; the files' hashes are checked."""
    opened = open_bundle(bundle)
    if as_json:
        typer.echo(opened.manifest.model_dump_json(indent=2))
        return
    Console().print(_facts_table(opened), _metrics_table(opened))


@engine.command()
def verify(
    bundle: BundleFolder,
    backend: Annotated[str, typer.Option(help="auto, onnxruntime, tensorrt, openvino or null")] = "auto",
    precision: Annotated[
        Precision | None, typer.Option(help="which of the backend's files; default: the first")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every file's hash, run the engine on flat, saturated and noisy images, and time it here."""
    opened = open_bundle(bundle)
    with open_backend(backend, opened, precision=precision) as running:
        median_ms = _probe(running)
        facts = {
            "engine": opened.engine_id,
            "backend": running.facts.name,
            "device": running.facts.device,
            "median_ms": median_ms,
        }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    typer.echo(
        f"{opened.manifest.name} {opened.engine_id}: all hashes match; {facts['backend']} on {facts['device']}, "
        f"{median_ms:.1f} ms for one image (median of {TIMED_RUNS})"
    )


def _probe(backend: Backend) -> float:
    """Run images at the edges of what cameras give, and return the median time of one, in ms.

    The backend refuses answers that are no probabilities, so an engine that overflows does not pass. Raises
    BackendError.
    """
    size = backend.facts.image_size
    noise = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    for image in (np.zeros_like(noise), np.full_like(noise, 128), np.full_like(noise, 255), noise):
        backend.run(image)
    return statistics.median(_run_ms(backend, noise) for _ in range(TIMED_RUNS))


def _run_ms(backend: Backend, image: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    started = time.perf_counter()
    backend.run(image)
    return (time.perf_counter() - started) * 1e3


def _facts_table(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    table = Table(title=f"{manifest.name}  {bundle.engine_id}", title_justify="left", show_header=False)
    table.add_row("network", f"F2P-Net {manifest.network.sam_type}, {manifest.network.parameters:,} parameters")
    table.add_row("input", f"{manifest.network.image_size} x {manifest.network.image_size} px, uint8 RGB")
    table.add_row("outputs", ", ".join(f"{output.name} {list(output.shape)}" for output in manifest.outputs))
    table.add_row("classes", ", ".join(manifest.classes))
    table.add_row("thresholds", manifest.thresholds.model_dump_json())
    table.add_row("trained on", manifest.training.dataset)
    table.add_row("made", manifest.created_at.isoformat())
    for artifact in manifest.artifacts:
        parity = artifact.parity
        proof = f"mask IoU to the checkpoint at least {parity.mask_iou_min:.4f}" if parity else "never compared"
        table.add_row("file", f"{artifact.file}, {artifact.precision}, batch up to {artifact.max_batch}; {proof}")
    if manifest.training.notes:
        table.add_row("notes", manifest.training.notes)
    return table


def _metrics_table(bundle: Bundle) -> Table:
    table = Table(title="figures, each with its protocol", title_justify="left")
    for column in ("data set", "split", "protocol", "images", "figures"):
        table.add_column(column)
    for sheet in bundle.manifest.training.metrics:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in sheet.values.items())
        table.add_row(sheet.dataset, sheet.split, sheet.protocol, str(sheet.images), figures)
    return table
