"""`f2p demo`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from f2pnet.commands.options import positive
from pipeline.commands.options import NoConsole, NoTable, SummaryFile
from pipeline.commands.shown_run import finish, run_shown, try_summary, without_page
from pipeline.processes.logs import log_to_stderr


def demo(
    duration: Annotated[
        float | None, typer.Option(callback=positive, help="end after so many seconds of inspecting")
    ] = 60.0,
    summary: SummaryFile = None,
    no_table: NoTable = False,
    no_console: NoConsole = False,
) -> None:
    """A simulated line with known defects, the shipped engine, an embedded Redis; ends with ledger and score."""
    from pipeline.adhoc.configuration import write_line
    from pipeline.adhoc.demo import demo_line, score
    from pipeline.adhoc.folder import temporary_line

    log_to_stderr()
    try_summary(summary, {})
    with temporary_line() as folder:
        line = without_page(demo_line(folder)) if no_console else demo_line(folder)
        if line.console is not None:
            address = f"http://{line.console.host}:{line.console.port}/"
            typer.echo(f"the line's page, for as long as the demo runs: {address}", err=True)
        truth: dict[str, Any] = {}
        status = run_shown(
            line,
            write_line(line, folder),
            duration,
            no_table=no_table or no_console,
            before_store_stops=lambda status, url: truth.update(score(line, status.run_id, url)),
        )
    finish(status, summary, truth=truth)
