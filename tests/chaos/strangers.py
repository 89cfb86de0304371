"""Programs that are not the line's: they write into its Redis, and crowd its ports."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis

from f2pnet.errors import MissingResource

MARK = "foreign"
"""A field of every foreign entry, by which the audit knows it; the line does not."""
CROWD = 120
ANSWER_S = 60.0
_WORDS = (b"", b"\xff\x00", b"GET / HTT", b"POST /login HTTP/1.1\r\nContent-Length: 300000000\r\n\r\n" + b"a" * 100_000)


def foreign_entries(chance: random.Random) -> list[dict[Any, Any]]:
    """Some entries that no line wrote."""
    whole = {"frame_id": "a/b/1", "camera_id": "a", "part_id": "", "verdict": "NG", "captured_at_ns": "1"}
    kinds: list[dict[Any, Any]] = [
        {},
        {b"\xff\xfe": b"\xff"},
        whole | {"verdict": "MAYBE", "data": "{}"},
        whole | {"data": b"\xff\x00"},
        whole | {"data": "[" * 10_000},
        whole | {"frame_id": b"\xff\xfe", "data": "{}"},
        whole | {"data": '{"frame_id": "parts1/x/1", "verdict": "OK"}', "captured_at_ns": "9" * 40},
        whole | {"frame_id": "\x1b]0;owned\x07\n", "data": '{"verdict": "FAULT"}'},
    ]
    return [entry | {MARK: "1"} for entry in chance.sample(kinds, 3)]


def write_foreign_data(url: str, line: str, chance: random.Random) -> None:
    """Entries, groups, hashes and keys among the line's own, as another program of the plant might leave them."""
    keys = f"f2p:{{{line}}}:"
    with redis.Redis.from_url(url, protocol=2, socket_timeout=5) as other:
        for entry in foreign_entries(chance):
            for stream in ("results", "alerts"):
                other.xadd(keys + stream, entry)
        group = os.urandom(6)
        with contextlib.suppress(redis.ResponseError):
            other.xgroup_create(keys + "alerts", group, "$")
            other.xreadgroup(group, os.urandom(3), {keys + "alerts": ">"}, count=1)
        other.hset(keys + "workers", mapping={os.urandom(4): os.urandom(20), b"x": b'{"name": "y"}'})
        other.hset(keys + "reviews", mapping={os.urandom(4): os.urandom(20)})
        other.hset(f"{keys}ledger:a:b:{chance.randrange(9)}", "captured", 1)
        other.hset(f"{keys}ledger:parts1", mapping={os.urandom(4): os.urandom(4)})


@contextlib.contextmanager
def crowd(ports: list[int], chance: random.Random) -> Iterator[None]:
    """Many silent, slow and loud connections to each port, for a moment and for as long as the caller stays."""
    with contextlib.ExitStack() as held:
        for port in ports:
            for _ in range(CROWD):
                with contextlib.suppress(OSError):
                    one = held.enter_context(socket.create_connection(("127.0.0.1", port), 2))
                    one.settimeout(1)
                    one.sendall(chance.choice(_WORDS))
        yield
        time.sleep(chance.uniform(0.5, 1.5))


def answers(port: int, path: str) -> bool:
    """Whether a server has an answer for somebody else, beside strangers that are there."""
    until_s = time.monotonic() + ANSWER_S
    while time.monotonic() < until_s:
        with (
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection,
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", path)
            return connection.getresponse().status in (200, 503)
        time.sleep(0.2)
    return False


def with_store(address: Callable[[], str], act: Callable[[str], None]) -> bool:
    """Do something in the line's store; False where that is away just now."""
    try:
        act(address())
    except (MissingResource, redis.RedisError):
        return False
    return True
