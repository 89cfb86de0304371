"""`f2p engine`: what a bundle is, and whether it runs here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from f2pnet.commands.engine_trial import Trial, try_files
from f2pnet.commands.terminal import Fitted, plain_console, say, say_json
from f2pnet.engine.bundle import Bundle, Precision, open_bundle

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="engine bundle")]
Choice = Literal["auto", "onnxruntime", "openvino", "tensorrt"]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

engine = typer.Typer(help="What an engine bundle is, and whether it runs here.")


@engine.command()
def info(bundle: BundleFolder, as_json: AsJson = False) -> None:
    """The manifest, for people; the files' hashes are checked."""
    opened = open_bundle(bundle)
    if as_json:
        say_json(opened.manifest.model_dump(mode="json"), indent=2)
        return
    plain_console().print(Fitted(_facts_table(opened)), Fitted(_metrics_table(opened)))


@engine.command()
def verify(
    bundle: BundleFolder,
    backend: Annotated[Choice, typer.Option(help="auto: every file; else those that this backend runs")] = "auto",
    precision: Annotated[Precision | None, typer.Option(help="only files of this precision")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every file's hash, run each on flat, saturated and noisy images, and time it here.

    A file whose runtime or device is not here gets a line that says what is missing. Exit code 1 where a file that
    could be tried fails, 3 where none could be tried.
    """
    opened = open_bundle(bundle)
    trials = list(try_files(opened, None if backend == "auto" else backend, precision))
    if as_json:
        facts = {"engine": opened.engine_id, "hashes": "match", "files": [trial.as_json() for trial in trials]}
        say_json(facts, indent=2)
    else:
        say(f"{opened.manifest.name} {opened.engine_id}: all hashes match")
        for trial in trials:
            say(trial)
    _end(trials)


def _end(trials: Sequence[Trial]) -> None:
    """Raises the first refusal; where nothing could be tried, the first reason."""
    refused = [trial.error for trial in trials if trial.error is not None and not trial.is_missing]
    if refused:
        raise refused[0]
    if all(trial.is_missing for trial in trials) and trials[0].error is not None:
        raise trials[0].error


def _facts_table(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    table = Table(title=f"{manifest.name}  {bundle.engine_id}", title_justify="left", show_header=False)
    table.add_row("network", f"F2P-Net {manifest.network.sam_type}, {manifest.network.parameters:,} parameters")
    size, resize = manifest.network.image_size, manifest.input.resize
    table.add_row("input", f"{size} x {size} px, uint8 RGB, {resize}")
    table.add_row("outputs", ", ".join(f"{output.name} {list(output.shape)}" for output in manifest.outputs))
    table.add_row("classes", ", ".join(manifest.classes))
    table.add_row("thresholds", manifest.thresholds.model_dump_json())
    if manifest.network.second_pass != "none":  # noqa: S105 (no password)
        table.add_row("second pass", f"prompted by {manifest.network.second_pass} from its own pixel map")
    table.add_row("trained on", manifest.training.dataset)
    table.add_row("made", manifest.created_at.isoformat())
    for artifact in manifest.artifacts:
        parity = artifact.parity
        proof = f"mask IoU to the checkpoint at least {parity.mask_iou_min:.4f}" if parity else "never compared"
        table.add_row("file", f"{artifact.file}, {artifact.precision}, batch up to {artifact.max_batch}; {proof}")
    for prior in manifest.training.priors:
        table.add_row("started from", f"{prior.file} ({prior.licence}), sha256 {prior.sha256[:12]}")
    if manifest.training.from_scratch:
        table.add_row("started from", "scratch: no pretrained weights")
    for list_name in manifest.training.blind_on:
        table.add_row("BLIND", list_name, style="bold red")
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
