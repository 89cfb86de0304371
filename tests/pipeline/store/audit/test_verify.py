from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
import redis

from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from pipeline.store.audit.liveness import line_works
from pipeline.store.audit.verify import Verification, verify
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore

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


@pytest.fixture
def trimmed(server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame) -> redis.Redis:
    """3000 frames, of which retention left about 500 results and 100 alerts."""
    store = RedisStore(server.url, "demo", results_kept=500, alerts_kept=100)
    for start in range(0, 3000, 50):
        store.write(some(frame, *range(start, start + 50)))
    store.write_states({("cam1", RUN): {"captured": 3000, "ok": 2000, "ng": 1000, "in_flight": 0}}, {})
    store.close()
    return reader


def test_trimmed_streams_are_judged_by_what_is_left(trimmed: redis.Redis, check: Check) -> None:
    assert 500 <= trimmed.xlen(RESULTS) <= 500 + 50 + 16
    assert 100 <= trimmed.xlen(ALERTS) <= 100 + 50 + 16

    report = check()

    assert report.holds
    assert report.runs[0].verdicts == trimmed.xlen(RESULTS)
    assert report.runs[0].trimmed == 3000 - trimmed.xlen(RESULTS)
    assert report.alerts == trimmed.xlen(ALERTS)


@pytest.mark.parametrize("place", [0, 1, 250, -1])
def test_what_somebody_deletes_is_told_from_what_retention_took(trimmed: redis.Redis, check: Check, place: int) -> None:
    entries = trimmed.xrange(RESULTS)
    trimmed.xdel(RESULTS, entries[place][0])

    report = check()

    assert not report.holds
    assert report.runs[0].unexplained == 1


@pytest.mark.parametrize("place", [0, 1, 50, -1])
def test_an_alert_that_somebody_deletes_is_told_from_what_retention_took(
    trimmed: redis.Redis, check: Check, place: int
) -> None:
    entries = trimmed.xrange(ALERTS)
    trimmed.xdel(ALERTS, entries[place][0])

    report = check()

    assert len(report.alerts_missing) == 1


def test_an_in_flight_of_a_run_that_is_over_excuses_nothing(store: RedisStore, check: Check, frame: MakeFrame) -> None:
    store.write(some(frame, 0, 1, 2, 4))
    store.write_states({("cam1", RUN): {"captured": 5, "ok": 3, "ng": 1, "in_flight": 1}}, {})
    assert check(works=True).holds
    assert not check(works=False).holds

    store.write_states({("cam1", "later-run"): {"captured": 1, "ok": 0, "ng": 0, "in_flight": 1}}, {})
    runs = {run.run_id: run for run in check(works=True).runs}
    assert (runs[RUN].unexplained, runs[RUN].is_over) == (1, True)
    assert (runs["later-run"].unexplained, runs["later-run"].is_over) == (0, False)


def test_what_a_closed_ledger_keeps_as_in_flight_excuses_nothing(
    store: RedisStore, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store.write_states({("cam1", RUN): {"captured": 9, "ok": 4, "ng": 2, "in_flight": 3}}, {})
    reported = [frame(seq, Verdict.NOT_INSPECTED) for seq in (6, 7, 8)]
    store.write([*some(frame, *range(6)), *reported])
    closed = {"captured": 9, "ok": 4, "ng": 2, "in_flight": 0, "not_inspected:line_restarted": 3}
    store.write_states({("cam1", RUN): closed}, {}, {("cam1", RUN)})
    assert reader.hget(f"f2p:{{demo}}:ledger:cam1:{RUN}", "in_flight") == "3"
    assert check(works=True).holds

    entries = {fields["frame_id"]: entry_id for entry_id, fields in reader.xrange(RESULTS)}
    reader.xdel(RESULTS, entries[frame(1).frame_id], entries[frame(2).frame_id])

    report = check(works=True)
    assert (report.runs[0].unexplained, report.runs[0].missing_seqs) == (2, [1, 2])


def test_whether_a_line_works_is_seen_by_its_heartbeats_whatever_the_clocks_say(
    store: RedisStore, server: EmbeddedRedis
) -> None:
    link, keys = RedisLink(server.url), LineKeys("demo")
    assert not line_works(link, keys)
    store.write_states({}, {"publish": b'{"at_ns": 1}'})
    assert not line_works(link, keys)
    beats = threading.Timer(0.5, lambda: RedisStore(server.url, "demo").write_states({}, {"publish": b'{"at_ns": 2}'}))
    beats.start()
    assert line_works(link, keys)
    beats.join()
    link.close()


def test_a_verdict_that_somebody_exchanges_is_miscounted(
    store: RedisStore, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store.write(some(frame, *range(9)))
    store.write_states({("cam1", RUN): {"captured": 9, "ok": 6, "ng": 3, "in_flight": 0}}, {})
    assert check().holds
    for stream in (RESULTS, ALERTS):  # NG becomes OK, and its alert goes with it
        entries = reader.xrange(stream)
        reader.delete(stream)
        for entry_id, fields in entries:
            if fields["frame_id"] == frame(3).frame_id:
                if stream == ALERTS:
                    continue
                fields = fields | {"verdict": "OK", "data": fields["data"].replace("NG", "OK")}
            reader.xadd(stream, fields, id=entry_id)

    report = check()

    assert not report.holds
    assert report.runs[0].miscounted == "the ledger counts 6 OK and 3 others, the store 7 and 2"


def test_alerts_say_what_their_results_say_and_stand_in_their_order(
    store: RedisStore, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store.write(some(frame, *range(9)))
    entries = reader.xrange(ALERTS)
    changed = entries[1][1] | {"captured_at_ns": "17"}
    reader.delete(ALERTS)
    for fields in (entries[0][1], entries[2][1], changed):
        reader.xadd(ALERTS, fields)

    report = check()

    assert not report.holds
    assert report.alerts_changed == [frame(3).frame_id]
    assert report.alerts_out_of_order == [frame(3).frame_id]


FOREIGN: list[Mapping[str | bytes, str | bytes]] = [
    {"x": "y"},
    {"frame_id": "x", "verdict": "OK", "data": "{}"},
    {"frame_id": "a/b/1", "verdict": "MAYBE", "data": "{}"},
    {b"\xff": "1"},
    {"frame_id": b"\xff\xfe", "camera_id": "c", "part_id": "", "verdict": "NG", "captured_at_ns": "x", "data": b"\xff"},
]


def test_what_others_write_is_passed_over_and_told(
    store: RedisStore, server: EmbeddedRedis, check: Check, frame: MakeFrame
) -> None:
    store.write(some(frame, *range(9)))
    store.write_states({("cam1", RUN): {"captured": 9, "ok": 6, "ng": 3, "in_flight": 0}}, {})
    with redis.Redis.from_url(server.url, protocol=2) as other:
        for fields in FOREIGN:
            for stream in (RESULTS, ALERTS):
                other.xadd(stream, fields)
        other.hset("f2p:{demo}:ledger:a:b:c", "captured", 1)
        other.hset(b"f2p:{demo}:ledger:\xff:\xfe", "captured", 1)
        other.set("f2p:{demo}:ledger:cam9:run", "no hash")
        other.hset(f"f2p:{{demo}}:ledger:cam1:{RUN}", mapping={"ok\x1b[2J": "many", "ng2": "-1"})
        other.hset("f2p:{demo}:ledger:cam8:run", "captured", "many")
        other.set(f"f2p:{{demo}}:trimmed:cam1:{RUN}", "no hash")
        other.set("f2p:{demo}:trimmed", "no hash")

    report = check()

    assert report.holds
    assert len(report.foreign) == 2 * len(FOREIGN) + 9
    assert all(line.isprintable() for line in report.foreign)


def test_a_number_beyond_all_frames_is_a_gap_and_takes_no_time(
    store: RedisStore, reader: redis.Redis, check: Check, frame: MakeFrame
) -> None:
    store.write([frame(0), frame(2**52)])

    report = check()

    assert report.runs[0].unexplained == 2**52 - 1
    assert report.runs[0].missing_seqs == [1, 2, 3, 4, 5]


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
