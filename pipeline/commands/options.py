"""Options that several commands of the line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f2pnet.commands.options import positive

LineFile = Annotated[Path, typer.Argument(metavar="LINE.yaml", help="line configuration")]
Duration = Annotated[
    float | None,
    typer.Option(callback=positive, help="end after so many seconds of inspecting; default: when the sources end"),
]
SummaryFile = Annotated[Path | None, typer.Option(metavar="FILE", help="write the summary here, as JSON")]
NoTable = Annotated[bool, typer.Option("--no-table", help="no live table; log lines instead")]
NoConsole = Annotated[
    bool, typer.Option("--no-console", help="as --no-table, and no page but the one that LINE.yaml configures")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
