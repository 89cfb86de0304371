"""An unfinished transaction at the end of the append-only file never reaches the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from f2pnet.errors import StoreAway
from f2pnet.inspection.result import Verdict
from pipeline.store.embedded.append_only_file import intact_bytes, mend_append_only_files
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore

RESULTS = "f2p:{demo}:results"


def command(*words: str) -> bytes:
    """A command as Redis writes it to the file."""
    parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()


WHOLE = command("SELECT", "0") + command("MULTI") + command("SET", "a", "1") + command("EXEC")
BEGUN = command("MULTI") + command("SET", "b", "2") + command("SET", "c", "3")


@pytest.mark.parametrize("length", range(len(BEGUN) + 1))
def test_wherever_a_transaction_was_cut_all_of_it_goes(length: int) -> None:
    assert intact_bytes(WHOLE + BEGUN[:length]) == len(WHOLE)


def test_a_whole_transaction_stays() -> None:
    assert intact_bytes(WHOLE + BEGUN + command("EXEC")) == len(WHOLE + BEGUN + command("EXEC"))


def test_a_cut_command_outside_of_a_transaction_goes_alone() -> None:
    kept = WHOLE + command("HSET", "ledger", "captured", "5")
    assert intact_bytes(kept + command("HSET", "ledger", "captured", "6")[:-3]) == len(kept)


def test_a_file_without_transactions_is_read_from_its_start() -> None:
    assert intact_bytes(command("SET", "a", "1") + b"*3\r\n$3\r\nSE") == len(command("SET", "a", "1"))


def test_a_value_that_looks_like_the_end_of_a_transaction_deceives_nobody() -> None:
    liar = command("SET", "a", "*1\r\n$4\r\nEXEC\r\n and more")
    assert intact_bytes(WHOLE + liar + BEGUN) == len(WHOLE + liar)


def test_what_is_no_append_only_file_is_left_alone() -> None:
    assert intact_bytes(b"REDIS0009 something else") == len(b"REDIS0009 something else")


def test_files_of_both_layouts_are_mended(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    old, new = tmp_path / "appendonly.aof", tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
    for file in (old, new):
        file.write_bytes(WHOLE + BEGUN)
    assert mend_append_only_files(tmp_path) == 2 * len(BEGUN)
    assert old.read_bytes() == new.read_bytes() == WHOLE


def test_without_files_there_is_nothing_to_mend(tmp_path: Path) -> None:
    assert mend_append_only_files(tmp_path) == 0


def test_a_server_killed_in_the_middle_of_a_command_of_a_transaction_loses_and_doubles_nothing(
    each_server: EmbeddedRedis, frame: Callable[..., Record]
) -> None:
    server = each_server
    store = RedisStore(server.url, "demo", timeout_s=5)
    store.write([frame(seq, Verdict.NG) for seq in range(3)])
    os.kill(server.pid, signal.SIGKILL)
    files = [*server.data_dir.glob("appendonly.aof"), *server.data_dir.glob("appendonlydir/*.incr.aof")]
    entry = command("XADD", RESULTS, "MAXLEN", "=", "4", "99999999999999-0", "frame_id", "cam1/torn/000003")
    with files[-1].open("ab") as file:
        file.write(command("MULTI") + entry + entry[:-20])
    for seq in (3, 4):  # the harm came with the second start
        _await_end(server)
        assert server.revive()
        RedisStore(server.url, "demo", timeout_s=5).write([frame(seq, Verdict.NG)])
        os.kill(server.pid, signal.SIGKILL)
    _await_end(server)
    server.revive()
    with redis.Redis.from_url(server.url, decode_responses=True, protocol=2) as reader:
        ids = [fields["frame_id"] for _, fields in reader.xrange(RESULTS)]
    assert ids == [frame(seq).frame_id for seq in range(5)]


def test_a_file_damaged_in_its_middle_is_left_whole_and_refused(
    each_server: EmbeddedRedis, frame: Callable[..., Record]
) -> None:
    server = each_server
    store = RedisStore(server.url, "demo", timeout_s=5)
    for seq in range(20):
        store.write([frame(seq)])
    os.kill(server.pid, signal.SIGKILL)
    _await_end(server)
    (file,) = server.data_dir.glob("appendonlydir/*.incr.aof")
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(b"*1\r\n$5\r\nMULTI", len(damaged) // 2)] = ord("?")
    file.write_bytes(damaged)

    with pytest.raises(StoreAway, match="Bad file format"):
        server.revive()

    assert file.read_bytes() == damaged


def _await_end(server: EmbeddedRedis) -> None:
    assert server._process is not None
    server._process.wait(timeout=10)
