"""`f2p check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from f2pnet.commands.output_places import try_folder
from f2pnet.config import load_line, refuse_reserved_names
from f2pnet.errors import ExitCode
from f2pnet.text import printable
from pipeline.commands.options import AsJson, LineFile


def check(
    line_file: LineFile,
    probe: Annotated[bool, typer.Option("--probe", help="open each camera, the engine and the store")] = False,
    thumbnails: Annotated[
        Path | None, typer.Option(metavar="DIR", help="with --probe: write a small picture of each camera here")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate a line configuration."""
    from pipeline.checks.probe import configuration_findings, probe_line

    if thumbnails is not None:
        try_folder(thumbnails, "--thumbnails")
    line = load_line(line_file)
    refuse_reserved_names(line)
    findings = probe_line(line, thumbnails) if probe else configuration_findings(line)
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        for finding in findings:
            mark = "FAILS " if not finding.ok else "note  " if finding.advice else "ok    "
            advice = f"; {finding.advice}" if finding.advice else ""
            typer.echo(f"{mark} {printable(f'{finding.what}: {finding.detail}{advice}')}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.MISSING)
