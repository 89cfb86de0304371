"""`f2p export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from export.exporter import export_bundle
from f2pnet.bundle import MetricSheet
from f2pnet.errors import ConfigError

FORMATS, PRECISIONS = ("onnx",), ("fp32",)


def export(
    ckpt: Annotated[Path, typer.Argument(help="checkpoint that `f2p train` wrote")],
    out: Annotated[Path, typer.Option(help="the bundle's folder; its name becomes the engine's")],
    verify: Annotated[list[Path], typer.Option(help="data set folder whose test images prove the engine; repeatable")],
    format_: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "onnx",
    precision: Annotated[str, typer.Option(help=", ".join(PRECISIONS))] = "fp32",
    max_batch: Annotated[int, typer.Option(min=1, max=1024, help="images in one run of the engine, at most")] = 16,
    scores: Annotated[list[Path] | None, typer.Option(help="`f2p test --json` file to keep in the manifest")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the manifest")] = False,
) -> None:
    """Make an engine bundle from a checkpoint; refused unless both agree on real images."""
    for name, value, known in (("format", format_, FORMATS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ConfigError(f"{name} is '{value}', wanted one of: {', '.join(known)}")
    sheets = [sheet for path in scores or [] for sheet in read_scores(path)]
    bundle = export_bundle(ckpt, out, verify=verify, max_batch=max_batch, scores=sheets)
    if as_json:
        typer.echo(bundle.manifest.model_dump_json(indent=2))
        return
    artifact = bundle.manifest.artifacts[0]
    size_mb = bundle.path(artifact).stat().st_size / 1e6
    Console().print(f"{out}: engine {bundle.engine_id}, {artifact.file} {size_mb:.1f} MB, proven on {artifact.parity}")


def read_scores(path: Path) -> list[MetricSheet]:
    """The score sheets that `f2p test --json` wrote."""
    try:
        return TypeAdapter(list[MetricSheet]).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise ConfigError(f"{path}: wanted a file of `f2p test --json`: {error}") from error
