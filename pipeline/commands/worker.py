"""`f2p worker`: one worker in the foreground.

Imports are made where they are needed: the time until a killed worker is back is, for the most part, the time that
Python takes to import.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from setproctitle import setproctitle, setthreadtitle

from f2pnet.config import LineConfig
from f2pnet.errors import MissingExtra
from f2pnet.inspection.result import InspectionResult
from f2pnet.text import printable
from pipeline.configuration.active_config import config_reader
from pipeline.processes.logs import log_to_stderr
from pipeline.workers.worker import Hook, Role

CONSOLE_NICENESS = 10
QUEUE_LIMIT = 1_000


def worker(
    role: Annotated[Literal["ingest", "infer", "publish", "sink", "console"], typer.Argument(help="what it does")],
    line_file: Annotated[Path, typer.Argument(metavar="LINE.yaml", help="line configuration")],
    name: Annotated[
        str, typer.Option(help="name of the worker; of an ingest worker without --camera: the camera's id")
    ],
    camera: Annotated[str | None, typer.Option(help="of an ingest worker: the camera that it reads")] = None,
    run_id: Annotated[
        str | None, typer.Option(help="go on in this run; default: the one the camera's ring holds")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="serve this worker's metrics and health here")
    ] = None,
) -> None:
    """Run one worker in the foreground (for systemd, containers, Kubernetes)."""
    if role == "console":
        os.nice(CONSOLE_NICENESS)  # before its imports: on a busy machine the line comes first
    log_to_stderr()
    setproctitle(
        printable(f"f2p worker {role} {line_file} --name {name}")
    )  # a forked process has the command line of its server
    setthreadtitle(name)  # in `top`, its first 15 characters
    read_config = config_reader(line_file)
    config = read_config()
    line = config.line
    if role == "console":
        _run_console(config.line, line_file, name, lambda: read_config().line)
        return
    from pipeline.workers.assembly import camera_of, run_worker_of

    camera_id = camera_of(line, camera, name).id if role == "ingest" else None
    with _monitored(line, line_file, name, camera_id, metrics_port) as hooks, _traced(line, role) as on_stored:
        run_worker_of(
            config,
            line_file,
            role,
            name,
            camera_id=camera,
            run_id=run_id,
            read_config=read_config,
            further_hooks=hooks,
            on_stored=on_stored,
        )


@contextmanager
def _monitored(
    line: LineConfig, line_file: Path, name: str, camera_id: str | None, port: int | None
) -> Iterator[list[Hook]]:
    if port is None:
        yield []
        return
    from pipeline.monitor.worker_hook import monitored

    with monitored(line, line_file, name, camera_id, port) as hooks:
        yield hooks


@contextmanager
def _traced(line: LineConfig, role: Role) -> Iterator[Callable[[InspectionResult], None]]:
    if line.tracing is None or role != "publish":
        yield lambda result: None
        return
    try:
        from pipeline.monitor.traces import FrameTraces
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise MissingExtra("tracing and its packages (opentelemetry)", "otel") from error
    traces = FrameTraces(line.tracing, line.line)
    try:
        yield traces
    finally:
        traces.close()


def _run_console(line: LineConfig, line_file: Path, name: str, read_line: Callable[[], LineConfig]) -> None:
    from pipeline.wire.rundir import RunDir
    from pipeline.wire.transport import Link
    from pipeline.workers.worker import NotifyHook, PublishHook, run_worker

    try:
        from pipeline.console.worker import ConsoleWorker
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MissingExtra(f"the console and its packages ({error.name})", "console") from error
    run_dir = RunDir(line, line_file)
    publish = Link(run_dir.publish_address, name, QUEUE_LIMIT, run_dir.curve)
    worker = ConsoleWorker(name, line, line_file, read_line)
    run_worker(worker, [NotifyHook(), PublishHook(publish)], line.timeouts.drain_s)
