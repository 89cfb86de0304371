"""One name, one line: a key in Redis that says who runs the line, renewed while it runs, and gone soon after it died.

A second line of the name is refused. A line that was killed may start again at once on its host, where its process is
seen to be gone; elsewhere as soon as the key has expired. A running line never ends because of the key: when Redis was
away for longer than the key lives, the line takes it again, and if another one has it by then, both are notified.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from f2pnet.errors import ConfigError, StoreAway, StoreRefused
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import Command, ErrorReply, RedisLink
from pipeline.processes.holder import Holder

LEASE_MS = 6_000
RENEW_S = 1.5
LOOK_S = 0.3  # how often a start looks whether a holder that it can't see renews its lease
TIMEOUT_S = 1.0
ATTEMPTS = 5
_log = structlog.get_logger(__name__)


class LineTaken(ConfigError):
    """Another line of this name runs on the same Redis or broker."""


class LineLease:
    """The lease of one line for this process. `conflict` says who else holds it while this line runs."""

    def __init__(self, url: str, line: str) -> None:
        self.conflict: str | None = None
        self._key = LineKeys(line).holder
        self._line = line
        self._link = RedisLink(url, timeout_s=TIMEOUT_S)
        self._me = Holder.of_parent()
        self._other_since_s: float | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_end, name="line lease", daemon=True)

    def take(self) -> None:
        """Take the lease and keep it. Raises LineTaken after at most the time that a lease lives; StoreAway."""
        give_up_s = time.monotonic() + LEASE_MS / 1000 + 1.0
        left_ms: int | None = None  # of the other's lease, when it was last looked at
        while (found := self._claim()) is not None:
            other, remaining_ms = found
            is_renewed = left_ms is not None and remaining_ms > left_ms
            if other.is_gone is False or is_renewed or time.monotonic() > give_up_s:
                raise LineTaken(_taken(self._line, other, f"on the Redis at {self._link.address}"))
            left_ms = remaining_ms
            time.sleep(LOOK_S)
        self.keep()

    def keep(self) -> None:
        """Renew the lease from now on, and take it when that is possible where it is not ours yet."""
        self._thread.start()

    def give_back(self) -> None:
        """End in order: the next start need not wait. Redis may be away."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(2 * TIMEOUT_S)
        try:
            (value,) = self._link.exchange(["GET", self._key])
            holder = Holder.from_json(value or b"")
            if holder is not None and holder.is_same_process(self._me):
                self._link.exchange(["DEL", self._key])
        except StoreAway as error:
            _log.debug("the line's lease expires by itself", reason=str(error))
        finally:
            self._link.close()

    def _claim(self) -> tuple[Holder, int] | None:
        """Take or renew the lease; who has it, and for how many ms more, where it is somebody else's."""
        for _ in range(ATTEMPTS):
            _, value, left_ms = self._link.exchange(["WATCH", self._key], ["GET", self._key], ["PTTL", self._key])
            other = Holder.from_json(value or b"")
            if other is not None and not other.is_same_process(self._me) and other.is_gone is not True:
                self._link.exchange(["UNWATCH"])
                return other, int(left_ms)
            take: Command = ["SET", self._key, self._me.to_json(), "PX", LEASE_MS]
            *_, done = self._link.exchange(["MULTI"], take, ["EXEC"])
            if done is not None:
                return None
        raise StoreAway(f"Redis at {self._link.address}: others wrote {self._key} {ATTEMPTS} times in between")

    def _renew_until_end(self) -> None:
        while not self._ending.wait(RENEW_S):
            try:
                found = self._claim()
            except StoreAway as error:
                _log.debug("the line's lease is not renewed", reason=str(error))
                continue
            self._notice(None if found is None else found[0])

    def _notice(self, other: Holder | None) -> None:
        """Another holder is a conflict when it still is there after the lease of a dead one would have expired."""
        if other is None:
            self._other_since_s = self.conflict = None
            return
        now_s = time.monotonic()
        self._other_since_s = self._other_since_s or now_s
        if self.conflict is None and now_s - self._other_since_s > LEASE_MS / 1000 + RENEW_S:
            self.conflict = _taken(self._line, other, f"on the Redis at {self._link.address}")
            _log.error("two lines of one name", reason=self.conflict)


@contextmanager
def held_line(url: str, line: str, *, store_may_be_away: bool = False) -> Iterator[LineLease | None]:
    """Hold a line's name in the Redis at `url`; None where the Redis lets us not. Raises LineTaken or StoreAway.

    `store_may_be_away`: begin without it, and hold the name when the store is back, instead of StoreAway.
    """
    lease = LineLease(url, line)
    try:
        lease.take()
    except (StoreRefused, ErrorReply) as error:  # such as a key of that name that holds something else
        _log.warning("another line of this name would not be noticed", reason=str(error))
        yield None
        return
    except StoreAway as error:
        if not store_may_be_away:
            raise
        _log.warning("another line of this name is noticed when the store is back", reason=str(error))
        lease.keep()
    try:
        yield lease
    finally:
        lease.give_back()


def _taken(line: str, holder: Holder, where: str) -> str:
    return f"line '{line}' runs already {where} ({holder}): stop it there, or give this line another name"
