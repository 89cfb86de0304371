"""What the publish worker writes to: Redis, or the spool while Redis is away, each verdict once and in order.

While anything waits in the spool, new verdicts go behind it. A store that is away is asked again after a delay that
grows, so that its time-outs do not slow the line.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from f2pnet.backoff import Backoff
from f2pnet.errors import StoreAway
from f2pnet.inspection.result import Verdict
from pipeline.store.lagging_groups import LaggingGroup
from pipeline.store.records import Record, Stored
from pipeline.store.redis_store import RedisStore
from pipeline.store.spool.spool import Spool, waiting_in

T = TypeVar("T")

_log = structlog.get_logger(__name__)

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 5.0
REPLAYED_AT_ONCE = 256
REMEMBERED = 32_768  # frames; a second try comes while its frame still lies in a ring of at most 4096 slots


@dataclass
class StoreCounters:
    """Counts since the worker started."""

    published: int = 0  # added to Redis, directly or from the spool
    spooled: int = 0  # written to disk because Redis was away, or because others waited there
    replayed: int = 0  # taken from disk to Redis
    doubles_suppressed: int = 0  # came again and were not stored again


@dataclass
class DurableStore:
    """`write` returns when the verdicts are durable, in Redis or on disk. For one thread.

    `clock` gives monotonic seconds. `verdicts` counts all records, `alerts` those that are not OK.
    """

    redis: RedisStore
    spool: Spool
    clock: Callable[[], float] = time.monotonic
    verdicts: StoreCounters = field(default_factory=StoreCounters)
    alerts: StoreCounters = field(default_factory=StoreCounters)

    def __post_init__(self) -> None:
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._away_until: float | None = None  # None: Redis answered last time
        self._why_away: str | None = None
        self._first_verdicts: OrderedDict[str, tuple[Verdict, str | None]] = OrderedDict()
        for record in waiting_in(self.spool.folder):
            self._remember(record.frame_id, record.verdict, record.reason)

    @property
    def away(self) -> bool:
        """Redis did not answer when it was asked last."""
        return self._away_until is not None

    def write(self, records: Sequence[Record]) -> list[Stored]:
        """Make the records durable; the answer states, in the same order, what stands for each of them.

        Raises SpoolError (SpoolFull when its bound is reached) when Redis is away and the disk can't take them either;
        then nothing may be acknowledged, and the call can be made again.
        """
        self.replay_some()
        if not len(self.spool) and self._may_ask():
            try:
                stored = self._ask(lambda: self.redis.write(records))
            except StoreAway:
                return self._write_to_spool(records)
            self._count_written(records, stored)
            return stored
        return self._write_to_spool(records)

    def replay_some(self, limit: int = REPLAYED_AT_ONCE) -> int:
        """Move the oldest spooled records, at most `limit`, to Redis if it is time to ask it; how many were moved.

        Call it when there is nothing to write. Raises SpoolError.
        """
        self.spool.check_files()
        if not len(self.spool) or not self._may_ask():
            return 0
        records = self.spool.peek(limit)
        try:
            stored = self._ask(lambda: self.redis.write(records))
        except StoreAway:
            return 0
        self._count_written(records, stored)
        for record in records:
            for counters in self._counters_of(record):
                counters.replayed += 1
        self.spool.commit(len(records))
        return len(records)

    def ask_now(self) -> None:
        """Do not wait any longer before Redis is asked again."""
        if self.away:
            self._away_until = self.clock()

    def write_states(
        self,
        ledgers: Mapping[tuple[str, str], Mapping[str, int]],
        workers: Mapping[str, bytes | None],
        ended: Set[tuple[str, str]] = frozenset(),
    ) -> bool:
        """As `RedisStore.write_states`, if Redis is there; False if it is not (the next statement makes up for it)."""
        if not self._may_ask():
            return False
        try:
            self._ask(lambda: self.redis.write_states(ledgers, workers, ended))
        except StoreAway:
            return False
        return True

    def lagging_groups(self) -> list[LaggingGroup]:
        """Consumer groups that trimming overtakes; none while Redis is away, or forbids us to look."""
        try:
            return [] if self.away else self.redis.lagging_groups()
        except StoreAway as error:
            _log.warning("consumer groups not looked at", reason=str(error))
            return []

    def close(self) -> None:
        self.redis.close()
        self.spool.close()

    def _may_ask(self) -> bool:
        return self._away_until is None or self.clock() >= self._away_until

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask Redis, and note whether it was there."""
        try:
            answer = question()
        except StoreAway as error:
            if str(error) != self._why_away:
                self._why_away = str(error)
                _log.error("store away: verdicts go to the spool", error=self._why_away)
            self._away_until = self.clock() + self._backoff.next_delay()
            raise
        if self.away:
            _log.info("store back", waiting=len(self.spool))
        self._away_until = None
        self._why_away = None
        self._backoff.reset()
        return answer

    def _write_to_spool(self, records: Sequence[Record]) -> list[Stored]:
        fresh: dict[str, Record] = {}
        for record in records:
            if record.frame_id not in self._first_verdicts:
                fresh.setdefault(record.frame_id, record)
        if fresh:
            self.spool.append(list(fresh.values()))
        for record in fresh.values():
            self._remember(record.frame_id, record.verdict, record.reason)
            for counters in self._counters_of(record):
                counters.spooled += 1
        stored: list[Stored] = []
        for record in records:
            verdict, reason = self._first_verdicts[record.frame_id]
            stored.append(Stored(verdict, reason, new=fresh.get(record.frame_id) is record))
        self._count_doubles(records, stored)
        return stored

    def _count_written(self, records: Sequence[Record], stored: Sequence[Stored]) -> None:
        for record, standing in zip(records, stored, strict=True):
            self._remember(record.frame_id, standing.verdict, standing.reason)
            for counters in self._counters_of(record):
                counters.published += standing.new
        self._count_doubles(records, stored)

    def _count_doubles(self, records: Sequence[Record], stored: Sequence[Stored]) -> None:
        for record, standing in zip(records, stored, strict=True):
            for counters in self._counters_of(record):
                counters.doubles_suppressed += not standing.new

    def _counters_of(self, record: Record) -> Iterator[StoreCounters]:
        yield self.verdicts
        if record.is_alert:
            yield self.alerts

    def _remember(self, frame_id: str, verdict: Verdict, reason: str | None) -> None:
        self._first_verdicts.setdefault(frame_id, (verdict, reason))
        while len(self._first_verdicts) > REMEMBERED:
            self._first_verdicts.popitem(last=False)
