"""Counters and latencies of a worker over its restarts."""

from __future__ import annotations

from pipeline.wire.messages import Heartbeat, LatencyCounts
from pipeline.workers.heartbeats import added_up


def beat(pid: int, counters: dict[str, int], latency: dict[str, LatencyCounts]) -> Heartbeat:
    return Heartbeat(
        name="publish",
        role="publish",
        pid=pid,
        state="running",
        at_ns=pid,
        progress=1,
        counters=counters,
        latency=latency,
    )


def test_the_state_is_the_last_one_s_and_the_counts_are_of_all() -> None:
    first = beat(1, {"published": 3, "spooled": 1}, {"total": LatencyCounts([(2, 3)], 9.0, 10.0)})
    second = beat(2, {"published": 4}, {"total": LatencyCounts([(2, 1), (5, 1)], 4.0, 6.0)})
    third = beat(3, {"replayed": 2}, {})
    past = added_up(added_up(added_up(None, first), second), third)
    assert (past.pid, past.at_ns) == (3, 3)
    assert past.counters == {"published": 7, "spooled": 1, "replayed": 2}
    assert past.latency == {"total": LatencyCounts([(2, 4), (5, 1)], 9.0, 16.0)}
