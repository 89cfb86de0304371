"""Prometheus metrics of a snapshot. Counters of frames are the ledger's own, so both always say the same.

Names follow Prometheus: base units (seconds), `_total` for what only grows, a histogram for each stage of a frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipeline.monitor.snapshot import Snapshot, WorkerState
from pipeline.wire.messages import Heartbeat
from pipeline.workers.latency import LatencyHistogram

STAGES = ("total", "queued", "engine", "stored")
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STORE_COUNTERS = {
    "published": "Verdicts and faults written to the store",
    "spooled": "Verdicts and faults that waited on disk while the store was away",
    "replayed": "Verdicts and faults brought from the disk to the store",
    "doubles_suppressed": "Repeated verdicts of a frame, kept out of the store",
}
SINK_COUNTERS = {
    "delivered": "Alerts that a sink's receiver has",
    "retries": "Times an alert was offered in vain",
    "dead_letters": "Alerts that a receiver refused for good",
}


def exposition(snapshot: Snapshot) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Families(lambda: families(snapshot)))
    return generate_latest(registry)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric family of a line; those that need a ledger are empty for workers that have none."""
    yield _info(snapshot)
    yield from _frames(snapshot)
    yield from _workers(snapshot)
    yield from _store(snapshot)
    yield from _sinks(snapshot)
    yield from _cameras(snapshot)
    yield from _latency(snapshot)


class _Families(Collector):
    def __init__(self, make: Callable[[], Iterable[Metric]]) -> None:
        self._make = make

    def collect(self) -> Iterable[Metric]:
        return self._make()


def _info(snapshot: Snapshot) -> Metric:
    facts = {"line": snapshot.line, "run_id": snapshot.run_id or ""}
    engines = [heartbeat.engine for heartbeat in snapshot.heartbeats if heartbeat.engine]
    facts |= {f"engine_{key}": value for key, value in (engines[-1] if engines else {}).items()}
    return InfoMetricFamily("f2p_line", "The line, its run, and the engine that inspects", facts)


def _frames(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("line", "camera")
    captured = CounterMetricFamily("f2p_frames_captured", "Frames that a camera gave", labels=labels)
    inspected = CounterMetricFamily("f2p_frames_inspected", "Frames with a verdict", labels=(*labels, "verdict"))
    dropped = CounterMetricFamily("f2p_frames_dropped", "Frames dropped", labels=(*labels, "reason"))
    missed = CounterMetricFamily("f2p_frames_not_inspected", "Frames without inspection", labels=(*labels, "reason"))
    held = GaugeMetricFamily("f2p_frames_in_flight", "Frames between capture and durable verdict", labels=labels)
    balanced = GaugeMetricFamily("f2p_ledger_balanced", "1: every captured frame is accounted for", labels=labels)
    for camera, ledger in snapshot.ledgers.items():
        at = (snapshot.line, camera)
        captured.add_metric(at, ledger.captured)
        for verdict, count in (("OK", ledger.ok), ("NG", ledger.ng)):
            inspected.add_metric((*at, verdict), count)
        _by_reason(dropped, at, ledger.dropped)
        _by_reason(missed, at, ledger.not_inspected)
        held.add_metric(at, ledger.in_flight)
        balanced.add_metric(at, float(ledger.balanced))
    yield from (captured, inspected, dropped, missed, held, balanced)


def _by_reason(family: CounterMetricFamily, at: tuple[str, str], counts: dict[str, int]) -> None:
    for reason, count in counts.items():
        family.add_metric((*at, reason), count)


def _workers(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("line", "worker", "role")
    up = GaugeMetricFamily("f2p_worker_up", "1: the worker makes progress", labels=labels)
    ready = GaugeMetricFamily("f2p_worker_ready", "1: the worker does its work; 0: starts or waits", labels=labels)
    restarts = CounterMetricFamily("f2p_worker_restarts", "Replacements of the worker's process", labels=labels)
    for worker in snapshot.workers:
        at = (snapshot.line, worker.name, worker.role)
        up.add_metric(at, float(worker.makes_progress))
        ready.add_metric(at, float(is_ready(worker)))
        restarts.add_metric(at, worker.restarts)
    yield from (up, ready, restarts)


def is_ready(worker: WorkerState) -> bool:
    """Whether the worker does what it is there for, and not merely lives."""
    return worker.makes_progress and worker.state == "running"


def _store(snapshot: Snapshot) -> Iterator[Metric]:
    for name, text in STORE_COUNTERS.items():
        family = CounterMetricFamily(f"f2p_store_{name}", text, labels=("line",))
        of_publish = [heartbeat for heartbeat in snapshot.heartbeats if heartbeat.role == "publish"]
        family.add_metric((snapshot.line,), sum(heartbeat.counters.get(name, 0) for heartbeat in of_publish))
        yield family


def _sinks(snapshot: Snapshot) -> Iterator[Metric]:
    beats = sorted((h for h in snapshot.heartbeats if h.role == "sink"), key=lambda h: h.name)
    for name, text in SINK_COUNTERS.items():
        family = CounterMetricFamily(f"f2p_sink_{name}", text, labels=("line", "sink"))
        for sink, heartbeats in itertools.groupby(beats, key=lambda h: h.name.removeprefix("sink-")):
            family.add_metric((snapshot.line, sink), sum(h.counters.get(name, 0) for h in heartbeats))
        yield family


def _cameras(snapshot: Snapshot) -> Iterator[Metric]:
    family = CounterMetricFamily("f2p_camera_reconnects", "Times a camera was opened again", labels=("line", "camera"))
    for camera, heartbeats in itertools.groupby(
        sorted((h for h in snapshot.heartbeats if h.camera_id is not None), key=_camera_of), key=_camera_of
    ):
        family.add_metric((snapshot.line, camera), sum(h.counters.get("reconnects", 0) for h in heartbeats))
    yield family


def _camera_of(heartbeat: Heartbeat) -> str:
    return heartbeat.camera_id or ""


def _latency(snapshot: Snapshot) -> Iterator[Metric]:
    family = HistogramMetricFamily(
        "f2p_latency_seconds",
        "Time of a frame: total (capture to durable verdict), queued, engine, stored",
        labels=("line", "stage"),
    )
    for stage in STAGES:
        histogram = LatencyHistogram()
        for heartbeat in snapshot.heartbeats:
            if stage in heartbeat.latency:
                histogram.add(heartbeat.latency[stage])
        counts = histogram.at_most(bound * 1e3 for bound in LATENCY_BOUNDS_S)
        buckets = [(str(bound), count) for bound, count in zip(LATENCY_BOUNDS_S, counts, strict=True)]
        buckets.append(("+Inf", histogram.count))
        family.add_metric((snapshot.line, stage), buckets, histogram.sum_ms / 1e3)
    yield family
