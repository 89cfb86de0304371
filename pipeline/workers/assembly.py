"""Puts each worker together from a line configuration.

A role's own parts are imported with it: what a worker does not need, it does not wait for when it is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from f2pnet.config import CameraConfig, LineConfig
from f2pnet.errors import ConfigError
from pipeline.configuration.active_config import ActiveConfig
from pipeline.configuration.engine_copy import open_held
from pipeline.processes.holder import RESTARTS_KEY
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link
from pipeline.workers.worker import Hook, NotifyHook, PublishHook, Role, Worker, run_worker

if TYPE_CHECKING:
    from f2pnet.inspection.inspector import Inspector
    from pipeline.workers.publish import OnStored

QUEUE_LIMIT = 4_096


def run_worker_of(
    config: ActiveConfig,
    line_file: Path,
    role: Role,
    name: str,
    *,
    camera_id: str | None = None,
    run_id: str | None = None,
    read_config: Callable[[], ActiveConfig],
    further_hooks: Iterable[Hook] = (),
    on_stored: OnStored = lambda result: None,
) -> None:
    """Run one worker in this process until it is through or is asked to end.

    `camera_id` and `run_id` are for an ingest worker, `on_stored` for a publish worker. `read_config` gives what is in
    force when the worker is notified that it changed.
    """
    line = config.line
    run_dir = RunDir(line, line_file)
    hooks: list[Hook] = [NotifyHook(), *further_hooks]
    worker: Worker
    if role == "publish":
        worker = _publish_worker(name, config, run_dir, on_stored)
    elif role == "sink":
        worker = _sink_worker(name, config)
        hooks.append(PublishHook(Link(run_dir.publish_address, name, QUEUE_LIMIT, run_dir.curve)))
    elif role == "ingest":
        camera = camera_of(line, camera_id, name)
        link = Link(run_dir.publish_address, f"ingest/{camera.id}", QUEUE_LIMIT, run_dir.curve)
        hooks.append(PublishHook(link))
        worker = _ingest_worker(name, line, camera, run_dir, run_id, link)
    else:
        link = Link(run_dir.publish_address, name, QUEUE_LIMIT, run_dir.curve)
        hooks.append(PublishHook(link))
        worker = _infer_worker(name, config, line_file, read_config, link)
    with _line_held(line, role):
        run_worker(worker, hooks, line.timeouts.drain_s)


@contextmanager
def _line_held(line: LineConfig, role: Role) -> Iterator[None]:
    """A publish worker that no supervisor of the line started holds the line's name itself. Raises LineTaken."""
    if role != "publish" or RESTARTS_KEY in os.environ or line.publish.is_embedded:
        yield
        return
    from pipeline.store.line_lease import held_line

    with held_line(line.publish.redis, line.line, store_may_be_away=True):
        yield


def camera_of(line: LineConfig, camera_id: str | None, name: str) -> CameraConfig:
    """The camera that `camera_id` names; without one, the worker's name does: `cam1` or `ingest-cam1`."""
    wanted = [name, name.removeprefix("ingest-")] if camera_id is None else [camera_id]
    for camera in line.cameras:
        if camera.id in wanted:
            return camera
    known = ", ".join(camera.id for camera in line.cameras)
    raise ConfigError(f"line {line.line} has no camera '{wanted[-1]}'; it has: {known}")


def _ingest_worker(
    name: str, line: LineConfig, camera: CameraConfig, run_dir: RunDir, run_id: str | None, link: Link
) -> Worker:
    from pipeline.workers.camera.ingest import IngestWorker

    return IngestWorker(name, line, camera, run_dir, run_id, link)


def _infer_worker(
    name: str, config: ActiveConfig, line_file: Path, read_config: Callable[[], ActiveConfig], link: Link
) -> Worker:
    from pipeline.workers.inference.infer import InferWorker

    return InferWorker(name, config.line, line_file, lambda: _inspector(config), read_config, link)


def _publish_worker(name: str, config: ActiveConfig, run_dir: RunDir, on_stored: OnStored) -> Worker:
    from pipeline.store.durable import DurableStore
    from pipeline.store.evidence import EvidenceStore
    from pipeline.store.redis_store import RedisStore
    from pipeline.store.spool.spool import Spool
    from pipeline.workers.publish import PublishWorker

    line, publish = config.line, config.line.publish
    redis = RedisStore(
        _store_url(config),
        line.line,
        results_kept=publish.results_kept,
        alerts_kept=publish.alerts_kept,
        min_replicas=publish.min_replicas,
        chain=publish.chain,
    )
    store = DurableStore(redis, Spool(publish.spool.dir, publish.spool.max_mb * 2**20))
    kept = publish.evidence
    evidence = EvidenceStore(kept.dir, kept.max_mb, kept.max_count, kept.max_age_days) if kept else None
    return PublishWorker(name, line, run_dir, store, evidence, on_stored)


def _sink_worker(name: str, config: ActiveConfig) -> Worker:
    """The worker of the sink that `name` names: `mes` or `sink-mes`."""
    from pipeline.workers.sink import SinkWorker

    line, wanted = config.line, name.removeprefix("sink-")
    for sink in line.publish.sinks:
        if sink.name == wanted:
            return SinkWorker(name, line.line, sink, lambda: _store_url(config))
    known = ", ".join(sink.name for sink in line.publish.sinks) or "none"
    raise ConfigError(f"line {line.line} has no sink '{wanted}'; it has: {known}")


def _store_url(config: ActiveConfig) -> str:
    return config.store_url or config.line.running_store()


def _inspector(config: ActiveConfig) -> Inspector:
    from f2pnet.inspection.inspector import Inspector

    engine, folder = config.line.engine, config.line.engine.bundle
    held = open_held(config.engine_sha256, config.engine_folder, folder) if config.engine_sha256 else folder
    return Inspector.open(
        held,
        recipe=config.recipe,
        backend=engine.backend,
        device=engine.device,
        precision=engine.precision,
        allow_fallback=engine.allow_fallback,
        threads=engine.threads or max(1, (os.cpu_count() or 1) // max(1, engine.workers)),
    )
