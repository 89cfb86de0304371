"""State of a running line, and the summary file of a finished one (docs/contract.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from f2pnet.inspection.result import InspectionResult
from f2pnet.text import printable
from pipeline.frames.ledger import Ledger
from pipeline.wire.messages import Heartbeat
from pipeline.workers.latency import LatencyHistogram

STAGES = ("total", "queued", "engine", "stored")
ALERT_COUNTERS = ("published", "spooled", "replayed", "doubles_suppressed")


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One worker as `f2p status` and the summary show it."""

    name: str
    """Unique within the line."""
    role: str
    """ingest, infer, publish, sink or console."""
    pid: int | None
    """On its own host."""
    state: str
    """What it does now."""
    device: str | None
    """Where its engine runs."""
    restarts: int
    """How often it was replaced."""
    detail: str | None = None
    """Why it waits or fails."""


class LineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a line is doing at one moment."""

    line: str
    run_id: str
    elapsed_s: float
    throughput_fps: float
    cameras: dict[str, Ledger]
    reconnects: dict[str, int]
    workers: list[WorkerRow]
    latency_ms: dict[str, dict[str, float | None]]
    alerts: dict[str, int]
    engine: dict[str, str]

    @property
    def verdicts(self) -> int:
        return sum(ledger.inspected + sum(ledger.not_inspected.values()) for ledger in self.cameras.values())

    @property
    def balanced(self) -> bool:
        return all(ledger.balanced for ledger in self.cameras.values())

    def summary(self, truth: dict[str, Any] | None = None) -> dict[str, Any]:
        """The summary file (docs/contract.md) as plain values."""
        return {
            "line": self.line,
            "run_id": self.run_id,
            "duration_s": round(self.elapsed_s, 3),
            "throughput_fps": round(self.throughput_fps, 2),
            "cameras": {
                camera_id: {
                    "captured": ledger.captured,
                    "inspected": ledger.inspected,
                    "ok": ledger.ok,
                    "ng": ledger.ng,
                    "dropped": ledger.dropped,
                    "not_inspected": ledger.not_inspected,
                    "in_flight": ledger.in_flight,
                    "reconnects": self.reconnects.get(camera_id, 0),
                }
                for camera_id, ledger in self.cameras.items()
            },
            "latency_ms": self.latency_ms,
            "alerts": {name: self.alerts.get(name, 0) for name in ALERT_COUNTERS},
            "workers": [msgspec.to_builtins(worker) for worker in self.workers],
            "engine": self.engine,
            "truth": truth,
        }


def file_of(result: InspectionResult) -> str:
    """The file (and frame of it) that a result is about; empty where it came from a camera."""
    source = result.source_ref
    if source is None:
        return ""
    return printable(source.file if source.frame is None else f"{source.file} frame {source.frame}")


def shown_frame(result: InspectionResult) -> str:
    """What people know a frame by: its file, else its id."""
    return file_of(result) or printable(result.frame_id or "")


def reconnects_by_camera(heartbeats: Iterable[Heartbeat]) -> dict[str, int]:
    """How often each camera was opened again, over all processes of its worker."""
    total: Counter[str] = Counter()
    for heartbeat in heartbeats:
        if heartbeat.camera_id is not None:
            total[heartbeat.camera_id] += heartbeat.counters.get("reconnects", 0)
    return dict(total)


def total_counters(heartbeats: Iterable[Heartbeat]) -> dict[str, int]:
    """Counters summed over processes: those of a worker before and after a restart add up."""
    total: Counter[str] = Counter()
    for heartbeat in heartbeats:
        total.update(heartbeat.counters)
    return dict(total)


def total_latency(heartbeats: Iterable[Heartbeat]) -> dict[str, dict[str, float | None]]:
    """Percentiles over all that the heartbeats' processes measured."""
    histograms = {stage: LatencyHistogram() for stage in STAGES}
    for heartbeat in heartbeats:
        for stage, counts in heartbeat.latency.items():
            histograms[stage].add(counts)
    return {stage: histogram.summary() for stage, histogram in histograms.items()}
