"""Reading and writing a line's Redis from the threads of a web server: one connection for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Set
from typing import Any

import structlog

from f2pnet.alerts.stream import StreamEntry, decode, entries, order_of
from f2pnet.foreign import ForeignData, Report
from f2pnet.inspection.result import Verdict
from f2pnet.redis.link import Command, RedisLink

TIMEOUT_S = 2.0
_log = structlog.get_logger(__name__)


class Store:
    """For any thread. `address` is asked each time: an embedded server moves when its line is restarted.

    `report` gets a line of text for each piece of data that others wrote among the line's.
    """

    def __init__(
        self, address: Callable[[], str], report: Report = lambda text: _log.warning("foreign data", text=text)
    ) -> None:
        self.foreign = ForeignData(report)
        self._address = address
        self._mine = threading.local()

    def ask(self, *commands: Command) -> list[Any]:
        """The replies. Raises StoreAway or MissingResource."""
        url = self._address()
        if getattr(self._mine, "url", None) != url:
            self._mine.link, self._mine.url = RedisLink(url, timeout_s=TIMEOUT_S), url
        link: RedisLink = self._mine.link
        return link.exchange(*commands)

    def newest_first(
        self, stream: str, verdicts: Set[Verdict], *, first: str = "-", last: str = "+", page: int
    ) -> Iterator[StreamEntry]:
        """Entries between two ids, as far back as they are asked for."""
        for entry in entries(self.ask, stream, verdicts, first=first, last=last, newest_first=True, page=page):
            if isinstance(entry, StreamEntry):
                yield entry
            else:
                self.foreign.note(stream, entry.id, entry.why)


class StreamTail:
    """Reads on in a stream: every entry once, whoever looks and however often. For one thread at a time."""

    def __init__(self, store: Store, stream: str, verdicts: Set[Verdict], at_most: int) -> None:
        self._store = store
        self._stream = stream
        self._verdicts = verdicts
        self._at_most = at_most
        self._seen = "-"

    def news(self) -> list[StreamEntry]:
        """What came since the last call, oldest first; of much, the newest `at_most`. Raises StoreAway."""
        (raw,) = self._store.ask(["XREVRANGE", self._stream, "+", self._seen, "COUNT", self._at_most])
        if raw:
            self._seen = f"({raw[0][0].decode()}"
        found: list[StreamEntry] = []
        for one in reversed(raw):
            entry = decode(one, self._verdicts)
            if isinstance(entry, StreamEntry):
                found.append(entry)
            else:
                self._store.foreign.note(self._stream, entry.id, entry.why)
        return found


def is_stream_id(text: str) -> bool:
    """Whether Redis takes it for the id of an entry."""
    try:
        return text.isascii() and all(0 <= part < 2**64 for part in order_of(text))
    except ValueError:
        return False
