"""One name, one line, on a real Redis: who is refused, who may start at once, and what a running line does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import redis
import yaml

from f2pnet.errors import ExitCode
from pipeline.processes.holder import Holder
from pipeline.store import line_lease
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.line_lease import LineLease, LineTaken, held_line
from tests.pipeline.console.browser import await_that

KEY = "f2p:{demo}:holder"
StartWorker = Callable[[str, str], subprocess.Popen[str]]
OTHER_HOST = Holder(host="press-2", boot_id="another", pid_namespace="x", pid=7, start_ticks=1, since="2026-11-26")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_lease, "LEASE_MS", 1_000)
    monkeypatch.setattr(line_lease, "RENEW_S", 0.2)
    monkeypatch.setattr(line_lease, "LOOK_S", 0.1)


def holder_in(client: redis.Redis) -> Holder | None:
    return Holder.from_json(client.get(KEY) or b"")  # type: ignore[arg-type] # not an awaitable


@pytest.mark.usefixtures("short_lease")
def test_a_lease_is_held_while_the_line_runs_and_given_back(server: EmbeddedRedis, client: redis.Redis) -> None:
    with held_line(server.url, "demo"):
        time.sleep(1.5)  # longer than a lease that is not renewed
        holder = holder_in(client)
        assert holder is not None
        assert (holder.pid, holder.is_gone) == (os.getpid(), False)
    assert client.get(KEY) is None


def test_a_second_line_on_this_host_is_refused_at_once_and_told_who_is_there(server: EmbeddedRedis) -> None:
    hold = "import sys; from pipeline.store.line_lease import held_line; cm = held_line(sys.argv[1], 'demo');"
    hold += "cm.__enter__(); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        began_s = time.monotonic()
        with pytest.raises(LineTaken, match=rf"line 'demo' runs already .*pid {first.pid}, since 20"):
            LineLease(server.url, "demo").take()
        assert time.monotonic() - began_s < 1.0
        with held_line(server.url, "another"):
            first.send_signal(signal.SIGKILL)
        first.wait(10)
        began_s = time.monotonic()
        with held_line(server.url, "demo"):  # a killed line may start again at once
            assert time.monotonic() - began_s < 1.0
    assert LineTaken.exit_code == ExitCode.USAGE


@pytest.mark.usefixtures("short_lease")
def test_a_line_of_another_host_that_died_is_waited_for(server: EmbeddedRedis, client: redis.Redis) -> None:
    client.set(KEY, OTHER_HOST.to_json(), px=800)
    with held_line(server.url, "demo"):
        holder = holder_in(client)
        assert holder is not None
        assert holder.pid == os.getpid()


@pytest.mark.usefixtures("short_lease")
def test_a_line_of_another_host_that_renews_its_lease_is_not_touched(
    server: EmbeddedRedis, client: redis.Redis
) -> None:
    renew = "import sys, time, redis; c = redis.Redis.from_url(sys.argv[1])\n"
    renew += "while True: c.set(sys.argv[2], sys.argv[3], px=1000); time.sleep(0.2)"
    with subprocess.Popen([sys.executable, "-c", renew, server.url, KEY, OTHER_HOST.to_json().decode()]) as other:
        while client.get(KEY) is None:
            time.sleep(0.02)
        with pytest.raises(LineTaken, match="host press-2, pid 7"):
            LineLease(server.url, "demo").take()
        other.kill()
    assert holder_in(client) in (OTHER_HOST, None)


@pytest.mark.usefixtures("short_lease")
def test_a_running_line_outlives_its_redis_and_takes_its_lease_again(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis").start()
    with held_line(server.url, "demo") as lease:
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(1.5)
        server.revive()
        client = redis.Redis.from_url(server.url)
        client.delete(KEY)
        until_s = time.monotonic() + 10
        while holder_in(client) is None:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert lease is not None
        assert lease.conflict is None
    server.stop()


@pytest.mark.usefixtures("short_lease")
def test_two_running_lines_are_told_of_each_other(server: EmbeddedRedis, client: redis.Redis) -> None:
    with held_line(server.url, "demo") as lease:
        assert lease is not None
        until_s = time.monotonic() + 10
        while lease.conflict is None:
            client.set(KEY, OTHER_HOST.to_json(), px=5_000)
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert "press-2" in lease.conflict
    assert holder_in(client) == OTHER_HOST  # what is another's is not given back


def test_foreign_bytes_under_the_key_are_no_holder(server: EmbeddedRedis, client: redis.Redis) -> None:
    client.set(KEY, b"\xff\x00 not ours")
    with held_line(server.url, "demo"):
        assert holder_in(client) is not None


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    me = Holder.of_parent()
    later = msgspec.structs.replace(me, start_ticks=me.start_ticks + 1)
    elsewhere = msgspec.structs.replace(me, pid_namespace="pid:[1]")
    assert (me.is_gone, later.is_gone, elsewhere.is_gone, OTHER_HOST.is_gone) == (False, True, None, None)
    assert me.is_same_process(Holder.from_json(me.to_json()) or OTHER_HOST)
    assert not me.is_same_process(later)
    assert Holder.from_json(b"[]") is None


def test_a_key_of_that_name_that_holds_something_else_keeps_no_line_from_running(
    server: EmbeddedRedis, client: redis.Redis
) -> None:
    client.lpush(KEY, "of another program")
    with held_line(server.url, "demo") as lease:
        assert lease is None
    assert client.lrange(KEY, 0, -1) == [b"of another program"]
    client.delete(KEY)
    client.set(KEY, b"\xff\xfe{")
    with held_line(server.url, "demo"):
        assert holder_in(client) is not None


@pytest.fixture
def publish_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts `f2p worker publish` alone, as systemd or a container does, in a folder of that name, on the Redis."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, url: str) -> subprocess.Popen[str]:
        folder = tmp_path / name
        folder.mkdir()
        content = {
            "line": "demo",
            "engine": {"bundle": "engine", "backend": "null"},
            "cameras": [{"id": "cam1", "source": {"kind": "folder", "path": "parts"}}],
            "publish": {"redis": url, "spool": {"dir": "spool"}},
        }
        (folder / "line.yaml").write_text(yaml.safe_dump(content))
        command = [sys.executable, "-m", "f2pnet.cli", "worker", "publish", str(folder / "line.yaml"), "--name", name]
        environment = {**os.environ, "XDG_RUNTIME_DIR": f"/tmp/f2p-{name}-{os.getpid()}"}  # noqa: S108
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.communicate(timeout=10)


def test_a_publish_worker_of_its_own_holds_the_name_too(
    server: EmbeddedRedis, client: redis.Redis, publish_worker: StartWorker
) -> None:
    first = publish_worker("one", server.url)
    holder = await_that(lambda: holder_in(client))
    assert holder is not None
    assert (holder.pid, holder.is_gone) == (first.pid, False)
    second = publish_worker("two", server.url)
    _, said = second.communicate(timeout=30)
    assert second.returncode == ExitCode.USAGE
    assert "line 'demo' runs already on the Redis" in said
    assert f"pid {first.pid}" in said
    first.terminate()
    assert first.wait(30) == 0
    assert client.get(KEY) is None


def test_a_publish_worker_begins_while_the_store_is_away_and_holds_the_name_when_it_is_back(
    tmp_path: Path, publish_worker: StartWorker
) -> None:
    server = EmbeddedRedis(tmp_path / "redis").start()
    os.kill(server.pid, signal.SIGKILL)
    worker = publish_worker("one", server.url)
    await_that(lambda: (tmp_path / "one/spool").exists())
    server.revive()
    client = redis.Redis.from_url(server.url)
    holder = await_that(lambda: holder_in(client))
    assert holder is not None
    assert holder.pid == worker.pid
    worker.terminate()
    assert worker.wait(30) == 0
    server.stop()
