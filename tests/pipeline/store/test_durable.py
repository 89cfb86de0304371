from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from f2pnet.inspection.result import Verdict
from pipeline.store import DurableStore, Record, RedisStore, Spool, SpoolFull, Stored
from pipeline.store.durable import LAST_RETRY_S
from pipeline.store.embedded.server import EmbeddedRedis

MB = 1024 * 1024
MakeFrame = Callable[..., Record]
RESULTS, ALERTS = "f2p:{demo}:results", "f2p:{demo}:alerts"


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_the_longest_delay(self) -> None:
        self.now += LAST_RETRY_S * 1.3


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(server: EmbeddedRedis, tmp_path: Path, clock: Clock) -> Iterator[DurableStore]:
    durable = DurableStore(RedisStore(server.url, "demo"), Spool(tmp_path / "spool", MB), clock)
    yield durable
    durable.close()


@pytest.fixture
def paused(server: EmbeddedRedis) -> Iterator[Callable[[], None]]:
    """The server is stopped; the fixture's value lets it go on."""
    os.kill(server.pid, signal.SIGSTOP)

    def go_on() -> None:
        os.kill(server.pid, signal.SIGCONT)

    yield go_on
    go_on()


def seqs_in(reader: redis.Redis, stream: str) -> list[int]:
    return [int(fields["frame_id"].split("/")[-1]) for _, fields in reader.xrange(stream)]


def test_with_redis_there_nothing_touches_the_spool(store: DurableStore, reader: redis.Redis, frame: MakeFrame) -> None:
    store.write([frame(0), frame(1, Verdict.NG)])

    assert (store.verdicts.published, store.verdicts.spooled) == (2, 0)
    assert (store.alerts.published, store.alerts.spooled) == (1, 0)
    assert seqs_in(reader, RESULTS) == [0, 1]


def test_while_redis_is_paused_verdicts_are_spooled_and_only_the_first_write_waits(
    store: DurableStore, paused: Callable[[], None], frame: MakeFrame
) -> None:
    started = time.monotonic()
    store.write([frame(0)])
    first_s = time.monotonic() - started
    for seq in range(1, 50):
        store.write([frame(seq)])
    rest_s = time.monotonic() - started - first_s

    assert first_s < 3.0  # redis-py's own retries would take longer
    assert rest_s < 1.0  # 49 time-outs would be 15 s
    assert store.away
    assert store.verdicts.spooled == len(store.spool) == 50


def test_when_redis_is_back_the_spool_is_replayed_in_order_before_anything_new(
    store: DurableStore, reader: redis.Redis, paused: Callable[[], None], clock: Clock, frame: MakeFrame
) -> None:
    for seq in range(600):
        store.write([frame(seq, Verdict.NG)])
    paused()
    clock.pass_the_longest_delay()

    seq = 600
    while len(store.spool):
        store.write([frame(seq, Verdict.NG)])
        seq += 1
    store.write([frame(seq, Verdict.NG)])

    assert not store.away
    assert seqs_in(reader, RESULTS) == seqs_in(reader, ALERTS) == list(range(seq + 1))
    assert store.verdicts.replayed == store.verdicts.spooled
    assert store.verdicts.published == seq + 1


def test_an_idle_worker_replays_too(
    store: DurableStore, reader: redis.Redis, paused: Callable[[], None], clock: Clock, frame: MakeFrame
) -> None:
    store.write([frame(seq) for seq in range(10)])
    paused()

    assert store.replay_some() == 0  # not yet time to ask again
    clock.pass_the_longest_delay()
    assert store.replay_some(limit=4) == 4
    assert store.replay_some() == 6
    assert store.replay_some() == 0
    assert seqs_in(reader, RESULTS) == list(range(10))


def test_the_first_verdict_of_a_spooled_frame_stands(
    store: DurableStore, reader: redis.Redis, paused: Callable[[], None], clock: Clock, frame: MakeFrame
) -> None:
    store.write([frame(0, Verdict.NOT_INSPECTED, "deadline")])

    (late,) = store.write([frame(0, Verdict.OK)])
    paused()
    clock.pass_the_longest_delay()
    store.replay_some()

    assert late == Stored(Verdict.NOT_INSPECTED, "deadline", new=False)
    assert store.verdicts.doubles_suppressed == 1
    assert [fields["verdict"] for _, fields in reader.xrange(RESULTS)] == ["NOT_INSPECTED"]


def test_a_verdict_that_redis_had_before_it_went_away_still_stands(
    store: DurableStore, server: EmbeddedRedis, frame: MakeFrame
) -> None:
    store.write([frame(0, Verdict.NG)])
    server.stop()

    (late,) = store.write([frame(0, Verdict.OK)])

    assert late == Stored(Verdict.NG, None, new=False)
    assert len(store.spool) == 0


def test_a_new_worker_knows_the_verdicts_that_its_predecessor_spooled(
    server: EmbeddedRedis, tmp_path: Path, frame: MakeFrame
) -> None:
    url = server.url
    server.stop()
    first = DurableStore(RedisStore(url, "demo"), Spool(tmp_path / "spool", MB))
    first.write([frame(0, Verdict.NG)])
    first.close()

    second = DurableStore(RedisStore(server.url, "demo"), Spool(tmp_path / "spool", MB))

    assert second.write([frame(0, Verdict.OK)]) == [Stored(Verdict.NG, None, new=False)]
    assert len(second.spool) == 1
    second.close()


def test_replaying_what_redis_already_had_doubles_nothing(
    store: DurableStore,
    server: EmbeddedRedis,
    reader: redis.Redis,
    paused: Callable[[], None],
    clock: Clock,
    frame: MakeFrame,
) -> None:
    # The transaction was sent and carried out, but its answer came too late: the record went to the spool as well.
    store.spool.append([frame(0, Verdict.NG)])
    paused()
    RedisStore(server.url, "demo").write([frame(0, Verdict.NG)])

    store.replay_some()

    assert seqs_in(reader, ALERTS) == [0]
    assert (store.verdicts.replayed, store.verdicts.doubles_suppressed) == (1, 1)


def test_a_full_spool_is_told_and_a_retry_succeeds_once_redis_is_back(
    server: EmbeddedRedis,
    reader: redis.Redis,
    tmp_path: Path,
    paused: Callable[[], None],
    clock: Clock,
    frame: MakeFrame,
) -> None:
    store = DurableStore(RedisStore(server.url, "demo"), Spool(tmp_path / "small", 16 * 1024), clock)
    seq = 0
    while store.spool.bytes_used < 16 * 1024 - 300:
        store.write([frame(seq)])
        seq += 1
    with pytest.raises(SpoolFull):
        store.write([frame(seq + k) for k in range(10)])
    paused()
    clock.pass_the_longest_delay()

    (stored,) = store.write([frame(seq)])

    assert stored.new
    while store.replay_some():
        pass
    assert seqs_in(reader, RESULTS) == list(range(seq + 1))
    store.close()


def test_ledgers_and_heartbeats_wait_for_redis_without_costing_time(
    store: DurableStore, reader: redis.Redis, paused: Callable[[], None], clock: Clock
) -> None:
    assert not store.write_states({("cam1", "r"): {"captured": 1}}, {})
    started = time.monotonic()
    for _ in range(100):
        assert not store.write_states({}, {"publish-0": b"{}"})
    assert time.monotonic() - started < 0.5

    paused()
    clock.pass_the_longest_delay()

    assert store.write_states({("cam1", "r"): {"captured": 2}}, {})
    assert reader.hget("f2p:{demo}:ledger:cam1", "captured") == "2"
