"""The commands of the line: run, demo, check, status, bench."""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from f2pnet.config import LineConfig, load_line, refuse_reserved_names
from f2pnet.errors import ConfigError, ExitCode
from f2pnet.foreign import ForeignData
from pipeline.logs import log_to_stderr

if TYPE_CHECKING:
    from pipeline.summary import LineStatus

ALERTS_QUEUED = 1_000

LineFile = Annotated[Path, typer.Argument(metavar="LINE.yaml", help="line configuration")]
Duration = Annotated[
    float | None, typer.Option(help="end after so many seconds of inspecting; default: when the sources end")
]
SummaryFile = Annotated[Path | None, typer.Option(metavar="FILE", help="write the summary here, as JSON")]
NoTable = Annotated[bool, typer.Option("--no-table", help="no live table; log lines instead")]
NoConsole = Annotated[
    bool, typer.Option("--no-console", help="as --no-table, and no page but the one that LINE.yaml configures")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def run(
    line_file: Annotated[Path | None, typer.Argument(metavar="[LINE.yaml]", help="line configuration")] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="URI", help="instead of LINE.yaml: rtsp://, http://, a folder, a video")
    ] = None,
    engine: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="engine for --source")] = None,
    duration: Duration = None,
    summary: SummaryFile = None,
    no_table: NoTable = False,
    no_console: NoConsole = False,
) -> None:
    """Run all workers of a line on this host, supervised, until its sources end or Ctrl-C."""
    from pipeline.adhoc import line_of_sources, write_line

    log_to_stderr()
    if (line_file is None) == (not source):
        raise ConfigError("give either LINE.yaml or --source URI")
    if line_file is not None:
        status = _run_shown(load_line(line_file), line_file, duration, no_table=no_table or no_console)
    else:
        with tempfile.TemporaryDirectory(prefix="f2p-run-") as folder:
            adhoc = line_of_sources(source or [], engine, Path(folder))
            adhoc = _without_page(adhoc) if no_console else adhoc
            status = _run_shown(adhoc, write_line(adhoc, Path(folder)), duration, no_table=no_table or no_console)
    _finish(status, summary)


def demo(
    duration: Annotated[
        float | None, typer.Option(help="end after so many seconds of inspecting; default: on Ctrl-C")
    ] = 60.0,
    summary: SummaryFile = None,
    no_table: NoTable = False,
    no_console: NoConsole = False,
) -> None:
    """A simulated line with known defects, the shipped engine, an embedded Redis; ends with ledger and score."""
    from pipeline.adhoc import write_line
    from pipeline.demo import demo_line, score

    log_to_stderr()
    with tempfile.TemporaryDirectory(prefix="f2p-demo-") as folder:
        line = _without_page(demo_line(Path(folder))) if no_console else demo_line(Path(folder))
        if line.console is not None:
            address = f"http://{line.console.host}:{line.console.port}/"
            typer.echo(f"the line's page, for as long as the demo runs: {address}", err=True)
        truth: dict[str, Any] = {}
        status = _run_shown(
            line,
            write_line(line, Path(folder)),
            duration,
            no_table=no_table or no_console,
            before_store_stops=lambda status, url: truth.update(score(line, status.run_id, url)),
        )
    _finish(status, summary, truth)


def check(
    line_file: LineFile,
    probe: Annotated[bool, typer.Option("--probe", help="open each camera, the engine and the store")] = False,
    thumbnails: Annotated[
        Path | None, typer.Option(metavar="DIR", help="with --probe: write a small picture of each camera here")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate a line configuration."""
    from pipeline.probe import configuration_findings, probe_line

    line = load_line(line_file)
    refuse_reserved_names(line)
    findings = probe_line(line, thumbnails) if probe else configuration_findings(line)
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        for finding in findings:
            mark = "FAILS " if not finding.ok else "note  " if finding.advice else "ok    "
            typer.echo(f"{mark} {finding.what}: {finding.detail}" + (f"; {finding.advice}" if finding.advice else ""))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.MISSING)


def status(
    line_file: LineFile,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="again every second until Ctrl-C")] = False,
) -> None:
    """Workers, ledger, rates and latency percentiles of a running line, from its store."""
    from pipeline.status import read_status
    from pipeline.view import cameras_table, workers_table

    line, console = load_line(line_file), Console()
    foreign = ForeignData(lambda text: typer.echo(text, err=True))
    while True:
        now = read_status(line, foreign)
        if as_json:
            typer.echo(json.dumps(now.summary()))
        else:
            console.print(cameras_table(now), workers_table(now))
        if not watch:
            return
        time.sleep(1.0)


def bench_pipeline(
    cameras: Annotated[int, typer.Option(min=1, max=64)] = 2,
    size: Annotated[str, typer.Option(metavar="WxH", help="frame size in pixels")] = "1920x1080",
    engine: Annotated[str, typer.Option(metavar="BUNDLE|null", help="null answers at once")] = "null",
    duration: Annotated[float, typer.Option(min=1, help="seconds of measuring")] = 10.0,
    summary: SummaryFile = None,
    as_json: AsJson = False,
) -> None:
    """Frames per second from capture to durable verdict, beside the single-memcpy rate of the same frames."""
    from pipeline.bench import measure_pipeline

    log_to_stderr()
    report = measure_pipeline(cameras, size, engine, duration)
    if summary is not None:
        summary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report))
        return
    ratio = report["baseline"]["ratio"]
    total = report["latency_ms"]["total"]
    typer.echo(
        f"{report['throughput_fps']:.1f} frames/s of {size} from {cameras} cameras; "
        f"single memcpy {report['baseline']['memcpy_fps']:.1f} frames/s; ratio {ratio:.2f}\n"
        f"latency captured -> stored p50 {total['p50']} ms, p99 {total['p99']} ms; "
        f"peak memory {report['peak_memory_mb']:.0f} MB over all processes"
    )


def _without_page(line: LineConfig) -> LineConfig:
    return line.model_copy(update={"console": None})


def _run_shown(
    line: LineConfig, line_file: Path, duration: float | None, *, no_table: bool, **options: Any
) -> LineStatus:
    """Run the line behind the live table, whose workers then log to files, or without it."""
    from pipeline.line import run_line

    console = Console()
    if no_table or not console.is_terminal:
        return run_line(line, line_file, duration_s=duration, **options)
    from pipeline.view import LiveView
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


def _finish(status: LineStatus, summary: Path | None, truth: dict[str, Any] | None = None) -> None:
    """Print the closing table, write the summary; exit 1 when the ledger does not balance."""
    from pipeline.view import cameras_table, workers_table

    console = Console()
    console.print(cameras_table(status), workers_table(status))
    if truth:
        console.print(
            f"against the truth of {truth['frames']} frames: precision {truth['precision']:.3f}, "
            f"recall {truth['recall']:.3f}"
        )
    if summary is not None:
        summary.write_text(json.dumps(status.summary(truth or None), indent=2) + "\n", encoding="utf-8")
    if not status.balanced or any(ledger.in_flight for ledger in status.cameras.values()):
        raise typer.Exit(ExitCode.CHECK_FAILED)
