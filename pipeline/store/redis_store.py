"""Verdicts into Redis streams: each frame once, however often and by however many workers it is sent.

One atomic step, without scripts (an embedded server forbids them): watch the bit fields of the frames concerned and
read them, then add the unknown frames to the streams and set their bits in one transaction, which Redis refuses if
another writer changed a bit field in between. Two round trips for a batch. When the connection breaks in the middle,
trying again is safe: the bits say whether the transaction happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import structlog

from f2pnet.alerts.stream import encode, newest
from f2pnet.errors import StoreAway
from f2pnet.foreign import ForeignData, clipped
from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import FRAMES_PER_CHUNK, LineKeys
from f2pnet.redis.link import DEFAULT_TIMEOUT_S, Argument, Command, ErrorReply, RedisLink
from f2pnet.text import printable
from pipeline.frames.ledger import CLOSED, REASON_COUNTERS, NotInspectedReason
from pipeline.store.chain import ChainHead, next_link
from pipeline.store.lagging_groups import LaggingGroup, lagging_groups
from pipeline.store.records import Record, Stored
from pipeline.store.retention import Retention

_log = structlog.get_logger(__name__)

KNOWN_FOR_S = 7 * 24 * 3600  # a frame that comes a second time does so within seconds; a spool may be carried for days
EVENTS_KEPT = 50_000  # ids of fault events that are recognised when they come again; they do so within seconds
ATTEMPTS = 20  # lost races in a row; one of two racing writers always wins, so many losses mean something is wrong

# What the byte of a frame says. The numbers live in running servers: never give one a new meaning.
_CODES: dict[tuple[Verdict, str | None], int] = {
    (Verdict.OK, None): 1,
    (Verdict.NG, None): 2,
    (Verdict.NOT_INSPECTED, NotInspectedReason.DEADLINE): 3,
    (Verdict.NOT_INSPECTED, NotInspectedReason.UNREADABLE): 4,
    (Verdict.NOT_INSPECTED, NotInspectedReason.FRAME_TOO_LARGE): 5,
    (Verdict.NOT_INSPECTED, NotInspectedReason.ENGINE_FAULT): 6,
    (Verdict.NOT_INSPECTED, NotInspectedReason.SHUTDOWN): 7,
    (Verdict.NOT_INSPECTED, NotInspectedReason.LINE_RESTARTED): 8,
    (Verdict.NOT_INSPECTED, NotInspectedReason.NO_MEMORY): 9,
    (Verdict.NOT_INSPECTED, NotInspectedReason.OVERRUN): 10,
    (Verdict.NOT_INSPECTED, NotInspectedReason.ROI_OUTSIDE_FRAME): 11,
    (Verdict.NOT_INSPECTED, NotInspectedReason.OVERLOAD): 12,
    (Verdict.NOT_INSPECTED, None): 255,  # also for a reason that has no number yet
}
_MEANINGS = {code: meaning for meaning, code in _CODES.items()}


def meaning_of(code: int) -> tuple[Verdict, str | None]:
    """Verdict and reason that a frame's byte stands for; a byte of a newer version is a verdict without its reason."""
    return _MEANINGS.get(code, (Verdict.NOT_INSPECTED, None))


Identity = tuple[str, int | str]
"""Where it stands that a frame is known: (key of its bit field, offset); of a fault: (set of events, event id)."""


class RedisStore:
    """Writes one line's verdicts, ledgers and heartbeats. Any failure is StoreAway. For one thread."""

    def __init__(
        self,
        url: str,
        line: str,
        *,
        results_kept: int = 1_000_000,
        alerts_kept: int = 1_000_000,
        min_replicas: int = 0,
        chain: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.keys = LineKeys(line)
        self._link = RedisLink(url, timeout_s=timeout_s)
        self._alerts_kept = alerts_kept
        self._retention = Retention(self._link, self.keys, results_kept=results_kept, alerts_kept=alerts_kept)
        self._chain = ChainHead() if chain else None  # as read at the begin of each write
        self._foreign = ForeignData(lambda text: _log.error("foreign data", text=text))
        self._min_replicas = min_replicas
        self._present_runs: dict[str, str] = {}  # whose counters stand at each camera, as this writer knows
        self._replica_wait_ms = int(timeout_s * 500)  # within the wait for the answer itself

    @property
    def address(self) -> str:
        """Where it writes, without the password."""
        return self._link.address

    def write(self, records: Sequence[Record]) -> list[Stored]:
        """Make the records durable; the answer states, in the same order, what stands in the store now.

        Raises StoreAway; then each record is stored wholly or not at all, and writing it again is safe.
        """
        if not records:
            return []
        identities = [self._identity(record) for record in records]
        for attempt in range(ATTEMPTS):
            known = self._watch_and_read(identities)
            fresh: dict[Identity, Record] = {}
            for identity, record in zip(identities, records, strict=True):
                if not known[identity]:
                    fresh.setdefault(identity, record)
            if self._commit(fresh):
                return [
                    _stored(record, known[identity], fresh.get(identity))
                    for identity, record in zip(identities, records, strict=True)
                ]
            time.sleep(0.0005 * attempt)  # give the other writer its turn
        raise StoreAway(f"Redis at {self.address}: other writers were faster {ATTEMPTS} times; are too many running?")

    def lagging_groups(self) -> list[LaggingGroup]:
        """Consumer groups of the alerts that trimming overtakes. Raises StoreAway."""
        return lagging_groups(self._link, self.keys.alerts, self._alerts_kept, trimmed=self._retention.alerts_trimmed)

    def write_states(
        self,
        ledgers: Mapping[tuple[str, str], Mapping[str, int]],
        workers: Mapping[str, bytes | None],
        ended: Set[tuple[str, str]] = frozenset(),
    ) -> None:
        """State counters by camera and run, and heartbeats (JSON) by worker, in one round trip. Raises StoreAway.

        Counters are for everyone who asks, and for later checks of their run; those of `ended` runs for checks only:
        their `in_flight` stays what the run last stated, as a record, and they are closed when no frame is held any
        more. A worker whose heartbeat is None ended in order: it is missed by nobody.
        """
        commands: list[Command] = []
        for (camera_id, run_id), counters in ledgers.items():
            fields: list[str | int] = ["run_id", run_id]
            for name, count in counters.items():
                fields += [name, count]
            kept = self.keys.run_ledger(camera_id, run_id)
            if (camera_id, run_id) in ended:
                fields = _of_ended_run(counters, run_id)
            else:
                commands += self._present_ledger(camera_id, run_id, fields)
            commands += [["HSET", kept, *fields], ["EXPIRE", kept, KNOWN_FOR_S]]
        for name, heartbeat in workers.items():
            gone = ["HDEL", self.keys.workers, name]
            commands.append(gone if heartbeat is None else ["HSET", self.keys.workers, name, heartbeat])
        if commands:
            self._write_past_foreign_keys(commands)
            self._present_runs |= {
                camera_id: run_id for camera_id, run_id in ledgers if (camera_id, run_id) not in ended
            }

    def _present_ledger(self, camera_id: str, run_id: str, fields: Sequence[str | int]) -> list[Command]:
        """The counters of a camera's present run, without those that only an earlier run had."""
        key = self.keys.ledger(camera_id)
        if self._present_runs.get(camera_id) == run_id:
            return [["HSET", key, *fields]]
        return [["HDEL", key, *sorted(REASON_COUNTERS - set(fields))], ["HSET", key, *fields]]

    def _write_past_foreign_keys(self, commands: Sequence[Command]) -> None:
        """All of the commands, except those whose key somebody else uses for something else: that is reported once."""
        try:
            self._link.exchange(*commands)
        except ErrorReply as error:
            if error.code != "WRONGTYPE":
                raise
            keys = sorted({str(command[1]) for command in commands})
            questions: list[Command] = [["TYPE", key] for key in keys]
            kinds = self._link.exchange(*questions)
            for key, kind in zip(keys, kinds, strict=True):
                if kind not in (b"none", b"hash"):
                    self._foreign.note("store", key, f"it is a {kind.decode()}; the line keeps a hash there: rename it")

    def ping(self) -> None:
        """Return if the server answers and lets us in. Raises StoreRefused or StoreAway."""
        self._link.exchange(["PING"])

    def close(self) -> None:
        self._link.close()

    def _identity(self, record: Record) -> Identity:
        if record.seq is None:
            return self.keys.events, record.frame_id
        return self.keys.seen(record.camera_id, record.run_id, record.seq), record.seq % FRAMES_PER_CHUNK

    def _watch_and_read(self, identities: Sequence[Identity]) -> dict[Identity, int]:
        """Code of each frame or fault, 0 where it is unknown; a change by others from here on makes `_commit` fail."""
        wanted: dict[str, list[int | str]] = {}
        for key, place in identities:
            wanted.setdefault(key, []).append(place)
        reads = [_read_of(key, places, self.keys.events) for key, places in wanted.items()]
        kinds = {self.keys.results: b"stream", self.keys.alerts: b"stream"}
        kinds |= {key: b"zset" if key == self.keys.events else b"string" for key in wanted}
        watched = [*wanted]
        if self._chain is not None:
            kinds[self.keys.chain] = b"hash"
            watched.append(self.keys.chain)
            reads.append(["HGET", self.keys.chain, "head"])
        types: list[Command] = [["TYPE", key] for key in kinds]
        try:
            replies = self._link.exchange(["WATCH", *watched], *types, *reads)
        except ErrorReply as error:
            if error.code == "WRONGTYPE":
                self._check_types(kinds, self._link.exchange(["UNWATCH"], *types)[1:])
            raise
        self._check_types(kinds, replies[1 : len(types) + 1])
        found = replies[len(types) + 1 :]
        if self._chain is not None:
            self._chain = self._head(found.pop())
        return {
            (key, place): _known(code)
            for (key, places), codes in zip(wanted.items(), found, strict=True)
            for place, code in zip(places, codes, strict=True)
        }

    def _check_types(self, wanted: Mapping[str, bytes], found: Sequence[bytes]) -> None:
        """Raise StoreAway where a key holds something else: a transaction goes on after a command of it has failed."""
        for (key, kind), there in zip(wanted.items(), found, strict=True):
            if there not in (b"none", kind):
                raise StoreAway(
                    f"Redis at {self.address}: {clipped(key)} is a {there.decode()}, not a {kind.decode()}; rename it"
                )

    def _head(self, text: bytes | None) -> ChainHead:
        head = ChainHead() if text is None else ChainHead.parse(text)
        if head is None:
            raise StoreAway(
                f"Redis at {self.address}: {self.keys.chain} holds no link of the hash chain; delete that key to begin "
                "a new chain"
            )
        return head

    def _commit(self, fresh: Mapping[Identity, Record]) -> bool:
        """Add the records in one transaction; False when what was read has changed since."""
        if not fresh:
            self._confirm(self._link.exchange(["UNWATCH"], *self._wait()))
            return True
        commands: list[Command] = [["MULTI"], *self._entries(fresh.values()), *self._marks(fresh), ["EXEC"]]
        # Lengths outside of the transaction, and trimming later: a transaction that a crash cut off (see
        # `append_only_file`) must not take older entries with it.
        lengths: list[Command] = [["XLEN", self.keys.results], ["XLEN", self.keys.alerts]]
        replies = self._link.exchange(*commands, *lengths, *self._wait())
        outcome = replies[len(commands) - 1]
        if outcome is None:
            return False
        failed = [str(reply) for reply in outcome if isinstance(reply, Exception)]
        if failed:
            self._undo(fresh, commands[1:-1], outcome)
            raise StoreAway(f"Redis at {self.address} refuses verdicts: {printable(failed[0])}")
        self._confirm(replies)
        self._trim(*replies[len(commands) : len(commands) + 2])
        return True

    def _undo(self, fresh: Mapping[Identity, Record], commands: Sequence[Command], outcome: Sequence[Any]) -> None:
        """Take back what a transaction did that failed in part, such as on a stream whose last id somebody used up.

        Nothing may be marked as known that has no entry.
        """
        undo: list[Command] = []
        for command, reply in zip(commands, outcome, strict=True):
            if command[0] == "XADD" and not isinstance(reply, Exception):
                undo.append(["XDEL", command[1], reply])
        for key, place in fresh:
            if isinstance(place, str):
                undo.append(["ZREM", key, place])
            else:
                undo.append(["BITFIELD", key, "SET", "u8", f"#{place}", 0])
        if self._chain is not None:
            undo.append(["HSET", self.keys.chain, "head", self._chain.as_text()])
        self._link.exchange(["MULTI"], *undo, ["EXEC"])

    def _trim(self, results_length: int, alerts_length: int) -> None:
        """Keep the streams to their length. What was written stands; trimming is made up for with the next batch."""
        try:
            self._retention.trim(results_length, alerts_length)
        except StoreAway as error:
            _log.warning("streams not trimmed", reason=str(error))

    def _marks(self, fresh: Mapping[Identity, Record]) -> list[Command]:
        """From now on these frames and faults are known."""
        marks: dict[str, list[Argument]] = {}
        events: list[Argument] = []
        for (key, place), record in fresh.items():
            if isinstance(place, str):
                events += [time.time_ns() // 1_000_000, place]
            else:
                marks.setdefault(key, []).extend(("SET", "u8", f"#{place}", _code(record)))
        commands: list[Command] = []
        for key, mark in marks.items():
            commands += [["BITFIELD", key, *mark], ["EXPIRE", key, KNOWN_FOR_S]]
        if events:
            oldest: Command = ["ZREMRANGEBYRANK", self.keys.events, 0, -EVENTS_KEPT - 1]
            commands += [["ZADD", self.keys.events, *events], oldest, ["EXPIRE", self.keys.events, KNOWN_FOR_S]]
        return commands

    def _wait(self) -> list[Command]:
        return [["WAIT", self._min_replicas, self._replica_wait_ms]] if self._min_replicas else []

    def _confirm(self, replies: Sequence[Any]) -> None:
        """Raise StoreAway unless enough replicas have all that was written; writing it again is safe."""
        if self._min_replicas and replies[-1] < self._min_replicas:
            raise StoreAway(
                f"Redis at {self.address}: {replies[-1]} replicas have what was written, publish.min_replicas wants "
                f"{self._min_replicas}: bring the replicas back or lower it"
            )

    def _entries(self, records: Iterable[Record]) -> list[Command]:
        commands: list[Command] = []
        head = self._chain
        for record in records:
            fields = encode(
                frame_id=record.frame_id,
                camera_id=record.camera_id,
                part_id=record.part_id,
                verdict=record.verdict,
                captured_at_ns=record.captured_at_ns,
                data=record.data,
            )
            if not record.is_fault:  # the results stream holds verdicts of frames and nothing else
                link: list[Argument] = []
                if head is not None:
                    head = next_link(head, fields)
                    link = ["chain", head.as_text()]
                commands.append(["XADD", self.keys.results, "*", *fields, *link])
            if record.is_alert:
                commands.append(["XADD", self.keys.alerts, "*", *fields])
        if self._chain is not None and head is not None and head != self._chain:
            if self._chain.number == 0:
                behind = newest(self._link.exchange, self.keys.results) or "0-0"
                commands.append(["HSET", self.keys.chain, "begun_behind", behind])
            commands.append(["HSET", self.keys.chain, "head", head.as_text()])
        return commands


def _of_ended_run(counters: Mapping[str, int], run_id: str) -> list[str | int]:
    """Ledger fields of a run that is over: its `in_flight` is not overwritten, and nothing held closes the ledger."""
    fields: list[str | int] = ["run_id", run_id]
    for name, count in counters.items():
        if name != "in_flight":
            fields += [name, count]
    return fields if counters.get("in_flight") else [*fields, CLOSED, 1]


def _read_of(key: str, places: Sequence[int | str], events: str) -> Command:
    """The command that answers with a number for each place: 0 or nothing where it is unknown."""
    if key == events:
        return ["ZMSCORE", key, *places]
    read: list[Argument] = ["BITFIELD", key]
    for place in places:
        read += ["GET", "u8", f"#{place}"]
    return read


def _known(answer: int | bytes | None) -> int:
    """Code of a frame; of a fault, whose answer is the time of its storing, 1 or 0."""
    return answer if isinstance(answer, int) else int(answer is not None)


def _code(record: Record) -> int:
    if record.is_fault:
        return 1
    exact = _CODES.get((record.verdict, record.reason if record.verdict == Verdict.NOT_INSPECTED else None))
    return exact or _CODES[Verdict.NOT_INSPECTED, None]


def _stored(record: Record, code: int, added: Record | None) -> Stored:
    """What stands for `record`: what the store knew, or the record of this batch that was added."""
    if added is not None:
        return Stored(added.verdict, added.reason, new=added is record)
    if record.is_fault:
        return Stored(Verdict.FAULT, record.reason, new=False)
    verdict, reason = _MEANINGS.get(code, (Verdict.NOT_INSPECTED, None))  # a newer version may know more reasons
    return Stored(verdict, reason, new=False)
