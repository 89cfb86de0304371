"""`f2p status`."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from f2pnet.commands.terminal import plain_console, say
from f2pnet.config import load_line
from f2pnet.foreign import ForeignData
from pipeline.commands.options import AsJson, LineFile


def status(
    line_file: LineFile,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="again every second until Ctrl-C")] = False,
) -> None:
    """Workers, ledger, rates and latency percentiles of a running line, from its store."""
    from pipeline.status.stored import read_status
    from pipeline.status.view import cameras_table, workers_table

    line, console = load_line(line_file), plain_console()
    foreign = ForeignData(lambda text: say(text, err=True))
    while True:
        now = read_status(line, foreign)
        if as_json:
            typer.echo(json.dumps(now.summary()))
        else:
            console.print(cameras_table(now), workers_table(now))
        if not watch:
            return
        time.sleep(1.0)
