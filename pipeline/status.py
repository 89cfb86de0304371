"""What a running line says of itself in its store, for `f2p status` on any host that reaches the store."""

from __future__ import annotations

import time

import msgspec

from f2pnet.config import LineConfig
from f2pnet.redis_endpoint import find_embedded
from f2pnet.redis_keys import LineKeys
from f2pnet.redis_link import RedisLink
from pipeline.frames.ledger import Ledger
from pipeline.summary import LineStatus, WorkerRow, reconnects_by_camera, total_counters, total_latency
from pipeline.wire.messages import Heartbeat
from pipeline.wire.run_id import started_at_s

SILENT_AFTER_S = 5.0  # a worker whose last heartbeat is older does not work any more


def store_url(line: LineConfig) -> str:
    """Address of the line's store. Raises MissingResource when it is an embedded one that does not run."""
    return find_embedded(line.publish.embedded_redis_dir) if line.publish.redis == "embedded" else line.publish.redis


def read_status(line: LineConfig) -> LineStatus:
    """The line's last stated ledger, workers and latencies. Raises MissingResource or StoreAway."""
    keys, link = LineKeys(line.line), RedisLink(store_url(line))
    try:
        raw_workers, *raw_ledgers = link.exchange(
            ["HGETALL", keys.workers], *(["HGETALL", keys.ledger(camera.id)] for camera in line.cameras)
        )
    finally:
        link.close()
    heartbeats = [msgspec.json.decode(value, type=Heartbeat) for value in _pairs(raw_workers).values()]
    ledgers = {camera.id: _ledger(_pairs(raw)) for camera, raw in zip(line.cameras, raw_ledgers, strict=True)}
    run_id = max(_pairs(raw).get("run_id", b"").decode() for raw in raw_ledgers)
    elapsed_s = time.time() - started_at_s(run_id) if run_id else 0.0
    inspected = sum(ledger.inspected for ledger in ledgers.values())
    of_publish = [h for h in heartbeats if h.role == "publish"]
    engines = [h.engine for h in heartbeats if h.engine]
    return LineStatus(
        line=line.line,
        run_id=run_id,
        elapsed_s=elapsed_s,
        throughput_fps=inspected / elapsed_s if elapsed_s else 0.0,
        cameras=ledgers,
        reconnects=reconnects_by_camera(heartbeats),
        workers=[_row(h) for h in sorted(heartbeats, key=lambda h: (h.role, h.name))],
        latency_ms=total_latency(of_publish),
        alerts=total_counters(of_publish),
        engine=engines[-1] if engines else {},
    )


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


def _ledger(fields: dict[str, bytes]) -> Ledger:
    counts = {name: int(value) for name, value in fields.items() if name != "run_id"}
    return Ledger(
        captured=counts.get("captured", 0),
        ok=counts.get("ok", 0),
        ng=counts.get("ng", 0),
        in_flight=counts.get("in_flight", 0),
        dropped=_of_kind("dropped", counts),
        not_inspected=_of_kind("not_inspected", counts),
    )


def _of_kind(kind: str, counts: dict[str, int]) -> dict[str, int]:
    return {name.partition(":")[2]: count for name, count in counts.items() if name.startswith(f"{kind}:")}


def _pairs(reply: list[bytes]) -> dict[str, bytes]:
    """HGETALL as a dictionary."""
    return {key.decode(): value for key, value in zip(reply[::2], reply[1::2], strict=True)}
