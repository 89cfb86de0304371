from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from f2pnet.redis_link import RedisLink
from f2pnet.result import Verdict
from pipeline.store.embedded_redis import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore
from pipeline.store.verify import Verification, verify

MakeFrame = Callable[..., Record]
RUN = "0198c0de-run"
RESULTS, ALERTS = "f2p:{demo}:results", "f2p:{demo}:alerts"
Check = Callable[..., Verification]


@pytest.fixture
def store(server: EmbeddedRedis) -> RedisStore:
    return RedisStore(server.url, "demo")


@pytest.fixture
def check(server: EmbeddedRedis) -> Iterator[Check]:
    link = RedisLink(server.url)

    def run(spooled: tuple[Record, ...] = (), *, works: bool = True, chain: bool = False) -> Verification:
        return verify(link, "demo", spooled, chain=chain, works=lambda link, keys: works)

    yield run
    link.close()


def some(frame: MakeFrame, *seqs: int) -> list[Record]:
    """Frames of which every third is NG."""
    return [frame(seq, Verdict.OK if seq % 3 else Verdict.NG) for seq in seqs]


def test_complete_streams_hold(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, *range(2500)))
    store.write_states({("cam1", RUN): {"captured": 2500, "ok": 1666, "ng": 834, "in_flight": 0}}, {})

    report = check()

    assert report.holds
    assert (report.runs[0].verdicts, report.alerts) == (2500, 834)


def test_an_empty_store_holds(check: Check) -> None:
    assert check().holds


def test_verdicts_that_came_out_of_order_hold(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, 3, 1, 0, 2))

    assert check().holds


def test_a_frame_without_a_verdict_is_a_gap(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, 0, 1, 2, 4, 5))

    report = check()

    assert not report.holds
    assert (report.runs[0].unexplained, report.runs[0].missing_seqs) == (1, [3])


def test_dropped_and_held_frames_explain_as_many_gaps(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, 0, 1, 4, 6))
    store.write_states({("cam1", RUN): {"captured": 7, "dropped:overload": 2, "in_flight": 1}}, {})
    assert check().holds

    store.write_states({("cam1", RUN): {"captured": 7, "dropped:overload": 1, "in_flight": 1}}, {})
    assert check().runs[0].unexplained == 1


def test_settled_frames_missing_at_the_end_are_a_gap(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, 0, 1, 2))
    store.write_states({("cam1", RUN): {"captured": 6, "dropped:overload": 1, "in_flight": 1}}, {})

    assert check().runs[0].unexplained == 1


def test_what_waits_in_the_spool_is_not_missing(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, 0, 1))
    store.write_states({("cam1", RUN): {"captured": 4, "in_flight": 0}}, {})

    assert check(spooled=(frame(2), frame(3))).holds


def test_a_frame_with_two_entries_is_named(
    store: RedisStore, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store.write(some(frame, 0, 1))
    ((_, fields), *_) = reader.xrange(RESULTS)
    reader.xadd(RESULTS, fields)

    report = check()

    assert not report.holds
    assert report.runs[0].doubled == [frame(0).frame_id]


def test_a_missing_a_doubled_and_an_unfounded_alert_are_told_apart(
    store: RedisStore, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store.write(some(frame, 0, 3, 6, 1, 2, 4, 5))
    first, second, _ = reader.xrange(ALERTS)
    reader.xdel(ALERTS, first[0])
    reader.xadd(ALERTS, second[1])
    unfounded = {**second[1], "frame_id": frame(1).frame_id}
    reader.xadd(ALERTS, unfounded | {"data": second[1]["data"].replace("000003", "000001")})

    report = check()

    assert not report.holds
    assert report.alerts_missing == [frame(0).frame_id]
    assert report.alerts_doubled == [frame(3).frame_id]
    assert report.alerts_without_result == [frame(1).frame_id]


def test_a_fault_needs_no_result_but_is_told_once(
    store: RedisStore, reader: redis.Redis, check: Check, fault: Callable[[str], Record]
) -> None:
    store.write([fault("ev-1")])
    assert check().holds

    ((_, fields),) = reader.xrange(ALERTS)
    reader.xadd(ALERTS, fields)
    assert check().alerts_doubled == ["ev-1"]


def test_trimmed_streams_are_judged_by_what_is_left(
    server: EmbeddedRedis, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store = RedisStore(server.url, "demo", results_kept=500, alerts_kept=100)
    for start in range(0, 3000, 50):
        store.write(some(frame, *range(start, start + 50)))
    store.write_states({("cam1", RUN): {"captured": 3000, "in_flight": 0}}, {})
    assert reader.xlen(RESULTS) < 1000

    report = check()

    assert report.holds
    assert report.runs[0].verdicts == reader.xlen(RESULTS)
    assert report.alerts > 0


def test_runs_and_cameras_are_judged_by_themselves(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write([frame(seq, camera=camera) for seq in range(3) for camera in ("cam1", "cam2")])
    store.write_states({("cam1", RUN): {"captured": 3}}, {})
    store.write_states({("cam2", RUN): {"captured": 4}}, {})
    store.write_states({("cam2", "later-run"): {"captured": 0}}, {})

    report = check()

    assert [(run.camera_id, run.run_id, run.unexplained) for run in report.runs] == [
        ("cam1", RUN, 0),
        ("cam2", RUN, 1),
        ("cam2", "later-run", 0),
    ]
