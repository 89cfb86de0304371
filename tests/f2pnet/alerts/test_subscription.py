"""Subscribers against a real Redis server, filled by the line's own writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from f2pnet import subscribe
from f2pnet.errors import ConfigError, MissingResource, StoreRefused
from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore

REPOSITORY = Path(__file__).resolve().parents[3]
STREAM = "f2p:{demo}:alerts"
LIMIT_S = 5.0  # any wait of these tests
Raise = Callable[..., None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def raise_alerts(server: EmbeddedRedis) -> Raise:
    """Stores an NG for each of the given frames."""

    def write(*seqs: int, camera: str = "cam1") -> None:
        records = []
        for seq in seqs:
            result = InspectionResult(frame_id=f"{camera}/r/{seq:06d}", camera_id=camera, seq=seq, verdict=Verdict.NG)
            records.append(
                Record(
                    frame_id=f"{camera}/r/{seq:06d}",
                    camera_id=camera,
                    run_id="r",
                    seq=seq,
                    verdict=Verdict.NG,
                    part_id="P7",
                    captured_at_ns=99,
                    data=result.to_json(),
                )
            )
        store = RedisStore(server.url, "demo", timeout_s=LIMIT_S)
        store.write(records)
        store.close()

    return write


def seqs(alerts: object) -> list[int]:
    return [int(alert.frame_id.split("/")[-1]) for alert in alerts]  # type: ignore[attr-defined]


def pending(server: EmbeddedRedis, group: str) -> int:
    with redis.Redis.from_url(server.url, protocol=2) as client:
        return int(client.xpending(STREAM, group)["pending"])


def revive(server: EmbeddedRedis) -> None:
    limit = time.monotonic() + LIMIT_S
    while not server.revive():
        assert time.monotonic() < limit, "the killed server was not revived in time"
        time.sleep(0.01)


def test_an_alert_carries_the_fields_and_the_result(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(3)

    with subscribe(server.url, "demo", since="0") as subscription:
        alert = subscription.read(LIMIT_S)

    assert alert is not None
    assert (alert.frame_id, alert.camera_id, alert.part_id) == ("cam1/r/000003", "cam1", "P7")
    assert (alert.verdict, alert.captured_at_ns) == (Verdict.NG, 99)
    assert alert.result.seq == 3


def test_without_a_group_reading_begins_with_the_next_new_alert(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(0, 1)
    with subscribe(server.url, "demo", block_ms=50) as subscription:
        assert subscription.read(0.05) is None

        raise_alerts(2, 3)

        assert seqs(subscription.iter(0.2)) == [2, 3]


def test_since_resumes_behind_the_alert_named(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(*range(100))
    with subscribe(server.url, "demo", since="0") as subscription:
        half = [alert for alert, _ in zip(subscription.iter(0.2), range(50), strict=False)]

    with subscribe(server.url, "demo", since=half[-1].id) as subscription:
        rest = list(subscription.iter(0.2))

    assert seqs(half) + seqs(rest) == list(range(100))


def test_a_stream_that_does_not_exist_yet_is_waited_for(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    with (
        subscribe(server.url, "demo", block_ms=50) as alone,
        subscribe(server.url, "demo", group="g", block_ms=50) as grouped,
    ):
        assert alone.read(0.05) is None
        assert grouped.read(0.05) is None

        raise_alerts(5)

        assert seqs(alone.iter(0.2)) == seqs(grouped.iter(0.2)) == [5]


def test_a_restarted_consumer_gets_what_it_had_not_acknowledged_first(
    server: EmbeddedRedis, raise_alerts: Raise
) -> None:
    raise_alerts(0, 1, 2)
    with subscribe(server.url, "demo", group="g", consumer="c") as subscription:
        first = subscription.read(LIMIT_S)
        assert first is not None
        first.ack()
        subscription.read(LIMIT_S)
    raise_alerts(3)

    with subscribe(server.url, "demo", group="g", consumer="c") as subscription:
        assert seqs(subscription.iter(0.2)) == [1, 2, 3]


def test_consumers_of_a_group_share_the_alerts(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(*range(100))
    taken: list[list[int]] = [[], []]

    with (
        subscribe(server.url, "demo", group="g", consumer="a") as a,
        subscribe(server.url, "demo", group="g", consumer="b") as b,
    ):
        while sum(map(len, taken)) < 100:
            for own, subscription in zip(taken, (a, b), strict=True):
                alert = subscription.read(0.05)
                if alert is not None:
                    own += seqs([alert])
                    alert.ack()

    assert sorted(taken[0] + taken[1]) == list(range(100))
    assert all(taken)
    assert pending(server, "g") == 0


def test_an_alert_that_nobody_can_finish_becomes_a_dead_letter(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(1, 2, 3)
    options = {"group": "gate", "since": "0", "block_ms": 50, "reclaim_idle_ms": 100, "max_deliveries": 3}
    seen: list[int] = []
    until = time.monotonic() + LIMIT_S
    while not seen or pending(server, "gate"):
        assert time.monotonic() < until, seen
        consumer = "same" if len(seen) % 2 else f"new-{len(seen)}"
        with subscribe(server.url, "demo", consumer=consumer, **options) as alerts:
            for alert in alerts.iter(timeout_s=0.3):
                (number,) = seqs([alert])
                seen.append(number)
                if number != 2:  # whoever gets this one dies of it
                    alert.ack()
    assert sorted(seen) == [1, 2, 2, 2, 3]
    with redis.Redis.from_url(server.url, protocol=2) as client:
        ((_, letter),) = client.xrange("f2p:{demo}:dead-letters")
    assert (letter[b"frame_id"], letter[b"sink"], letter[b"tries"]) == (b"cam1/r/000002", b"gate", b"3")
    assert b"never acknowledged" in letter[b"reason"]


@pytest.mark.parametrize("form", ["datetime", "text"])
def test_reading_may_begin_at_a_time(server: EmbeddedRedis, raise_alerts: Raise, form: str) -> None:
    raise_alerts(1, 2)
    time.sleep(0.05)
    moment = datetime.now(UTC)
    raise_alerts(3, 4)
    since = moment if form == "datetime" else moment.isoformat()
    with subscribe(server.url, "demo", since=since, block_ms=50) as alerts:
        assert seqs(alerts.iter(timeout_s=0.5)) == [3, 4]


def test_what_a_killed_consumer_left_is_delivered_to_another(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(0, 1, 2)
    program = (
        "import sys, time\n"
        "from f2pnet import subscribe\n"
        "subscription = subscribe(sys.argv[1], 'demo', group='g', consumer='doomed')\n"
        "subscription.read(5).ack()\n"
        "print(subscription.read(5).frame_id, flush=True)\n"
        "time.sleep(60)\n"
    )
    doomed = subprocess.Popen([sys.executable, "-c", program, server.url], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert doomed.stdout is not None
    with doomed.stdout:
        assert doomed.stdout.readline() == b"cam1/r/000001\n"
    doomed.send_signal(signal.SIGKILL)
    doomed.wait(LIMIT_S)

    with subscribe(server.url, "demo", group="g", consumer="heir", reclaim_idle_ms=200, block_ms=50) as subscription:
        inherited = []
        for alert in subscription.iter(1.0):
            inherited.append(alert)
            alert.ack()

    assert seqs(inherited) == [1, 2]
    assert pending(server, "g") == 0


def test_a_restart_of_redis_loses_no_alert_and_no_acknowledgement(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(0, 1)
    with subscribe(server.url, "demo", group="g", block_ms=50) as subscription:
        first, second = subscription.read(LIMIT_S), subscription.read(LIMIT_S)
        assert first is not None
        assert second is not None
        first.ack()
        os.kill(server.pid, signal.SIGKILL)
        second.ack()
        assert subscription.read(0.3) is None

        revive(server)
        raise_alerts(2)
        rest = list(subscription.iter(0.8))

    assert seqs(rest) == [2]
    assert pending(server, "g") == 1  # the last one, which nobody acknowledged


def test_an_alert_whose_delivery_broke_off_comes_again_after_the_reconnection(
    server: EmbeddedRedis, raise_alerts: Raise
) -> None:
    raise_alerts(0)
    with subscribe(server.url, "demo", group="g", consumer="c", block_ms=50) as subscription:
        in_hand = subscription.read(LIMIT_S)
        raise_alerts(1)
        with redis.Redis.from_url(server.url, protocol=2) as client:  # the delivery that never arrives
            assert client.xreadgroup("g", "c", {STREAM: ">"})
        os.kill(server.pid, signal.SIGKILL)
        revive(server)

        rest = list(subscription.iter(0.8))

    assert in_hand is not None
    assert seqs(rest) == [1]


def test_a_deleted_stream_is_no_end(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(0)
    with subscribe(server.url, "demo", group="g", block_ms=50) as subscription:
        assert seqs(subscription.iter(0.2)) == [0]
        with redis.Redis.from_url(server.url) as client:
            client.delete(STREAM)
        raise_alerts(1)

        assert seqs(subscription.iter(0.5)) == [1]


@pytest.mark.parametrize("consumer", ["the-same", "another"])
def test_an_unfinished_alert_that_was_trimmed_away_is_let_go(
    server: EmbeddedRedis, raise_alerts: Raise, consumer: str
) -> None:
    raise_alerts(0, 1)
    with subscribe(server.url, "demo", group="g", consumer="the-same") as subscription:
        subscription.read(LIMIT_S)
    with redis.Redis.from_url(server.url) as client:
        client.xtrim(STREAM, maxlen=1, approximate=False)

    time.sleep(0.15)
    with subscribe(server.url, "demo", group="g", consumer=consumer, reclaim_idle_ms=100) as subscription:
        rest = []
        for alert in subscription.iter(0.3):
            rest.append(alert)
            alert.ack()

    assert seqs(rest) == [1]
    assert pending(server, "g") == 0


def test_other_cameras_are_left_out_and_count_as_acknowledged(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    raise_alerts(0, 1, camera="cam1")
    raise_alerts(2, 3, camera="cam2")

    with subscribe(server.url, "demo", group="g", camera="cam2") as subscription:
        wanted = []
        for alert in subscription.iter(0.2):
            wanted.append(alert)
            alert.ack()

    assert seqs(wanted) == [2, 3]
    assert pending(server, "g") == 0


def test_an_entry_that_is_no_alert_does_not_stop_those_behind_it(server: EmbeddedRedis, raise_alerts: Raise) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.xadd(STREAM, {"hello": "world"})
    raise_alerts(1)

    with subscribe(server.url, "demo", since="0") as subscription:
        assert seqs(subscription.iter(0.2)) == [1]


def test_reading_ends_in_time_while_redis_is_away(server: EmbeddedRedis) -> None:
    server.stop()

    with subscribe(server.url, "demo") as subscription:
        started = time.monotonic()
        assert subscription.read(0.4) is None
        assert time.monotonic() - started < 1.5


def test_close_from_another_thread_ends_the_iteration(server: EmbeddedRedis) -> None:
    subscription = subscribe(server.url, "demo", block_ms=100)
    closer = threading.Timer(0.3, subscription.close)
    closer.start()
    started = time.monotonic()

    assert list(subscription) == []

    assert time.monotonic() - started < 2.0
    closer.join(LIMIT_S)


def test_a_wrong_password_is_told_instead_of_waited_for(server: EmbeddedRedis) -> None:
    with (
        subscribe(server.url.replace("redis://:", "redis://:x"), "demo") as subscription,
        pytest.raises(StoreRefused, match="refuses the login"),
    ):
        subscription.read(LIMIT_S)


@pytest.mark.parametrize(
    "options", [{"since": "yesterday"}, {"consumer": "c"}, {"block_ms": 0}, {"group": "g", "reclaim_idle_ms": 0}]
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        subscribe("redis://127.0.0.1", "demo", **options)  # type: ignore[arg-type]


def line_file_at(folder: Path, redis_address: str = "embedded") -> Path:
    path = folder / "line3.yaml"
    path.write_text(
        "line: demo\nengine: {bundle: engine/}\ncameras: [{id: cam1, source: {kind: folder, path: images/}}]\n"
        f"publish: {{redis: '{redis_address}', spool: {{dir: spool/}}}}\n"
    )
    return path


def store_ng(url: str, seq: int) -> None:
    result = InspectionResult(frame_id=f"cam1/r/{seq:06d}", camera_id="cam1", seq=seq, verdict=Verdict.NG)
    store = RedisStore(url, "demo", timeout_s=LIMIT_S)
    known = {"frame_id": f"cam1/r/{seq:06d}", "camera_id": "cam1", "run_id": "r", "seq": seq, "captured_at_ns": 1}
    store.write([Record(verdict=Verdict.NG, data=result.to_json(), **known)])
    store.close()


def test_a_line_file_leads_to_the_line_s_redis(server: EmbeddedRedis, raise_alerts: Raise, tmp_path: Path) -> None:
    raise_alerts(1)

    for url in (line_file_at(tmp_path, server.url), str(line_file_at(tmp_path, server.url))):
        with subscribe(url, since="0") as alerts:
            assert (found := alerts.read(LIMIT_S)) is not None
            assert found.frame_id == "cam1/r/000001"


def test_a_line_file_leads_to_an_embedded_redis_over_restarts_of_the_line(tmp_path: Path) -> None:
    path = line_file_at(tmp_path)
    data = tmp_path / "spool" / "embedded-redis"

    with subscribe(path, group="gate", consumer="one", block_ms=200) as alerts:  # before the line runs
        assert alerts.read(0.3) is None
        for seq in (1, 2):
            with EmbeddedRedis(data) as embedded:  # another port and password each time
                store_ng(embedded.url, seq)
                found = alerts.read(3 * LIMIT_S)
                assert found is not None
                assert found.frame_id == f"cam1/r/{seq:06d}"
                found.ack()


def test_a_line_file_and_another_line_s_name_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file of line 'demo'"):
        subscribe(line_file_at(tmp_path), line="line4")
    with pytest.raises(ConfigError, match=r"which line of redis://127\.0\.0\.1:1"):
        subscribe("redis://:secret@127.0.0.1:1")
    with pytest.raises(MissingResource, match="no configuration file"):
        subscribe("nowhere.yaml")
