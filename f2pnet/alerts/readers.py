"""Reading a stream of alerts: as one of a group, which shares and acknowledges them, or alone from some place on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from f2pnet.alerts.dead_letters import dead_letter
from f2pnet.alerts.stream import RawEntry, newest
from f2pnet.foreign import clipped
from f2pnet.redis.link import Argument, Command, ErrorReply, RedisLink, pairs

_log = logging.getLogger(__name__)  # other people's programs: their logging, not ours

AT_ONCE = 32  # entries fetched together: what a reader that dies can leave half done
_GROUP_GONE = ("NOGROUP", "UNBLOCKED")  # somebody deleted the stream or the group


class Reader(Protocol):
    """Where the next alerts come from. Any call may raise StoreAway."""

    def read(self, block_ms: int) -> list[RawEntry]:
        """The next entries, oldest first; empty when none came within `block_ms` (0: do not wait)."""

    def lost_connection(self) -> None:
        """An exchange failed, and what was on its way may be lost."""

    def acknowledge(self, ids: Sequence[str]) -> None:
        """These entries are done."""


class TailReader:
    """Everything behind an id, or everything that is new."""

    def __init__(self, link: RedisLink, stream: str, since: str | None) -> None:
        self._link = link
        self._stream = stream
        self._after = since

    def read(self, block_ms: int) -> list[RawEntry]:
        if self._after is None:  # asked once: a "$" with each read would miss what comes between two reads
            self._after = newest(self._link.exchange, self._stream) or "0-0"
        (reply,) = self._link.exchange(
            ["XREAD", "COUNT", AT_ONCE, *_blocking(block_ms), "STREAMS", self._stream, self._after]
        )
        entries = _entries_of_one_stream(reply)
        if entries:
            self._after = _id_of(entries[-1])
        return entries

    def lost_connection(self) -> None:
        """Nothing to do: the next read begins behind the last entry that arrived."""

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Nothing to do: nobody else waits for it."""


class GroupReader:
    """One consumer of a group: first what it had not finished, then what dead consumers left, then new entries."""

    def __init__(
        self,
        link: RedisLink,
        acknowledging: RedisLink,
        stream: str,
        *,
        group: str,
        consumer: str,
        since: str | None,
        reclaim_idle_ms: int,
        line: str,
        max_deliveries: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._acknowledging = acknowledging
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._start = since or "0"
        self._reclaim_idle_ms = reclaim_idle_ms
        self._line = line
        self._max_deliveries = max_deliveries
        self._clock = clock
        self._group_exists = False
        self._newest_seen = "0"
        self._own_after: str | None = "0"  # own unfinished entries behind this id are still to be read; None: none are
        self._reclaim_cursor = "0-0"
        self._next_reclaim_s = 0.0

    def read(self, block_ms: int) -> list[RawEntry]:
        try:
            self._ensure_group()
            return self._unfinished() or self._reclaimed() or self._new(block_ms)
        except ErrorReply as error:
            if error.code not in _GROUP_GONE:
                raise
            self._group_exists = False
            return []

    def lost_connection(self) -> None:
        """Entries given to us that did not arrive are ours, and newer than all that did."""
        self._group_exists = False
        if self._own_after is None:
            self._own_after = self._newest_seen

    def acknowledge(self, ids: Sequence[str]) -> None:
        self._acknowledging.exchange(["XACK", self._stream, self._group, *ids])

    def _ensure_group(self) -> None:
        if self._group_exists:
            return
        try:
            self._link.exchange(["XGROUP", "CREATE", self._stream, self._group, self._start, "MKSTREAM"])
        except ErrorReply as error:
            if error.code != "BUSYGROUP":
                raise
        self._group_exists = True

    def _unfinished(self) -> list[RawEntry]:
        while self._own_after is not None:
            entries = self._read_group(self._own_after)
            if not entries:
                self._own_after = None
                break
            self._own_after = _id_of(entries[-1])
            if hopeful := self._without_hopeless(self._present(entries), this_one_counted=True):
                return hopeful
        return []

    def _reclaimed(self) -> list[RawEntry]:
        """What was given to any consumer and lay unacknowledged for too long."""
        if self._clock() < self._next_reclaim_s:
            return []
        claim = ["XAUTOCLAIM", self._stream, self._group, self._consumer, str(self._reclaim_idle_ms)]
        (reply,) = self._link.exchange([*claim, self._reclaim_cursor, "COUNT", AT_ONCE, "JUSTID"])
        self._reclaim_cursor = reply[0].decode()
        if self._reclaim_cursor == "0-0":
            self._next_reclaim_s = self._clock() + min(self._reclaim_idle_ms / 4000, 5.0)
        ids: list[bytes] = reply[1]
        if not ids:
            return []
        looks: list[Command] = [["XRANGE", self._stream, name, name] for name in ids]
        found = self._link.exchange(*looks)
        entries = self._present([reply[0] if reply else (name, None) for name, reply in zip(ids, found, strict=True)])
        return self._without_hopeless(entries, this_one_counted=False)

    def _without_hopeless(self, entries: list[RawEntry], *, this_one_counted: bool) -> list[RawEntry]:
        """Entries that may be delivered once more; the others become dead letters, kept for people."""
        if self._max_deliveries is None or not entries:
            return entries
        questions: list[Command] = [["XPENDING", self._stream, self._group, name, name, 1] for name, _ in entries]
        counted = self._link.exchange(*questions)
        hopeful: list[RawEntry] = []
        for (name, flat), reply in zip(entries, counted, strict=True):
            delivered = int(reply[0][3]) if reply else 0
            if this_one_counted:
                delivered -= 1
            if delivered >= self._max_deliveries:
                self._bury(name.decode(), pairs(flat or []), delivered)
                continue
            if not this_one_counted:
                claim: list[Argument] = ["XCLAIM", self._stream, self._group, self._consumer, "0", name]
                self._link.exchange([*claim, "RETRYCOUNT", str(delivered + 1), "JUSTID"])
            hopeful.append((name, flat))
        return hopeful

    def _bury(self, name: str, fields: dict[bytes, bytes], delivered: int) -> None:
        letter = dead_letter(
            self._line,
            self._group,
            alert_id=name,
            frame_id=clipped(fields.get(b"frame_id", b"")),
            data=fields.get(b"data", b""),
            reason=f"delivered {delivered} times to group {self._group} and never acknowledged",
            tries=delivered,
        )
        self._link.exchange(["MULTI"], letter, ["XACK", self._stream, self._group, name], ["EXEC"])
        _log.error("alert %s is a dead letter: delivered %d times and never acknowledged", name, delivered)

    def _new(self, block_ms: int) -> list[RawEntry]:
        entries = self._read_group(">", block_ms)
        if entries:
            self._newest_seen = _id_of(entries[-1])
        return entries

    def _read_group(self, after: str, block_ms: int = 0) -> list[RawEntry]:
        who = ["XREADGROUP", "GROUP", self._group, self._consumer]
        (reply,) = self._link.exchange([*who, "COUNT", AT_ONCE, *_blocking(block_ms), "STREAMS", self._stream, after])
        return _entries_of_one_stream(reply)

    def _present(self, entries: list[RawEntry]) -> list[RawEntry]:
        """Without those that the stream's trimming took before anybody finished them: they can only be let go."""
        gone = [name.decode() for name, flat in entries if not flat]
        if gone:
            _log.error("%s: trimmed before they were acknowledged: %s", self._stream, ", ".join(gone))
            self.acknowledge(gone)
        return [entry for entry in entries if entry[1]]


def _blocking(block_ms: int) -> list[str]:
    return ["BLOCK", str(block_ms)] if block_ms > 0 else []  # BLOCK 0 would mean for ever


def _entries_of_one_stream(reply: Any) -> list[RawEntry]:
    return list(reply[0][1]) if reply else []


def _id_of(entry: RawEntry) -> str:
    return entry[0].decode()
