"""Reading and writing a line's Redis from the threads of a web server: one connection for each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from f2pnet.redis_link import Command, RedisLink

TIMEOUT_S = 2.0

Entries = list[tuple[str, dict[str, bytes]]]


class Store:
    """For any thread. `address` is asked each time: an embedded server moves when its line is restarted."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address
        self._mine = threading.local()

    def ask(self, *commands: Command) -> list[Any]:
        """The replies. Raises StoreAway or MissingResource."""
        url = self._address()
        if getattr(self._mine, "url", None) != url:
            self._mine.link, self._mine.url = RedisLink(url, timeout_s=TIMEOUT_S), url
        link: RedisLink = self._mine.link
        return link.exchange(*commands)

    def entries(self, command: Command) -> Entries:
        """Of a command that answers with entries of one stream."""
        (reply,) = self.ask(command)
        return [(name.decode(), pairs(flat)) for name, flat in reply]


class StreamTail:
    """Reads on in a stream: every entry once, whoever looks and however often. For one thread at a time."""

    def __init__(self, store: Store, stream: str, at_most: int) -> None:
        self._store = store
        self._stream = stream
        self._at_most = at_most
        self._seen = "-"

    def news(self) -> Entries:
        """What came since the last call, oldest first; of much, the newest `at_most`. Raises StoreAway."""
        entries = self._store.entries(["XREVRANGE", self._stream, "+", self._seen, "COUNT", self._at_most])
        if entries:
            self._seen = f"({entries[0][0]}"
        return entries[::-1]


def pairs(flat: list[bytes]) -> dict[str, bytes]:
    """Fields of an entry or a hash."""
    return {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
