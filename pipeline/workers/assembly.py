"""Puts each worker together from a line configuration.

A role's own parts are imported with it: what a worker does not need, it does not wait for when it is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from f2pnet.config import LineConfig
from f2pnet.errors import ConfigError
from f2pnet.redis_endpoint import find_embedded
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link
from pipeline.workers.worker import Hook, NotifyHook, PublishHook, Role, Worker, run_worker

if TYPE_CHECKING:
    from f2pnet.inspector import Inspector
    from pipeline.workers.publish import OnStored

QUEUE_LIMIT = 4_096


def run_worker_of(
    line: LineConfig,
    line_file: Path,
    role: Role,
    name: str,
    run_id: str | None,
    further_hooks: Iterable[Hook] = (),
    on_stored: OnStored = lambda result: None,
) -> None:
    """Run one worker in this process until it is through or is asked to end. `on_stored` is for a publish worker."""
    run_dir = RunDir(line, line_file)
    hooks: list[Hook] = [NotifyHook(), *further_hooks]
    worker: Worker
    if role == "publish":
        worker = _publish_worker(name, line, run_dir, on_stored)
    elif role == "sink":
        worker = _sink_worker(name, line)
        hooks.append(PublishHook(Link(run_dir.publish_address, name, QUEUE_LIMIT, run_dir.curve)))
    else:
        camera_id = name.removeprefix("ingest-")
        peer = f"ingest/{camera_id}" if role == "ingest" else name
        link = Link(run_dir.publish_address, peer, QUEUE_LIMIT, run_dir.curve)
        hooks.append(PublishHook(link))
        worker = (
            _ingest_worker(name, line, run_dir, run_id, link)
            if role == "ingest"
            else _infer_worker(name, line, line_file, link)
        )
    run_worker(worker, hooks, line.timeouts.drain_s)


def _ingest_worker(name: str, line: LineConfig, run_dir: RunDir, run_id: str | None, link: Link) -> Worker:
    """The worker of the camera that `name` names: `cam1` or `ingest-cam1`."""
    from pipeline.workers.ingest import IngestWorker

    wanted = name.removeprefix("ingest-")
    for camera in line.cameras:
        if camera.id == wanted:
            return IngestWorker(name, line, camera, run_dir, run_id, link)
    known = ", ".join(camera.id for camera in line.cameras)
    raise ConfigError(f"line {line.line} has no camera '{wanted}'; it has: {known}")


def _infer_worker(name: str, line: LineConfig, line_file: Path, link: Link) -> Worker:
    from pipeline.workers.infer import InferWorker

    return InferWorker(name, line, line_file, lambda: _inspector(line), link)


def _publish_worker(name: str, line: LineConfig, run_dir: RunDir, on_stored: OnStored) -> Worker:
    from pipeline.store.durable import DurableStore
    from pipeline.store.evidence import EvidenceStore
    from pipeline.store.redis_store import RedisStore
    from pipeline.store.spool import Spool
    from pipeline.workers.publish import PublishWorker

    publish = line.publish
    redis = RedisStore(
        _store_url(line),
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


def _sink_worker(name: str, line: LineConfig) -> Worker:
    """The worker of the sink that `name` names: `mes` or `sink-mes`."""
    from pipeline.workers.sink import SinkWorker

    wanted = name.removeprefix("sink-")
    for sink in line.publish.sinks:
        if sink.name == wanted:
            return SinkWorker(name, line.line, sink, lambda: _store_url(line))
    known = ", ".join(sink.name for sink in line.publish.sinks) or "none"
    raise ConfigError(f"line {line.line} has no sink '{wanted}'; it has: {known}")


def _store_url(line: LineConfig) -> str:
    return find_embedded(line.publish.embedded_redis_dir) if line.publish.redis == "embedded" else line.publish.redis


def _inspector(line: LineConfig) -> Inspector:
    from f2pnet.inspector import Inspector

    engine = line.engine
    return Inspector.open(
        engine.bundle,
        recipe=line.recipe,
        backend=engine.backend,
        device=engine.device,
        precision=engine.precision,
        allow_fallback=engine.allow_fallback,
        threads=engine.threads or max(1, (os.cpu_count() or 1) // max(1, engine.workers)),
    )
