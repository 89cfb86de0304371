"""Metrics say what the snapshot says; health means it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipeline.frames.ledger import Ledger
from pipeline.monitor.health import alive, ready
from pipeline.monitor.metrics import LATENCY_BOUNDS_S, exposition
from pipeline.monitor.server import MonitorServer
from pipeline.monitor.snapshot import Snapshot, WorkerState
from pipeline.wire.messages import Heartbeat
from pipeline.workers.latency import LatencyHistogram
from tests.pipeline.monitor.reading import fetch, value

TOKEN = "a token that is long enough"

LEDGER = Ledger(captured=100, ok=80, ng=7, dropped={"overload": 5}, not_inspected={"deadline": 6}, in_flight=2)
DURATIONS_MS = np.random.default_rng(3).lognormal(3, 1, 400)


def heartbeat(name: str, role: str, **fields: object) -> Heartbeat:
    return Heartbeat(name=name, role=role, pid=1, state="running", at_ns=0, progress=1, **fields)  # type: ignore[arg-type]


def snapshot(**fields: object) -> Snapshot:
    histogram = LatencyHistogram()
    for duration in DURATIONS_MS:
        histogram.record(float(duration))
    beats = [
        heartbeat(
            "publish", "publish", counters={"published": 90, "spooled": 4}, latency={"total": histogram.counts()}
        ),
        heartbeat("publish", "publish", counters={"published": 3}),  # the process after a restart
        heartbeat("ingest-cam1", "ingest", camera_id="cam1", counters={"reconnects": 2}),
        heartbeat("infer-0", "infer", device="cpu", engine={"name": "nano"}),
    ]
    workers = [WorkerState(b.name, b.role, b.state, makes_progress=True, device=b.device) for b in beats[1:]]
    return replace(Snapshot("steel", "run-1", workers, beats, {"cam1": LEDGER}), **fields)  # type: ignore[arg-type]


def test_counters_of_frames_are_the_ledger_s() -> None:
    text = exposition(snapshot()).decode()
    assert value(text, "f2p_frames_captured_total", camera="cam1") == 100
    assert value(text, "f2p_frames_inspected_total", camera="cam1", verdict="NG") == 7
    assert value(text, "f2p_frames_dropped_total", camera="cam1", reason="overload") == 5
    assert value(text, "f2p_frames_not_inspected_total", camera="cam1", reason="deadline") == 6
    assert value(text, "f2p_frames_in_flight", camera="cam1") == 2
    assert value(text, "f2p_ledger_balanced", camera="cam1") == 1


def test_counters_of_a_worker_go_on_over_its_restart() -> None:
    text = exposition(snapshot()).decode()
    assert value(text, "f2p_store_published_total") == 93
    assert value(text, "f2p_camera_reconnects_total", camera="cam1") == 2


def test_the_latency_histogram_counts_seconds() -> None:
    text = exposition(snapshot()).decode()
    assert value(text, "f2p_latency_seconds_count", stage="total") == len(DURATIONS_MS)
    assert value(text, "f2p_latency_seconds_sum", stage="total") == pytest.approx(DURATIONS_MS.sum() / 1e3)
    for bound in LATENCY_BOUNDS_S:
        found = value(text, "f2p_latency_seconds_bucket", stage="total", le=str(bound))
        # A bucket of the histogram is 2 % wide, and one that a bound cuts is counted above it.
        assert (bound * 1e3 / 1.02 >= DURATIONS_MS).sum() <= found <= (bound * 1e3 >= DURATIONS_MS).sum()


def test_a_line_whose_workers_all_work_is_alive_and_ready() -> None:
    assert alive(snapshot()).ok
    assert ready(snapshot()).ok


@pytest.mark.parametrize(
    ("worker", "is_alive", "text"),
    [
        (WorkerState("infer-0", "infer", "running", makes_progress=False, device="cpu"), False, "makes no progress"),
        (WorkerState("publish", "publish", "waiting", True, detail="store away"), True, "waiting: store away"),
        (WorkerState("infer-0", "infer", "starting", makes_progress=True), True, "starting"),
        (WorkerState("infer-0", "infer", "running", makes_progress=True), True, "its engine has not run yet"),
    ],
)
def test_a_worker_that_does_not_work_is_named(worker: WorkerState, is_alive: bool, text: str) -> None:
    state = snapshot(workers=[worker])
    assert alive(state).ok is is_alive
    (problem,) = ready(state).problems
    assert text in problem
    assert worker.name in problem


def test_a_ledger_that_does_not_balance_is_not_ready() -> None:
    wrong = Ledger(captured=100, ok=98)
    (problem,) = ready(snapshot(ledgers={"cam1": wrong})).problems
    assert "100 captured, 98 accounted for" in problem


@pytest.fixture
def server() -> Iterator[str]:
    worker = WorkerState("publish", "publish", "waiting", True, detail="store away")
    with MonitorServer("127.0.0.1", 0, lambda: snapshot(workers=[worker]), TOKEN) as running:
        yield f"http://127.0.0.1:{running.port}"


def test_metrics_want_the_token_and_health_does_not(server: str) -> None:
    assert fetch(f"{server}/metrics")[0] == 401
    assert fetch(f"{server}/metrics", "a wrong one")[0] == 401
    assert fetch(f"{server}/metrics", TOKEN)[0] == 200
    assert fetch(f"{server}/healthz") == (200, '{"ok": true, "problems": []}\n')


def test_details_of_health_are_for_those_with_the_token(server: str) -> None:
    status, body = fetch(f"{server}/readyz")
    assert (status, "store away" in body) == (503, False)
    status, body = fetch(f"{server}/readyz", TOKEN)
    assert (status, "store away" in body) == (503, True)


def test_anything_else_is_not_found(server: str) -> None:
    assert fetch(f"{server}/admin")[0] == 404
