from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from f2pnet.errors import StoreAway
from f2pnet.redis.address import address_without_secrets
from f2pnet.redis.link import ErrorReply, RedisLink
from pipeline.processes.tethered import tethered
from pipeline.store.embedded.server import server_program


@pytest.fixture
def unix_server(tmp_path: Path) -> Iterator[str]:
    """Address of a server that listens on a Unix socket only."""
    path = tmp_path / "redis.sock"
    command = [server_program(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(tethered(command), stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < limit, "the server did not come up within 10 s"
        time.sleep(0.01)
    yield f"unix://{path}"
    server.terminate()
    server.wait(10)


def test_several_commands_are_answered_in_their_order(unix_server: str) -> None:
    link = RedisLink(unix_server)

    assert link.exchange(["SET", "k", b"\x00\r\n\xff"], ["GET", "k"], ["APPEND", "k", "é"], ["GET", "none"]) == [
        b"OK",
        b"\x00\r\n\xff",
        6,
        None,
    ]
    link.close()


def test_an_error_reply_names_its_code_and_leaves_the_link_usable(unix_server: str) -> None:
    link = RedisLink(unix_server)
    link.exchange(["SET", "k", "text"])

    with pytest.raises(ErrorReply) as caught:
        link.exchange(["INCR", "k"], ["GET", "k"])

    assert caught.value.code == "value"
    assert link.exchange(["GET", "k"]) == [b"text"]
    link.close()


def test_after_a_lost_answer_the_next_question_gets_its_own(unix_server: str) -> None:
    link = RedisLink(unix_server, timeout_s=0.2)
    with pytest.raises(StoreAway):
        link.exchange(["BLPOP", "nothing", 5], ["ECHO", "late"])

    assert link.exchange(["ECHO", "mine"]) == [b"mine"]
    link.close()


def test_an_interruption_does_not_leave_answers_behind(unix_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link = RedisLink(unix_server)
    link.exchange(["PING"])

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(link, "_reply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.exchange(["ECHO", "late"])

    assert link.exchange(["ECHO", "mine"]) == [b"mine"]
    link.close()


def test_a_server_that_sends_nonsense_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = RedisLink(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3)

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StoreAway):
            link.exchange(["PING"])
        thread.join(5)
        link.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hush@store:6379/2", "redis://store:6379/2"),
        ("rediss://user:hush@store:6379/0?password=hush", "rediss://store:6379/0"),
        ("redis://:a%40b@store:1", "redis://store:1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert address_without_secrets(url) == shown
    assert RedisLink(url).address == shown
