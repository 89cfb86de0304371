"""Alerts of a line, for other programs: read each one, resume where you stopped, never miss one.

    from f2pnet import subscribe

    with subscribe("line3.yaml", group="reject-gate") as alerts:     # or "redis://127.0.0.1:6379", "line3"
        for alert in alerts:
            open_gate(alert.part_id)
            alert.ack()

With a group, alerts are shared among its consumers and delivered at least once: an alert is yours until `ack`, and when
that does not come within `reclaim_idle_ms` (a consumer died, or is too slow), it is delivered again, to whoever asks
next. Without a group, every subscriber sees every alert, from `since` or from now on.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from f2pnet.alerts.readers import GroupReader, Reader, TailReader
from f2pnet.alerts.stream import ALERT_VERDICTS, EntryFields, ForeignEntry, RawEntry, decode
from f2pnet.backoff import Backoff
from f2pnet.config.line import load_line
from f2pnet.errors import ConfigError, StoreAway, StoreRefused
from f2pnet.foreign import ForeignData
from f2pnet.inspection.result import InspectionResult
from f2pnet.redis.address import address_without_secrets
from f2pnet.redis.endpoint import EMBEDDED
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import DEFAULT_TIMEOUT_S, RedisLink
from f2pnet.text import printable

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0
_STREAM_ID = re.compile(r"\d+(-\d+)?")


@dataclass(frozen=True)
class Alert(EntryFields):
    """One frame that is not OK, or one fault."""

    _acknowledge: Callable[[str], None] = field(repr=False, compare=False)

    @property
    def result(self) -> InspectionResult:
        """`data` as a result."""
        return InspectionResult.from_json(self.data)

    def ack(self) -> None:
        """Done: do not deliver it to this group again. While Redis is away it is noted and sent later.

        Without a group it has no effect.
        """
        self._acknowledge(self.id)


class Subscription:
    """An iterator over alerts that survives restarts of Redis. Made by `subscribe`; for one reading thread."""

    def __init__(
        self, reader: Reader, links: list[RedisLink], stream: str, *, camera: str | None, block_ms: int
    ) -> None:
        self._reader = reader
        self._stream = stream
        self._foreign = ForeignData(lambda text: _log.error("%s", text))
        self._links = links
        self._camera = camera
        self._block_s = block_ms / 1000
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._waiting: deque[Alert] = deque()
        self._unsent_acks: list[str] = []
        self._away = False
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._acknowledging = threading.Lock()

    def read(self, timeout_s: float | None = None) -> Alert | None:
        """The next alert; None when none came within `timeout_s` seconds (None: no limit) or after `close`.

        Raises StoreRefused when Redis does not let us in; waits while it is away.
        """
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._closed.is_set():
            if self._waiting:
                return self._waiting.popleft()
            left_s = self._block_s if limit is None else limit - time.monotonic()
            with self._reading:
                self._fetch(min(self._block_s, max(left_s, 0.0)))
            if left_s <= 0 and not self._waiting:
                return None
        self._close_links()
        return None

    def iter(self, timeout_s: float | None = None) -> Iterator[Alert]:
        """Alerts until `close`, or until none came for `timeout_s` seconds."""
        while (alert := self.read(timeout_s)) is not None:
            yield alert

    def __iter__(self) -> Iterator[Alert]:
        return self.iter()

    def close(self) -> None:
        """End the subscription, from any thread or a signal handler; a `read` under way ends within `block_ms`."""
        self._closed.set()
        self._close_links()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, wait_s: float) -> None:
        try:
            self._send_noted_acks()
            entries = self._reader.read(int(wait_s * 1000))
        except StoreRefused:
            raise
        except StoreAway as error:
            if not self._away:
                _log.warning("alerts wait for the store: %s", error)
            self._away = True
            self._reader.lost_connection()
            self._closed.wait(min(self._backoff.next_delay(), wait_s))
            return
        self._away = False
        self._backoff.reset()
        for raw in entries:
            alert = self._alert(raw)
            if alert is not None and (self._camera is None or alert.camera_id == self._camera):
                self._waiting.append(alert)
            else:
                self._note_ack(raw[0].decode())

    def _alert(self, raw: RawEntry) -> Alert | None:
        """None for an entry that is not the line's: it must not stop the alerts behind it."""
        entry = decode(raw, ALERT_VERDICTS)
        if isinstance(entry, ForeignEntry):
            self._foreign.note(self._stream, entry.id, entry.why)
            return None
        shared = {each.name: getattr(entry, each.name) for each in fields(EntryFields)}
        return Alert(**shared, _acknowledge=self._acknowledge)

    def _acknowledge(self, name: str) -> None:
        self._note_ack(name)
        try:
            self._send_noted_acks()
        except StoreAway as error:
            _log.info("acknowledgement of %s waits for the store: %s", name, error)

    def _note_ack(self, name: str) -> None:
        with self._acknowledging:
            self._unsent_acks.append(name)

    def _send_noted_acks(self) -> None:
        with self._acknowledging:
            if self._unsent_acks:
                self._reader.acknowledge(self._unsent_acks)
                self._unsent_acks.clear()

    def _close_links(self) -> None:
        """Close what nobody is using: a read under way closes when it ends, and never may a signal handler wait."""
        if self._reading.acquire(blocking=False):
            try:
                if self._acknowledging.acquire(blocking=False):
                    self._acknowledging.release()
                    with contextlib.suppress(StoreAway):
                        self._send_noted_acks()
                    for link in self._links:
                        link.close()
            finally:
                self._reading.release()


def subscribe(
    url: str | Path,
    line: str | None = None,
    group: str | None = None,
    consumer: str | None = None,
    since: str | datetime | None = None,
    camera: str | None = None,
    block_ms: int = 1000,
    reclaim_idle_ms: int = 30_000,
    max_deliveries: int | None = None,
) -> Subscription:
    """Subscribe to the alerts of a line; a line that is stopped, or has no stream yet, is waited for.

    `url` is the line's file, such as "line3.yaml", which says where its Redis is, an embedded one too; or the address
    of a Redis server, and then `line` names the line.

    `group` shares the alerts among its consumers; a new group begins at `since`, or with the oldest alert kept.
    `consumer` names this one within the group and must stay the same over restarts (default: the host's name).
    Without a group reading begins behind `since`, or with the next new alert. `since` is the id of an alert, or a time:
    a datetime, or ISO 8601 such as 2026-11-24T06:00 (without a zone: this machine's). `camera` leaves out all others;
    within a group they count as acknowledged, so all its consumers should name the same one. `block_ms` limits each
    wait for the server. In a group, an alert that was delivered `max_deliveries` times and never acknowledged goes to
    the stream of dead letters instead of to the next consumer; None: it comes again for ever.

    Raises ConfigError for an invalid address, line file or `since`, MissingResource where there is no such file.
    Connects with the first read.
    """
    address, line = _store_of(url, line)
    begin = None if since is None else _stream_id(since)
    if max_deliveries is not None and (max_deliveries < 1 or group is None):
        raise ConfigError(f"max_deliveries is {max_deliveries}: wanted at least 1, and a group that shares the alerts")
    if consumer is not None and group is None:
        raise ConfigError(f"consumer is {consumer!r} without a group: name the group that it belongs to")
    if block_ms < 1 or reclaim_idle_ms < 1:
        raise ConfigError(f"block_ms is {block_ms}, reclaim_idle_ms is {reclaim_idle_ms}: wanted at least 1 of each")
    link = RedisLink(address, timeout_s=block_ms / 1000 + DEFAULT_TIMEOUT_S)
    stream = LineKeys(line).alerts
    if group is None:
        return Subscription(TailReader(link, stream, begin), [link], stream, camera=camera, block_ms=block_ms)
    acknowledging = RedisLink(address)  # an acknowledgement must not wait behind a blocking read
    reader = GroupReader(
        link,
        acknowledging,
        stream,
        group=group,
        consumer=consumer or socket.gethostname(),
        since=begin,
        reclaim_idle_ms=reclaim_idle_ms,
        line=line,
        max_deliveries=max_deliveries,
    )
    return Subscription(reader, [link, acknowledging], stream, camera=camera, block_ms=block_ms)


def _store_of(url: str | Path, line: str | None) -> tuple[str, str]:
    """Address of the store, and name of the line."""
    if isinstance(url, str) and ("://" in url or url.startswith(EMBEDDED)):
        if line is None:
            raise ConfigError(f"which line of {address_without_secrets(url)}? name it: subscribe(url, line=...)")
        return url, line
    config = load_line(Path(url))
    if line is not None and line != config.line:
        raise ConfigError(f"{printable(url)} is the file of line '{config.line}', not of '{printable(line)}'")
    return config.store_address, config.line


def _stream_id(since: str | datetime) -> str:
    """Where a stream is to be read from: an id, or the first one of a moment."""
    if isinstance(since, str):
        if _STREAM_ID.fullmatch(since):
            return since
        try:
            since = datetime.fromisoformat(since)
        except ValueError:
            raise ConfigError(
                f"since is {since!r}: wanted the id of an alert, such as 1732368000000-0, 0 for the oldest, or a time "
                "such as 2026-11-24T06:00"
            ) from None
    return str(max(0, int(since.timestamp() * 1000) - 1))  # behind the last one before that moment
