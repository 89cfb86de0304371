"""The commands of the line: run, demo, check, status, bench."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from setproctitle import setproctitle

from f2pnet.address import looks_like_address
from f2pnet.config import LineConfig, load_line, refuse_reserved_names
from f2pnet.config.sources import shown_source
from f2pnet.errors import ConfigError, ExitCode, MissingResource
from f2pnet.foreign import ForeignData
from f2pnet.options import positive
from f2pnet.output_places import refuse_shared, try_file, try_folder, write_file
from f2pnet.redis_endpoint import find_embedded
from f2pnet.result import InspectionResult
from f2pnet.terminal import plain_console, say
from f2pnet.text import printable
from pipeline.logs import log_to_stderr

if TYPE_CHECKING:
    from pipeline.summary import LineStatus

ALERTS_QUEUED = 1_000
CURRENT_FOLDER = Path()

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


def run(
    line_file: Annotated[Path | None, typer.Argument(metavar="[LINE.yaml]", help="line configuration")] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="URI", help="instead of LINE.yaml: rtsp://, http://, a folder, a video")
    ] = None,
    engine: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="engine for --source")] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="with --source: folder for results/ and evidence/")
    ] = CURRENT_FOLDER,
    duration: Duration = None,
    summary: SummaryFile = None,
    no_table: NoTable = False,
    no_console: NoConsole = False,
) -> None:
    """Run all workers of a line on this host, supervised, until its sources end or Ctrl-C.

    Exit code 3 when a source with an end (a folder, a video) gave no frame.
    """
    from pipeline.silent_cameras import cameras_without_frames

    if any(map(looks_like_address, source or [])):
        setproctitle(" ".join(["f2p run", *(f"--source {shown_source(uri)}" for uri in source or [])]))
    log_to_stderr()
    if (line_file is None) == (not source):
        raise ConfigError("give either LINE.yaml or --source URI")
    _try_summary(summary, {"LINE.yaml": line_file})
    if line_file is None:
        _run_sources(source or [], engine, out, duration, summary, no_table=no_table or no_console, page=not no_console)
        return
    if engine is not None or out != CURRENT_FOLDER:
        raise ConfigError("--engine and --out go with --source; a line file names its engine and folders itself")
    line = load_line(line_file)
    silent: dict[str, str] = {}
    status = _run_shown(
        line,
        line_file,
        duration,
        no_table=no_table or no_console,
        before_store_stops=lambda status, url: silent.update(cameras_without_frames(status, line, duration, url)),
    )
    _finish(status, summary, silent)


def _run_sources(
    uris: list[str],
    engine: Path | None,
    out: Path,
    duration: float | None,
    summary: Path | None,
    *,
    no_table: bool,
    page: bool,
) -> None:
    """A line made of the sources, which keeps nothing but the results and the evidence in `out`."""
    from pipeline.adhoc import line_of_sources, write_line
    from pipeline.results_file import ResultsFile
    from pipeline.silent_cameras import cameras_without_frames
    from pipeline.summary import shown_frame
    from pipeline.temporary_line import temporary_line

    results = out.absolute() / "results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.jsonl"
    try_folder(results.parent, "--out")
    with temporary_line() as folder:
        line = line_of_sources(uris, engine, folder, out / "evidence")
        line = line if page else _without_page(line)
        places = {"results": printable(results), "evidence": printable(out.absolute() / "evidence")}
        if line.console is not None:
            places["page"] = f"http://{line.console.host}:{line.console.port}/ (while the line runs)"
        _tell(places, err=True)
        data = line.publish.embedded_redis_dir
        silent: dict[str, str] = {}
        with ResultsFile(results, line.line, lambda: find_embedded(data)) as file:

            def read_last(status: LineStatus, url: str) -> None:
                file.finish(url, line.publish.spool.dir)
                silent.update(cameras_without_frames(status, line, duration, url))

            status = _run_shown(
                line, write_line(line, folder), duration, no_table=no_table, before_store_stops=read_last
            )
            places["results"] = f"{places['results']} ({file.written} verdicts)" if file.written else "none"
            places.pop("page", None)
            if file.last_ng:
                places["last NG"] = ", ".join(shown_frame(InspectionResult.from_json(data)) for data in file.last_ng)
    _finish(status, summary, silent, places)


def demo(
    duration: Annotated[
        float | None, typer.Option(callback=positive, help="end after so many seconds of inspecting")
    ] = 60.0,
    summary: SummaryFile = None,
    no_table: NoTable = False,
    no_console: NoConsole = False,
) -> None:
    """A simulated line with known defects, the shipped engine, an embedded Redis; ends with ledger and score."""
    from pipeline.adhoc import write_line
    from pipeline.demo import demo_line, score
    from pipeline.temporary_line import temporary_line

    log_to_stderr()
    _try_summary(summary, {})
    with temporary_line() as folder:
        line = _without_page(demo_line(folder)) if no_console else demo_line(folder)
        if line.console is not None:
            address = f"http://{line.console.host}:{line.console.port}/"
            typer.echo(f"the line's page, for as long as the demo runs: {address}", err=True)
        truth: dict[str, Any] = {}
        status = _run_shown(
            line,
            write_line(line, folder),
            duration,
            no_table=no_table or no_console,
            before_store_stops=lambda status, url: truth.update(score(line, status.run_id, url)),
        )
    _finish(status, summary, truth=truth)


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


def status(
    line_file: LineFile,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="again every second until Ctrl-C")] = False,
) -> None:
    """Workers, ledger, rates and latency percentiles of a running line, from its store."""
    from pipeline.status import read_status
    from pipeline.view import cameras_table, workers_table

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


def bench_pipeline(
    cameras: Annotated[int, typer.Option(min=1, max=64)] = 2,
    size: Annotated[str, typer.Option(metavar="WxH", help="frame size in pixels")] = "1920x1080",
    engine: Annotated[
        str,
        typer.Option(
            metavar="BUNDLE|null|simulated:RATE[:BATCH]",
            help="null answers at once, simulated as an accelerator of RATE images/s would",
        ),
    ] = "null",
    fps: Annotated[
        float | None, typer.Option(callback=positive, help="frames/s of each camera; default: as fast as it goes")
    ] = None,
    duration: Annotated[float, typer.Option(min=1, callback=positive, help="seconds of measuring")] = 10.0,
    summary: SummaryFile = None,
    as_json: AsJson = False,
) -> None:
    """Frames per second from capture to durable verdict, beside the single-memcpy rate of the same frames."""
    from pipeline.bench import measure_pipeline

    log_to_stderr()
    _try_summary(summary, {})
    report = measure_pipeline(cameras, size, engine, duration, fps)
    if summary is not None:
        write_file(summary, json.dumps(report, indent=2) + "\n", "--summary")
    if as_json:
        typer.echo(json.dumps(report))
        return
    ratio = report["baseline"]["ratio"]
    total, bare_fps = report["latency_ms"]["total"], report["engine"]["bare_fps"]
    engine_line = bare_fps and f"engine alone {bare_fps:.1f} images/s; ratio {report['ratio_to_engine']:.2f}\n"
    typer.echo(
        f"{report['throughput_fps']:.1f} frames/s of {size} from {cameras} cameras; "
        f"single memcpy {report['baseline']['memcpy_fps']:.1f} frames/s; ratio {ratio:.2f}\n"
        f"{engine_line or ''}"
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

    console = plain_console()
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


def _try_summary(summary: Path | None, inputs: dict[str, Path | None]) -> None:
    if summary is not None:
        refuse_shared({"--summary": summary}, inputs)
        try_file(summary, "--summary")


def _tell(places: dict[str, str], *, err: bool = False) -> None:
    """Where things are, a line for each: long paths are neither cut nor folded."""
    for name, place in places.items():
        typer.echo(f"{name + ':':10} {place}", err=err)


def _finish(
    status: LineStatus,
    summary: Path | None,
    silent: dict[str, str] | None = None,
    places: dict[str, str] | None = None,
    truth: dict[str, Any] | None = None,
) -> None:
    """Print the closing table, write the summary; exit 1 when the ledger does not balance.

    Raises MissingResource for cameras that gave nothing (`silent`: id -> what is known of it).
    """
    from pipeline.view import cameras_table, workers_table

    console = plain_console()
    console.print(cameras_table(status), workers_table(status))
    _tell(places or {})
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
        told = "; ".join(f"camera {camera_id} ({known})" for camera_id, known in silent.items())
        raise MissingResource(f"no frame was captured from {told}")
