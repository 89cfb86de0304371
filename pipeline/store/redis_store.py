"""Verdicts into Redis streams: each frame once, however often and by however many workers it is sent.

One atomic step, without scripts (an embedded server forbids them): watch the bit fields of the frames concerned and
read them, then add the unknown frames to the streams and set their bits in one transaction, which Redis refuses if
another writer changed a bit field in between. Two round trips for a batch. When the connection breaks in the middle,
trying again is safe: the bits tell whether the transaction happened.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from f2pnet.errors import StoreAway
from f2pnet.redis_keys import FRAMES_PER_CHUNK, LineKeys
from f2pnet.redis_link import DEFAULT_TIMEOUT_S, Command, RedisLink
from f2pnet.result import Verdict
from pipeline.frames.ledger import NotInspectedReason
from pipeline.store.laggards import Laggard, laggards
from pipeline.store.records import Record, Stored

KNOWN_FOR_S = 7 * 24 * 3600  # a frame that comes a second time does so within seconds; a spool may be carried for days
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


Identity = tuple[str, int]
"""Where a frame's bits are: (key, offset). A fault event has a key of its own, offset 0."""


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
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.keys = LineKeys(line)
        self._link = RedisLink(url, timeout_s=timeout_s)
        self._results_kept = results_kept
        self._alerts_kept = alerts_kept
        self._alerts_trimmed = False  # by this writer
        self._min_replicas = min_replicas
        self._replica_wait_ms = int(timeout_s * 500)  # within the wait for the answer itself

    @property
    def address(self) -> str:
        """Where it writes, without the password."""
        return self._link.address

    def write(self, records: Sequence[Record]) -> list[Stored]:
        """Make the records durable; the answer tells, in the same order, what stands in the store now.

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

    def laggards(self) -> list[Laggard]:
        """Consumer groups of the alerts that trimming overtakes. Raises StoreAway."""
        return laggards(self._link, self.keys.alerts, self._alerts_kept, trimmed=self._alerts_trimmed)

    def write_states(
        self, ledgers: Mapping[tuple[str, str], Mapping[str, int]], workers: Mapping[str, bytes | None]
    ) -> None:
        """State counters by camera and run, and heartbeats (JSON) by worker, in one round trip. Raises StoreAway.

        Counters are for everyone who asks, and for later checks of their run. A worker whose heartbeat is None ended in
        order: it is missed by nobody.
        """
        commands: list[Command] = []
        for (camera_id, run_id), counters in ledgers.items():
            fields: list[str | int] = ["run_id", run_id]
            for name, count in counters.items():
                fields += [name, count]
            kept = self.keys.run_ledger(camera_id, run_id)
            commands += [["HSET", self.keys.ledger(camera_id), *fields], ["HSET", kept, *fields]]
            commands.append(["EXPIRE", kept, KNOWN_FOR_S])
        for name, heartbeat in workers.items():
            gone = ["HDEL", self.keys.workers, name]
            commands.append(gone if heartbeat is None else ["HSET", self.keys.workers, name, heartbeat])
        if commands:
            self._link.exchange(*commands)

    def ping(self) -> None:
        """Return if the server answers and lets us in. Raises StoreRefused or StoreAway."""
        self._link.exchange(["PING"])

    def close(self) -> None:
        self._link.close()

    def _identity(self, record: Record) -> Identity:
        if record.seq is None:
            return self.keys.event(record.frame_id), 0
        return self.keys.seen(record.camera_id, record.run_id, record.seq), record.seq % FRAMES_PER_CHUNK

    def _watch_and_read(self, identities: Sequence[Identity]) -> dict[Identity, int]:
        """Code of each frame, 0 where it is unknown; from here on a change by others makes `_commit` fail."""
        offsets: dict[str, list[int]] = {}
        for key, offset in identities:
            offsets.setdefault(key, []).append(offset)
        reads: list[Command] = []
        for key, wanted in offsets.items():
            read: list[str] = ["BITFIELD", key]
            for offset in wanted:
                read += ["GET", "u8", f"#{offset}"]
            reads.append(read)
        streams = [self.keys.results, self.keys.alerts]
        _, *types_and_codes = self._link.exchange(["WATCH", *offsets], *(["TYPE", key] for key in streams), *reads)
        for key, kind in zip(streams, types_and_codes[:2], strict=True):
            # Checked beforehand, because a transaction goes on after a command of it has failed.
            if kind not in (b"none", b"stream"):
                raise StoreAway(f"Redis at {self.address}: {key} is a {kind.decode()}, not a stream; rename that key")
        codes = types_and_codes[2:]
        return {
            (key, offset): code
            for (key, wanted), found in zip(offsets.items(), codes, strict=True)
            for offset, code in zip(wanted, found, strict=True)
        }

    def _commit(self, fresh: Mapping[Identity, Record]) -> bool:
        """Add the records in one transaction; False when a bit field changed since it was read."""
        if not fresh:
            self._confirm(self._link.exchange(["UNWATCH"], *self._wait()))
            return True
        commands: list[Command] = [["MULTI"]]
        marks: dict[str, list[str | int]] = {}
        for (key, offset), record in fresh.items():
            marks.setdefault(key, []).extend(("SET", "u8", f"#{offset}", _code(record)))
            commands += self._entries(record)
        for key, mark in marks.items():
            commands += [["BITFIELD", key, *mark], ["EXPIRE", key, KNOWN_FOR_S]]
        commands.append(["EXEC"])
        # Outside of the transaction: Redis writes down how much was trimmed, and a transaction that a crash cut off
        # (see `append_only_file`) must not take older entries with it.
        trims: list[Command] = [
            ["XTRIM", self.keys.results, "MAXLEN", "~", self._results_kept],
            ["XTRIM", self.keys.alerts, "MAXLEN", "~", self._alerts_kept],
        ]
        replies = self._link.exchange(*commands, *trims, *self._wait())
        outcome, trimmed = replies[len(commands) - 1], replies[len(commands) + 1]
        self._alerts_trimmed = self._alerts_trimmed or trimmed > 0
        if outcome is None:
            return False
        failed = [str(reply) for reply in outcome if isinstance(reply, Exception)]
        if failed:
            raise StoreAway(f"Redis at {self.address} carried out a transaction in part only: {failed[0]}")
        self._confirm(replies)
        return True

    def _wait(self) -> list[Command]:
        return [["WAIT", self._min_replicas, self._replica_wait_ms]] if self._min_replicas else []

    def _confirm(self, replies: Sequence[Any]) -> None:
        """Raise StoreAway unless enough replicas have all that was written; writing it again is safe."""
        if self._min_replicas and replies[-1] < self._min_replicas:
            raise StoreAway(
                f"Redis at {self.address}: {replies[-1]} replicas have what was written, publish.min_replicas wants "
                f"{self._min_replicas}: bring the replicas back or lower it"
            )

    def _entries(self, record: Record) -> list[Command]:
        fields: list[str | bytes | int] = ["*"]
        fields += ["frame_id", record.frame_id, "camera_id", record.camera_id, "part_id", record.part_id or ""]
        fields += ["verdict", record.verdict.value, "captured_at_ns", record.captured_at_ns, "data", record.data]
        entries: list[Command] = []
        if not record.is_fault:  # the results stream holds verdicts of frames and nothing else
            entries.append(["XADD", self.keys.results, *fields])
        if record.is_alert:
            entries.append(["XADD", self.keys.alerts, *fields])
        return entries


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
