from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
import redis

from f2pnet.errors import ConfigError, StoreAway, StoreRefused
from f2pnet.inspection.result import Verdict
from pipeline.frames.ledger import NotInspectedReason
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record, Stored
from pipeline.store.redis_store import RedisStore

MakeFrame = Callable[..., Record]
RESULTS, ALERTS = "f2p:{demo}:results", "f2p:{demo}:alerts"


@pytest.fixture
def store(server: EmbeddedRedis) -> RedisStore:
    return RedisStore(server.url, "demo")


def frame_ids(reader: redis.Redis, stream: str) -> list[str]:
    return [fields["frame_id"] for _, fields in reader.xrange(stream)]


def test_a_verdict_becomes_one_entry_with_the_contracts_fields(
    store: RedisStore, reader: redis.Redis, frame: MakeFrame
) -> None:
    record = frame(42, Verdict.NG)

    store.write([record])

    ((_, fields),) = reader.xrange(RESULTS)
    assert fields == {
        "frame_id": record.frame_id,
        "camera_id": "cam1",
        "part_id": "",
        "verdict": "NG",
        "captured_at_ns": str(record.captured_at_ns),
        "data": record.data.decode(),
    }


def test_alerts_hold_ng_and_not_inspected_but_no_ok(store: RedisStore, reader: redis.Redis, frame: MakeFrame) -> None:
    store.write([frame(0), frame(1, Verdict.NG), frame(2, Verdict.NOT_INSPECTED, "deadline"), frame(3)])

    assert [fields["verdict"] for _, fields in reader.xrange(ALERTS)] == ["NG", "NOT_INSPECTED"]
    assert len(frame_ids(reader, RESULTS)) == 4


def test_the_first_verdict_of_a_frame_stands(store: RedisStore, reader: redis.Redis, frame: MakeFrame) -> None:
    store.write([frame(7, Verdict.NOT_INSPECTED, "deadline")])

    (stored,) = store.write([frame(7, Verdict.OK)])

    assert stored == Stored(Verdict.NOT_INSPECTED, "deadline", new=False)
    assert len(frame_ids(reader, RESULTS)) == 1


def test_a_frame_twice_in_one_batch_is_stored_once(store: RedisStore, reader: redis.Redis, frame: MakeFrame) -> None:
    stored = store.write([frame(1, Verdict.NG), frame(1, Verdict.OK)])

    assert [(s.verdict, s.new) for s in stored] == [(Verdict.NG, True), (Verdict.NG, False)]
    assert len(frame_ids(reader, RESULTS)) == 1


def test_every_reason_of_a_not_inspected_frame_is_remembered(store: RedisStore, frame: MakeFrame) -> None:
    store.write([frame(seq, Verdict.NOT_INSPECTED, reason) for seq, reason in enumerate(NotInspectedReason)])

    stored = store.write([frame(seq, Verdict.NG) for seq, _ in enumerate(NotInspectedReason)])

    assert [s.reason for s in stored] == [*NotInspectedReason], "give a new reason its number in redis_store._CODES"
    assert {s.verdict for s in stored} == {Verdict.NOT_INSPECTED}


def test_frames_far_apart_and_of_several_cameras_do_not_touch_one_another(
    store: RedisStore, reader: redis.Redis, frame: MakeFrame
) -> None:
    seqs = [0, 65_535, 65_536, 65_537, 10_000_000]
    batch = [frame(seq, camera=camera) for seq in seqs for camera in ("cam1", "cam2")]

    assert all(stored.new for stored in store.write(batch))
    assert not any(stored.new for stored in store.write(batch))
    assert len(frame_ids(reader, RESULTS)) == len(batch)


def test_a_fault_is_an_alert_once_and_no_result(
    store: RedisStore, reader: redis.Redis, fault: Callable[[str], Record]
) -> None:
    first, again = store.write([fault("ev-1")])[0], store.write([fault("ev-1")])[0]

    assert (first.new, again.new) == (True, False)
    assert frame_ids(reader, ALERTS) == ["ev-1"]
    assert frame_ids(reader, RESULTS) == []


def test_streams_are_trimmed_to_about_the_configured_length(
    server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame
) -> None:
    store = RedisStore(server.url, "demo", results_kept=200)

    for start in range(0, 2000, 100):
        store.write([frame(seq) for seq in range(start, start + 100)])

    assert 200 <= reader.xlen(RESULTS) <= 400


def test_marks_of_known_frames_expire_after_a_week(store: RedisStore, reader: redis.Redis, frame: MakeFrame) -> None:
    store.write([frame(1)])

    (key,) = reader.scan_iter("f2p:{demo}:seen:*")
    assert 604_000 < reader.ttl(key) <= 604_800


def test_two_writers_racing_for_the_same_frames_store_each_once(
    server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame
) -> None:
    news: Counter[int] = Counter()
    batches = [range(start, start + 5) for start in range(0, 500, 5)]

    def write_all(verdict: Verdict) -> None:
        store = RedisStore(server.url, "demo", timeout_s=5)
        for batch in batches:
            answers = store.write([frame(seq, verdict) for seq in batch])
            news.update(seq for seq, stored in zip(batch, answers, strict=True) if stored.new)

    writers = [threading.Thread(target=write_all, args=(verdict,)) for verdict in (Verdict.OK, Verdict.NG)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert news == Counter(range(500))
    assert Counter(frame_ids(reader, RESULTS)) == Counter(frame(seq).frame_id for seq in range(500))
    ng = {fields["frame_id"] for _, fields in reader.xrange(RESULTS) if fields["verdict"] == "NG"}
    assert sorted(frame_ids(reader, ALERTS)) == sorted(ng)


def test_a_server_killed_while_writing_loses_and_doubles_nothing(server: EmbeddedRedis, frame: MakeFrame) -> None:
    store = RedisStore(server.url, "demo", timeout_s=2)
    kills = 5
    up = threading.Event()
    up.set()

    def assassin() -> None:
        for _ in range(kills):
            time.sleep(0.15)
            assert up.wait(20)
            up.clear()
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGKILL)

    killer = threading.Thread(target=assassin)
    killer.start()
    answered, revivals, seq = 0, 0, 0
    while killer.is_alive() or seq < 200:
        batch = [frame(seq + k, Verdict.NG) for k in range(10)]
        while True:
            try:
                answered += len(store.write(batch))
                break
            except StoreAway:
                time.sleep(0.01)
                with contextlib.suppress(StoreAway):
                    if server.revive():
                        revivals += 1
                        up.set()
        seq += 10
    killer.join(5)
    server.revive()

    assert revivals >= kills - 1
    with redis.Redis.from_url(server.url, decode_responses=True, protocol=2) as reader:
        for stream in (RESULTS, ALERTS):
            assert frame_ids(reader, stream) == [frame(k).frame_id for k in range(answered)]


def test_a_paused_server_is_away_within_the_time_out(
    server: EmbeddedRedis, store: RedisStore, frame: MakeFrame
) -> None:
    store.write([frame(0)])
    os.kill(server.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(StoreAway):
            store.write([frame(1)])
        assert time.monotonic() - started < 1.0
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_an_address_where_nothing_listens_is_away_at_once(frame: MakeFrame) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = RedisStore(f"redis://:hush@127.0.0.1:{unused.getsockname()[1]}/0", "demo")
        started = time.monotonic()
        with pytest.raises(StoreAway, match=r"redis://127\.0\.0\.1:\d+/0 does not serve") as caught:
            store.write([frame(0)])

    assert time.monotonic() - started < 1.0
    assert "hush" not in str(caught.value)


def test_an_address_that_accepts_and_never_answers_is_away_within_the_time_out(frame: MakeFrame) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(4)
        store = RedisStore(f"redis://127.0.0.1:{mute.getsockname()[1]}/0", "demo")
        started = time.monotonic()
        with pytest.raises(StoreAway):
            store.write([frame(0)])
        assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("login", ["", ":wrong-one@", "nobody:wrong-one@"])
def test_a_refused_login_says_where_the_password_goes_and_does_not_show_it(
    server: EmbeddedRedis, frame: MakeFrame, login: str
) -> None:
    store = RedisStore(server.url.replace(server.url.split("//")[1].split("@")[0] + "@", login), "demo")

    with pytest.raises(StoreRefused, match="redis://:PASSWORD@host:port") as caught:
        store.write([frame(0)])
    assert "wrong-one" not in str(caught.value)


def test_a_stream_key_taken_by_something_else_is_named_before_anything_is_written(
    store: RedisStore, reader: redis.Redis, frame: MakeFrame
) -> None:
    reader.set(ALERTS, "not a stream")

    with pytest.raises(StoreAway, match="is a string, not a stream"):
        store.write([frame(0, Verdict.NG)])

    reader.delete(ALERTS)
    assert store.write([frame(0, Verdict.NG)])[0].new


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "redis://a:1,redis://b:1", "redis://127.0.0.1:notaport", "redis://h:1/0?no_such=1"]
)
def test_an_address_that_cannot_be_one_is_a_configuration_error(url: str, frame: MakeFrame) -> None:
    with pytest.raises(ConfigError):
        RedisStore(url, "demo").write([frame(0)])


def test_a_ledger_is_stated_for_everyone_and_kept_for_its_run(store: RedisStore, reader: redis.Redis) -> None:
    store.write_states({("cam1", "run-a"): {"captured": 5, "dropped:overload": 2}}, {})
    store.write_states({("cam1", "run-b"): {"captured": 1}}, {})

    assert reader.hgetall("f2p:{demo}:ledger:cam1:run-a") == {
        "run_id": "run-a",
        "captured": "5",
        "dropped:overload": "2",
    }
    assert reader.hgetall("f2p:{demo}:ledger:cam1") == {"run_id": "run-b", "captured": "1"}  # nothing of run-a


def test_the_closed_ledger_of_an_ended_run_does_not_stand_for_the_present_one(
    store: RedisStore, reader: redis.Redis
) -> None:
    store.write_states({("cam1", "run-b"): {"captured": 1, "in_flight": 1}}, {})
    ended = {("cam1", "run-a"): {"captured": 5, "not_inspected:line_restarted": 5}}
    store.write_states(ended, {}, ended.keys())

    assert reader.hgetall("f2p:{demo}:ledger:cam1") == {"run_id": "run-b", "captured": "1", "in_flight": "1"}
    assert reader.hgetall("f2p:{demo}:ledger:cam1:run-a")["not_inspected:line_restarted"] == "5"


def test_the_ledger_of_an_ended_run_is_closed_when_none_is_held_and_keeps_what_was_in_flight(
    store: RedisStore, reader: redis.Redis
) -> None:
    key, kept = ("cam1", "run-a"), "f2p:{demo}:ledger:cam1:run-a"
    store.write_states({key: {"captured": 9, "ok": 5, "in_flight": 4}}, {})
    store.write_states({key: {"captured": 9, "ok": 5, "not_inspected:line_restarted": 1, "in_flight": 3}}, {}, {key})
    assert reader.hgetall(kept).items() >= {("in_flight", "4"), ("not_inspected:line_restarted", "1")}
    assert "closed" not in reader.hgetall(kept)

    store.write_states({key: {"captured": 9, "ok": 5, "not_inspected:line_restarted": 4, "in_flight": 0}}, {}, {key})
    assert reader.hgetall(kept).items() >= {("in_flight", "4"), ("closed", "1"), ("not_inspected:line_restarted", "4")}


def test_a_heartbeat_stands_under_the_workers_name(store: RedisStore, reader: redis.Redis) -> None:
    store.write_states({}, {"infer-0": b'{"pid":1}'})

    assert reader.hgetall("f2p:{demo}:workers") == {"infer-0": '{"pid":1}'}
