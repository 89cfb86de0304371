"""`f2p export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from f2pnet.commands.output_places import try_folder
from f2pnet.commands.terminal import Fitted, plain_console, say_json
from f2pnet.engine.bundle import Bundle, MetricSheet, refuse_other_content
from f2pnet.errors import ConfigError

Folders = list[Path] | None


def export(
    source: Annotated[Path, typer.Argument(metavar="CKPT", help="checkpoint of `f2p train`, or a bundle to add to")],
    out: Annotated[Path, typer.Option(help="the bundle's folder; its name becomes the engine's")],
    verify: Annotated[
        Folders, typer.Option(help="data set folder whose test images prove the engine; repeatable. Else drawn frames")
    ] = None,
    format_: Annotated[
        list[str] | None, typer.Option("--format", help="onnx, openvino, tensorrt; repeatable (onnx)")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, fp16, bf16, int8; repeatable (fp32)")] = None,
    calibration: Annotated[
        Folders, typer.Option(help="data set folder whose training images give int8 its ranges; repeatable")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="px; the checkpoint's own if not given")] = None,
    max_batch: Annotated[int, typer.Option(min=1, max=1024, help="images in one run of the engine, at most")] = 16,
    static_batch: Annotated[
        bool, typer.Option("--static-batch", help="exactly --max-batch images in each run")
    ] = False,
    split: Annotated[bool, typer.Option("--split", help="also encoder and decoder apart, for prompts")] = False,
    scores: Annotated[Folders, typer.Option(help="`f2p test --json` file to keep in the manifest")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="also an engine that rejects nearly none of the defective images")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the manifest")] = False,
) -> None:
    """Make an engine bundle; refused unless every file of it agrees with the checkpoint.

    Refused too, without --force, where its score sheets show that nearly no defective image would be rejected.
    """
    from export.exporter import ExportOptions, export_bundle  # torch takes seconds, which help need not wait for
    from export.formats.artifacts import wanted_kinds

    refuse_other_content(out)
    try_folder(out.parent, "--out")
    options = ExportOptions(
        kinds=wanted_kinds(format_ or ["onnx"], precision or ["fp32"]),
        verify=verify or [],
        calibration=calibration or [],
        image_size=image_size,
        max_batch=max_batch,
        static_batch=static_batch,
        split=split,
        force=force,
        scores=[sheet for path in scores or [] for sheet in read_scores(path)],
    )
    bundle = export_bundle(source, out, options)
    if as_json:
        say_json(bundle.manifest.model_dump(mode="json"), indent=2)
        return
    plain_console().print(Fitted(_table(bundle)))


def _table(bundle: Bundle) -> Table:
    table = Table(title=f"{bundle.folder}: engine {bundle.engine_id}", title_justify="left")
    for column in ("file", "MB", "mask IoU mean", "min", "same verdict", "images"):
        table.add_column(column)
    for artifact in bundle.manifest.artifacts:
        size_mb = sum((bundle.folder / name).stat().st_size for name in artifact.files) / 1e6
        proof = artifact.parity
        figures = (
            (f"{proof.mask_iou_mean:.4f}", f"{proof.mask_iou_min:.4f}", f"{proof.verdict_agreement:.3f}", proof.dataset)
            if proof
            else ("with its other half", "", "", "")
        )
        table.add_row(artifact.file, f"{size_mb:.1f}", *figures)
    return table


def read_scores(path: Path) -> list[MetricSheet]:
    """The score sheets that `f2p test --json` wrote."""
    try:
        sheets = TypeAdapter(list[dict[str, Any]]).validate_python(json.loads(path.read_text(encoding="utf-8")))
        kept = [{key: sheet[key] for key in MetricSheet.model_fields if key in sheet} for sheet in sheets]
        return TypeAdapter(list[MetricSheet]).validate_python(kept)
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise ConfigError(f"{path}: wanted a file of `f2p test --json`: {error}") from error
