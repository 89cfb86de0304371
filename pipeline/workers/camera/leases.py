"""Who has which frame of one camera: leasing, taking back and shedding, without I/O.

A frame waits, is leased to a worker that has room, and is settled when its verdict is durable. A lease that takes too
long, or whose worker left or came back as another incarnation, is void: the frame waits again, first in line. A frame
whose leases ended `MAX_ATTEMPTS` times without a verdict is given up, so that one bad picture cannot kill every worker
in turn. A lease that the worker answered is no such attempt: its verdict was lost on the way (publish worker dead), or
no disk would take it, and is made again. Times are monotonic nanoseconds that the caller hands in.

Frames go out oldest first. Where they have a deadline and workers have no room for all of them, the newest go first and
those that can't be done in time stay: what is lent too late costs the engine a run and saves no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from pipeline.frames.file_ref import FileRef
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring_memory import HeldFrame
from pipeline.wire.messages import Ready

MAX_ATTEMPTS = 3
MAX_ANSWERS = 600  # ten minutes of a disk that takes nothing; beyond it the frame is not the one to wait for
NOT_STORED_RETRY_NS = 1_000_000_000  # a verdict that could not be made durable is made again this much later
ENGINE_TIMES_PER_LEASE = 5  # a lease lasts at least as long as what the worker held, and so many runs of its engine


MOST_BATCHES_LENT = 6  # to one worker: more than it has in flight is not worked on

LONGEST_RUN_MS = 60_000.0
"""The longest time that a worker may state for one run of its engine, or for what it holds."""


def most_lent(max_batch: int, ring_slots: int) -> int:
    """How many frames of a camera one worker has at most: a full batch, or more where a quarter of the ring is left.

    Leased frames are never dropped for newer ones.
    """
    return max(max_batch, min(MOST_BATCHES_LENT * max_batch, ring_slots * 3 // 4))


def within_reason(ready: Ready, most: int) -> Ready:
    """What a worker says of itself, within what a worker of this line can be. `most`: frames lent to it at once."""
    return msgspec.structs.replace(
        ready,
        received=max(0, ready.received),
        capacity=min(max(0, ready.capacity), most),
        at_mono_ns=min(max(0, ready.at_mono_ns), 2**62),
        frame_ms=_duration_ms(ready.frame_ms),
        batch_ms=_duration_ms(ready.batch_ms),
        backlog_ms=_duration_ms(ready.backlog_ms),
    )


def _duration_ms(value_ms: float) -> float:
    return min(max(0.0, value_ms), LONGEST_RUN_MS) if math.isfinite(value_ms) else LONGEST_RUN_MS


@dataclass
class _Entry:
    frame: HeldFrame
    deadline_ns: int | None
    attempts: int = 0
    holder: str | None = None  # incarnation of the worker
    number: int = 0  # of the lease
    leased_ns: int = 0  # when it began
    retry_ns: int | None = None  # when it ends because its verdict could not be stored
    answered: bool = False  # the worker did its part in this lease
    answers: int = 0  # leases that were answered and never acknowledged
    decided: NotInspectedReason | None = None  # the frame waits for the acknowledgement of this only


@dataclass
class _Worker:
    ready: Ready
    clock_ahead_ns: int  # of the camera's, as far as a message's way lets one see
    heard_ns: int
    late: bool = False  # a lease of it ran out, and it was not heard of since
    leased: int = 0  # number of the last lease given to this incarnation
    blocked_until_ns: int = 0  # it could not work on what it was lent
    in_transit: set[int] = field(default_factory=set)  # numbers of leases that it has not reported yet

    @property
    def room(self) -> int:
        return self.ready.capacity - len(self.ready.holding) - len(self.in_transit)

    def may_take(self, now_ns: int) -> bool:
        return self.room > 0 and not self.late and now_ns >= self.blocked_until_ns


@dataclass(frozen=True)
class Grant:
    """A lease that was given."""

    worker: Ready
    number: int
    frame: HeldFrame
    deadline_mono_ns: int | None  # in the worker's clock


class LeaseBook:
    """Frames and workers of one camera. `epoch` names this book: counts of workers that refer to another are old."""

    def __init__(self, epoch: str, lease_ms: int, deadline_ms: float | None) -> None:
        self.epoch = epoch
        self._lease_ns = lease_ms * 1_000_000
        self._deadline_ns = None if deadline_ms is None else int(deadline_ms * 1e6)
        self._entries: dict[int, _Entry] = {}  # by seq, in the order of capture
        self._workers: dict[str, _Worker] = {}  # by incarnation, the one whose turn it is first

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, frame: HeldFrame) -> None:
        """A frame was captured (or found again after a restart)."""
        deadline = None if self._deadline_ns is None else frame.captured_mono_ns + self._deadline_ns
        self._entries[frame.seq] = _Entry(frame, deadline, decided=frame.reason)

    def settle(self, seq: int) -> tuple[HeldFrame, NotInspectedReason | None] | None:
        """The frame's verdict is durable: the frame and what was decided for it; None when that was known already."""
        entry = self._entries.pop(seq, None)
        return None if entry is None else (entry.frame, entry.decided)

    def file_of(self, seq: int) -> FileRef | None:
        """Which file the frame comes from; None also for one that was settled before."""
        entry = self._entries.get(seq)
        return None if entry is None else entry.frame.file

    def oldest_waiting(self) -> HeldFrame | None:
        """The frame that is dropped under `drop_oldest`: nobody works on it and nothing was decided."""
        return next((e.frame for e in self._entries.values() if e.holder is None and not e.decided), None)

    def replace(self, frame: HeldFrame) -> None:
        """The frame moved within the ring, or something was decided for it there."""
        entry = self._entries[frame.seq]
        entry.frame, entry.decided = frame, frame.reason

    def not_stored(self, seqs: Iterable[int], now_ns: int) -> None:
        """Verdicts of these frames were made and could not be stored: try again, a little later."""
        for entry in filter(None, map(self._entries.get, seqs)):
            if entry.holder is not None:
                entry.answered = True
                entry.retry_ns = entry.retry_ns or now_ns + NOT_STORED_RETRY_NS

    def worker_ready(self, ready: Ready, now_ns: int) -> None:
        """A worker says what it has room for. An older incarnation of it is dead, and its leases void."""
        clock_ahead_ns = ready.at_mono_ns - now_ns if ready.inline else 0
        known = self._workers.get(ready.incarnation)
        if known is None:
            for incarnation in [i for i, w in self._workers.items() if w.ready.worker == ready.worker]:
                self.worker_gone(incarnation)
            # One that is known again, after its connection broke, has counted leases already.
            leased = ready.received if ready.epoch == self.epoch else 0
            self._workers[ready.incarnation] = _Worker(ready, clock_ahead_ns, now_ns, leased=leased)
        else:
            known.ready, known.clock_ahead_ns, known.heard_ns, known.late = ready, clock_ahead_ns, now_ns, False
            if ready.epoch == self.epoch:
                known.in_transit = {number for number in known.in_transit if number > ready.received}
                holding = set(ready.holding)
                for entry in self._entries.values():
                    if entry.holder == ready.incarnation and entry.number <= ready.received:
                        entry.answered = entry.answered or entry.number not in holding

    def returned(self, incarnation: str, numbers: Iterable[int], blocked_until_ns: int) -> int:
        """A worker gives leases back that it cannot work on; returns how many frames wait again by that.

        Until `blocked_until_ns` it gets no others. No attempt is counted: nobody looked at the frames.
        """
        worker, given_back = self._workers.get(incarnation), set(numbers)
        if worker is not None:
            worker.in_transit -= given_back
        entries = [e for e in self._entries.values() if e.holder == incarnation and e.number in given_back]
        if worker is not None and entries:  # else it was late with frames that have their verdict
            worker.blocked_until_ns = blocked_until_ns
        for entry in entries:
            entry.answered = True
            _end_lease(entry)
        return len(entries)

    def silent_workers(self, since_ns: int) -> list[Ready]:
        """Workers that were not heard of since then."""
        return [worker.ready for worker in self._workers.values() if worker.heard_ns < since_ns]

    def worker_gone(self, incarnation: str) -> None:
        """A worker left: what it held waits again."""
        self._workers.pop(incarnation, None)
        for entry in self._entries.values():
            if entry.holder == incarnation:
                _end_lease(entry)

    def next_leases(self, now_ns: int) -> Iterator[Grant]:
        """Lease waiting frames to workers with room, which take turns."""
        for entry in self._in_turn(now_ns):
            worker = self._next_worker(now_ns)
            if worker is None:
                return
            entry.holder, entry.attempts = worker.ready.incarnation, entry.attempts + 1
            entry.leased_ns, entry.retry_ns = now_ns, None
            worker.leased += 1
            worker.in_transit.add(worker.leased)
            entry.number = worker.leased
            deadline = None if entry.deadline_ns is None else entry.deadline_ns + worker.clock_ahead_ns
            yield Grant(worker.ready, worker.leased, entry.frame, deadline)

    def take_back(self, now_ns: int) -> int:
        """Void leases that took too long; returns how many. Their frames wait again, for workers that are heard of."""
        late = [
            e for e in self._entries.values() if e.holder is not None and not e.decided and now_ns >= self._due_ns(e)
        ]
        for entry in late:
            if worker := self._workers.get(entry.holder or ""):
                worker.in_transit.discard(entry.number)  # it may never have arrived, and must not block room for ever
                worker.late = worker.late or not entry.answered
            _end_lease(entry)
        return len(late)

    def past_deadline(self, now_ns: int) -> list[HeldFrame]:
        """Undecided frames that can't have a durable verdict in time any more."""
        return [e.frame for e in self._undecided() if e.deadline_ns is not None and now_ns >= e.deadline_ns]

    def given_up(self) -> list[HeldFrame]:
        """Undecided frames that were tried as often as a frame is tried."""
        return [e.frame for e in self._undecided() if e.holder is None and e.attempts >= MAX_ATTEMPTS]

    def undecided(self) -> list[HeldFrame]:
        return [entry.frame for entry in self._undecided()]

    def decide(self, seq: int, reason: NotInspectedReason) -> None:
        """NOT_INSPECTED was decided: the frame is not leased again, and waits for its acknowledgement only."""
        self._entries[seq].decided = reason

    def decided(self) -> list[tuple[HeldFrame, NotInspectedReason]]:
        return [(entry.frame, entry.decided) for entry in self._entries.values() if entry.decided]

    def next_due_ns(self) -> int | None:
        """When the next lease or deadline ends, None when none is running."""
        times = [self._due_ns(e) for e in self._undecided() if e.holder is not None]
        times += [e.deadline_ns for e in self._undecided() if e.deadline_ns is not None]
        return min(times, default=None)

    def _undecided(self) -> Iterator[_Entry]:
        return (entry for entry in self._entries.values() if not entry.decided)

    def _in_turn(self, now_ns: int) -> list[_Entry]:
        """Frames that wait for a worker, in the order in which they go out."""
        waiting = [e for e in self._undecided() if e.holder is None and e.attempts < MAX_ATTEMPTS]
        workers = [worker for worker in self._workers.values() if worker.may_take(now_ns)]
        if self._deadline_ns is None or not workers or not waiting:
            return waiting
        soonest_ns = now_ns + int(min(worker.ready.frame_ms for worker in workers) * 1e6)
        *older, newest = waiting
        in_time = [e for e in older if e.deadline_ns is not None and e.deadline_ns > soonest_ns]
        in_time.append(newest)  # in any case: what the worker reported of its engine may be out of date
        return in_time if len(in_time) <= sum(worker.room for worker in workers) else in_time[::-1]

    def _due_ns(self, entry: _Entry) -> int:
        """When the entry's lease ends. A worker that reports a long queue gets the time for it."""
        worker = self._workers[entry.holder or ""].ready
        worker_ns = int((ENGINE_TIMES_PER_LEASE * worker.batch_ms + worker.backlog_ms) * 1e6)
        due_ns = entry.leased_ns + max(self._lease_ns, worker_ns)
        return due_ns if entry.retry_ns is None else min(due_ns, entry.retry_ns)

    def _next_worker(self, now_ns: int) -> _Worker | None:
        for incarnation, worker in self._workers.items():
            if worker.may_take(now_ns):
                self._workers[incarnation] = self._workers.pop(incarnation)  # to the end: the others come first now
                return worker
        return None


def _end_lease(entry: _Entry) -> None:
    """The frame waits again."""
    entry.holder = None
    if entry.answered and entry.answers < MAX_ANSWERS:
        entry.attempts, entry.answers = entry.attempts - 1, entry.answers + 1
    entry.answered = False
