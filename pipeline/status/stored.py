"""What a running line says of itself in its store, for `f2p status` on any host that reaches the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from f2pnet.config import LineConfig
from f2pnet.foreign import ForeignData
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from pipeline.frames.ledger import Ledger
from pipeline.status.summary import LineStatus, WorkerRow, reconnects_by_camera, total_counters, total_latency
from pipeline.store.audit.ledgers import counters_in, read_hashes
from pipeline.wire.messages import Heartbeat
from pipeline.wire.run_id import started_at_s

SILENT_AFTER_S = 5.0  # a worker whose last heartbeat is older does not work any more


def read_status(line: LineConfig, foreign: ForeignData | None = None) -> LineStatus:
    """The line's last stated ledger, workers and latencies. Raises MissingResource or StoreAway.

    What others wrote among them is passed over, and noted in `foreign`.
    """
    foreign = foreign or ForeignData(lambda text: None)
    keys, link = LineKeys(line.line), RedisLink(line.running_store())
    try:
        names = [keys.workers, *(keys.ledger(camera.id) for camera in line.cameras)]
        raw_workers, *raw_ledgers = read_hashes(link, names, foreign)
    finally:
        link.close()
    heartbeats = list(_heartbeats(raw_workers, keys.workers, foreign))
    ledgers = {
        camera.id: Ledger.from_hash_fields(counters_in(fields, keys.ledger(camera.id), foreign))
        for camera, fields in zip(line.cameras, raw_ledgers, strict=True)
    }
    run_id, elapsed_s = _newest_run(raw_ledgers)
    inspected = sum(ledger.inspected for ledger in ledgers.values())
    of_publish = [h for h in heartbeats if h.role == "publish"]
    engines = [h.engine for h in heartbeats if h.engine]
    return LineStatus(
        line=line.line,
        run_id=run_id,
        elapsed_s=elapsed_s,
        throughput_fps=inspected / elapsed_s if elapsed_s > 0 else 0.0,
        cameras=ledgers,
        reconnects=reconnects_by_camera(heartbeats),
        workers=[_row(h) for h in sorted(heartbeats, key=lambda h: (h.role, h.name))],
        latency_ms=total_latency(of_publish),
        alerts=total_counters(of_publish),
        engine=engines[-1] if engines else {},
    )


def _newest_run(ledgers: Sequence[Mapping[bytes, bytes]]) -> tuple[str, float]:
    """Id of the run that began last, and its age in seconds; "" and 0 where no camera speaks of a run."""
    begun: dict[str, float] = {}
    for fields in ledgers:
        run_id = fields.get(b"run_id", b"").decode(errors="replace")
        with contextlib.suppress(ValueError):
            begun[run_id] = started_at_s(run_id)
    run_id = max(begun, default="")
    return run_id, time.time() - begun[run_id] if begun else 0.0


def _heartbeats(fields: Mapping[bytes, bytes], where: str, foreign: ForeignData) -> Iterator[Heartbeat]:
    for name, value in fields.items():
        try:
            heartbeat = msgspec.json.decode(value, type=Heartbeat)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            foreign.note(where, name, f"no heartbeat: {error}")
            continue
        if heartbeat.name.encode() == name:
            yield heartbeat
        else:
            foreign.note(where, name, "a heartbeat of another worker")


def _row(heartbeat: Heartbeat) -> WorkerRow:
    silent_s = time.time() - heartbeat.at_ns / 1e9
    alive = silent_s < SILENT_AFTER_S
    return WorkerRow(
        name=heartbeat.name,
        role=heartbeat.role,
        pid=heartbeat.pid,
        state=heartbeat.state if alive else f"silent for {silent_s:.0f} s",
        device=heartbeat.device,
        restarts=heartbeat.restarts,
        detail=heartbeat.detail,
    )
