"""`f2p run`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from setproctitle import setproctitle

from f2pnet.address import looks_like_address
from f2pnet.commands.output_places import try_folder
from f2pnet.config import load_line
from f2pnet.config.sources import shown_source
from f2pnet.errors import ConfigError
from f2pnet.inspection.result import InspectionResult
from f2pnet.redis.endpoint import find_embedded
from f2pnet.text import printable
from pipeline.commands.options import Duration, NoConsole, NoTable, SummaryFile
from pipeline.commands.shown_run import finish, print_places, run_shown, try_summary, without_page
from pipeline.processes.logs import log_to_stderr

if TYPE_CHECKING:
    from pipeline.status.summary import LineStatus

CURRENT_FOLDER = Path()


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
    from pipeline.supervision.silent_cameras import cameras_without_frames

    if any(map(looks_like_address, source or [])):
        setproctitle(" ".join(["f2p run", *(f"--source {shown_source(uri)}" for uri in source or [])]))
    log_to_stderr()
    if (line_file is None) == (not source):
        raise ConfigError("give either LINE.yaml or --source URI")
    try_summary(summary, {"LINE.yaml": line_file})
    if line_file is None:
        _run_sources(source or [], engine, out, duration, summary, no_table=no_table or no_console, page=not no_console)
        return
    if engine is not None or out != CURRENT_FOLDER:
        raise ConfigError("--engine and --out go with --source; a line file names its engine and folders itself")
    line = load_line(line_file)
    silent: dict[str, str] = {}
    status = run_shown(
        line,
        line_file,
        duration,
        no_table=no_table or no_console,
        before_store_stops=lambda status, url: silent.update(cameras_without_frames(status, line, duration, url)),
    )
    finish(status, summary, silent)


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
    from pipeline.adhoc.configuration import line_of_sources, write_line
    from pipeline.adhoc.folder import temporary_line
    from pipeline.adhoc.results_file import ResultsFile
    from pipeline.status.summary import shown_frame
    from pipeline.supervision.silent_cameras import cameras_without_frames

    results = out.absolute() / "results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.jsonl"
    try_folder(results.parent, "--out")
    with temporary_line() as folder:
        line = line_of_sources(uris, engine, folder, out / "evidence")
        line = line if page else without_page(line)
        places = {"results": printable(results), "evidence": printable(out.absolute() / "evidence")}
        if line.console is not None:
            places["page"] = f"http://{line.console.host}:{line.console.port}/ (while the line runs)"
        print_places(places, err=True)
        data = line.publish.embedded_redis_dir
        silent: dict[str, str] = {}
        with ResultsFile(results, line.line, lambda: find_embedded(data)) as file:

            def read_last(status: LineStatus, url: str) -> None:
                file.finish(url, line.publish.spool.dir)
                silent.update(cameras_without_frames(status, line, duration, url))

            status = run_shown(
                line, write_line(line, folder), duration, no_table=no_table, before_store_stops=read_last
            )
            places["results"] = f"{places['results']} ({file.written} verdicts)" if file.written else "none"
            places.pop("page", None)
            if file.last_ng:
                places["last NG"] = ", ".join(shown_frame(InspectionResult.from_json(data)) for data in file.last_ng)
    finish(status, summary, silent, places)
