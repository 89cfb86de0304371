"""Running a line for somebody who watches: the live table while it runs, the closing table and the summary after it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from f2pnet.commands.output_places import refuse_shared, try_file, write_file
from f2pnet.commands.terminal import plain_console
from f2pnet.config import LineConfig
from f2pnet.errors import ExitCode, MissingResource

if TYPE_CHECKING:
    from pipeline.status.summary import LineStatus

ALERTS_QUEUED = 1_000


def without_page(line: LineConfig) -> LineConfig:
    return line.model_copy(update={"console": None})


def run_shown(
    line: LineConfig, line_file: Path, duration: float | None, *, no_table: bool, **options: Any
) -> LineStatus:
    """Run the line behind the live table, whose workers then log to files, or without it."""
    from pipeline.supervision.line import run_line

    console = plain_console()
    if no_table or not console.is_terminal:
        return run_line(line, line_file, duration_s=duration, **options)
    from pipeline.status.view import LiveView
    from pipeline.wire.rundir import RunDir
    from pipeline.wire.transport import Subscriber

    with ExitStack() as stack:
        log_dir = line.publish.spool.dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        for old in log_dir.glob("*.log"):
            old.unlink()
        run_dir = RunDir(line, line_file)
        feed = Subscriber(run_dir.alert_addresses[0], "f2p.", ALERTS_QUEUED, run_dir.curve)
        view = stack.enter_context(LiveView(console, feed))
        return run_line(line, line_file, duration_s=duration, view=view, log_dir=log_dir, **options)


def try_summary(summary: Path | None, inputs: dict[str, Path | None]) -> None:
    if summary is not None:
        refuse_shared({"--summary": summary}, inputs)
        try_file(summary, "--summary")


def print_places(places: dict[str, str], *, err: bool = False) -> None:
    """Where things are, a line for each: long paths are neither cut nor folded."""
    for name, place in places.items():
        typer.echo(f"{name + ':':10} {place}", err=err)


def finish(
    status: LineStatus,
    summary: Path | None,
    silent: dict[str, str] | None = None,
    places: dict[str, str] | None = None,
    truth: dict[str, Any] | None = None,
) -> None:
    """Print the closing table, write the summary; exit 1 when the ledger does not balance.

    Raises MissingResource for cameras that gave nothing (`silent`: id -> what is known of it).
    """
    from pipeline.status.view import cameras_table, workers_table

    console = plain_console()
    console.print(cameras_table(status), workers_table(status))
    print_places(places or {})
    if truth:
        console.print(
            f"against the truth of {truth['frames']} frames: precision {truth['precision']:.3f}, "
            f"recall {truth['recall']:.3f}"
        )
    if summary is not None:
        write_file(summary, json.dumps(status.summary(truth or None), indent=2) + "\n", "--summary")
    if not status.balanced or any(ledger.in_flight for ledger in status.cameras.values()):
        raise typer.Exit(ExitCode.CHECK_FAILED)
    if silent:
        described = "; ".join(f"camera {camera_id} ({known})" for camera_id, known in silent.items())
        raise MissingResource(f"no frame was captured from {described}")
