"""Leasing without I/O: who gets which frame, and what happens when a worker goes."""

from __future__ import annotations

import random

from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring_memory import HeldFrame
from pipeline.wire.messages import Ready
from pipeline.workers.leases import MAX_ANSWERS, MAX_ATTEMPTS, NOT_STORED_RETRY_NS, LeaseBook

MS = 1_000_000
LEASE_MS = 1_000


def frame(seq: int, captured_mono_ns: int = 0) -> HeldFrame:
    return HeldFrame(slot=seq, generation=2, seq=seq, captured_at_ns=0, captured_mono_ns=captured_mono_ns, shape=(4, 4))


def ready(
    worker: str = "infer-0", incarnation: str = "a", capacity: int = 2, received: int = 0, held: int = 0
) -> Ready:
    return Ready(
        worker=worker,
        incarnation=incarnation,
        epoch="e",
        received=received,
        held=held,
        capacity=capacity,
        inline=False,
        batch_ms=1.0,
    )


def book(frames: int = 4, deadline_ms: float | None = None) -> LeaseBook:
    book = LeaseBook("e", LEASE_MS, deadline_ms)
    for seq in range(frames):
        book.add(frame(seq))
    return book


def leased(book: LeaseBook, now_ns: int = 0) -> list[tuple[str, int]]:
    return [(worker.incarnation, frame.seq) for worker, _, frame in book.next_leases(now_ns)]


def test_frames_go_out_in_order_to_a_worker_with_room() -> None:
    b = book()
    b.worker_ready(ready(capacity=3))
    assert leased(b) == [("a", 0), ("a", 1), ("a", 2)]
    assert leased(b) == []


def test_room_comes_back_with_what_the_worker_says_it_holds() -> None:
    b = book()
    b.worker_ready(ready(capacity=2))
    leased(b)
    b.worker_ready(ready(capacity=2, received=2, held=2))
    assert leased(b) == []
    b.worker_ready(ready(capacity=2, received=2, held=1))
    assert leased(b) == [("a", 2)]


def test_a_message_sent_before_the_last_leases_arrived_gives_no_room_twice() -> None:
    b = book()
    b.worker_ready(ready(capacity=2))
    leased(b)
    b.worker_ready(ready(capacity=2, received=0, held=0))  # crossed the leases on its way
    assert leased(b) == []


def test_workers_take_turns() -> None:
    b = book()
    b.worker_ready(ready("infer-0", "a"))
    b.worker_ready(ready("infer-1", "b"))
    assert leased(b) == [("a", 0), ("b", 1), ("a", 2), ("b", 3)]


def test_a_dead_worker_s_frames_go_to_another_one_first_in_line() -> None:
    b = book()
    b.worker_ready(ready("infer-0", "a"))
    leased(b)
    b.worker_gone("a")
    b.worker_ready(ready("infer-1", "b", capacity=4))
    assert leased(b) == [("b", 0), ("b", 1), ("b", 2), ("b", 3)]


def test_a_new_incarnation_of_a_worker_voids_the_old_one_s_leases_at_once() -> None:
    b = book(frames=2)
    b.worker_ready(ready("infer-0", "a"))
    leased(b)
    b.worker_ready(ready("infer-0", "a2"))
    assert leased(b, 1) == [("a2", 0), ("a2", 1)]


def test_a_lease_that_takes_too_long_goes_to_another_worker() -> None:
    b = book(frames=1)
    b.worker_ready(ready("infer-0", "a"))
    leased(b)
    b.worker_ready(ready("infer-1", "b"))
    assert b.take_back(LEASE_MS * MS - 1) == 0
    assert b.take_back(LEASE_MS * MS) == 1
    assert leased(b, LEASE_MS * MS) == [("b", 0)]


def test_a_lease_that_never_arrived_does_not_block_room_for_ever() -> None:
    b = book(frames=3)
    b.worker_ready(ready(capacity=1))
    assert leased(b) == [("a", 0)]
    b.take_back(LEASE_MS * MS)
    b.worker_ready(ready(capacity=1, received=0, held=0))
    assert leased(b, LEASE_MS * MS) == [("a", 0)]


def test_a_silent_worker_does_not_use_up_a_frame_s_attempts() -> None:
    b = book(frames=1)
    b.worker_ready(ready("infer-0", "hung"))
    leased(b)
    b.take_back(LEASE_MS * MS)
    assert leased(b, LEASE_MS * MS) == []
    b.worker_ready(ready("infer-0", "hung"))  # it was only slow
    assert leased(b, LEASE_MS * MS) == [("hung", 0)]


def test_a_lease_grows_with_the_engine_s_time() -> None:
    b = book(frames=1)
    slow = Ready(
        worker="w", incarnation="s", epoch="e", received=0, held=0, capacity=1, inline=False, batch_ms=10_000.0
    )
    b.worker_ready(slow)
    leased(b)
    assert b.take_back(20_000 * MS) == 0
    assert b.take_back(50_000 * MS) == 1


def test_a_frame_that_ends_every_lease_is_given_up() -> None:
    b = book(frames=1)
    for attempt in range(MAX_ATTEMPTS):
        b.worker_ready(ready(incarnation=f"i{attempt}"))
        assert len(leased(b, attempt)) == 1
        assert b.given_up() == []
        b.worker_gone(f"i{attempt}")
    assert [f.seq for f in b.given_up()] == [0]
    b.worker_ready(ready(incarnation="last"))
    assert leased(b, 9) == []


def test_a_verdict_that_no_disk_takes_is_no_attempt_and_is_made_again_soon() -> None:
    b, now = book(frames=1), 0
    for _ in range(10 * MAX_ATTEMPTS):
        b.worker_ready(ready(received=10**9))
        assert len(leased(b, now)) == 1
        b.not_stored([0, 77], now)
        b.not_stored([0], now)  # said twice
        assert b.take_back(now + min(LEASE_MS * MS, NOT_STORED_RETRY_NS) - 1) == 0
        now += NOT_STORED_RETRY_NS
        assert b.take_back(now) == 1
        assert b.given_up() == []
    b.not_stored([0], now)  # too late to be about a lease
    for attempt in range(MAX_ATTEMPTS):
        b.worker_ready(ready(incarnation=f"i{attempt}"))
        assert len(leased(b, now)) == 1
        b.worker_gone(f"i{attempt}")
    assert [f.seq for f in b.given_up()] == [0]


def test_a_verdict_that_is_lost_on_the_way_is_no_attempt() -> None:
    """The worker is well and holds nothing, and yet nobody acknowledges: the publish worker must have died."""
    b, now = book(frames=1), 0
    for round_ in range(1, 5 * MAX_ATTEMPTS):
        b.worker_ready(ready(received=round_ - 1))
        assert len(leased(b, now)) == 1
        b.worker_ready(ready(received=round_, held=0))
        now += LEASE_MS * MS
        assert b.take_back(now) == 1
        assert b.given_up() == []


def test_a_frame_whose_answers_are_never_stored_is_given_up_at_last() -> None:
    b, now, rounds = book(frames=1), 0, 0
    while not b.given_up():
        rounds += 1
        b.worker_ready(ready(received=10**9))
        assert len(leased(b, now)) == 1
        b.not_stored([0], now)
        now += LEASE_MS * MS
        b.take_back(now)
    assert rounds == MAX_ANSWERS + MAX_ATTEMPTS


def test_a_frame_in_hand_of_a_worker_that_dies_is_an_attempt() -> None:
    b = book(frames=1)
    for attempt in range(MAX_ATTEMPTS):
        b.worker_ready(ready(incarnation=f"i{attempt}"))
        assert len(leased(b, attempt)) == 1
        b.worker_ready(ready(incarnation=f"i{attempt}", received=1, held=1))
        b.worker_gone(f"i{attempt}")
    assert [f.seq for f in b.given_up()] == [0]


def test_frames_past_their_deadline_are_named_until_something_is_decided() -> None:
    b = LeaseBook("e", LEASE_MS, deadline_ms=100)
    b.add(frame(0, captured_mono_ns=0))
    b.add(frame(1, captured_mono_ns=50 * MS))
    assert [f.seq for f in b.past_deadline(100 * MS)] == [0]
    b.decide(0, NotInspectedReason.DEADLINE)
    assert b.past_deadline(100 * MS) == []
    assert [(f.seq, reason) for f, reason in b.decided()] == [(0, NotInspectedReason.DEADLINE)]


def test_only_a_frame_that_nobody_works_on_gives_way() -> None:
    b = book(frames=3)
    b.worker_ready(ready(capacity=1))
    leased(b)
    assert b.oldest_waiting() == frame(1)
    b.settle(1)
    b.decide(2, NotInspectedReason.SHUTDOWN)
    assert b.oldest_waiting() is None


def test_a_second_acknowledgement_changes_nothing() -> None:
    b = book(frames=1)
    assert b.settle(0) == (frame(0), None)
    assert b.settle(0) is None


def test_no_frame_is_lost_and_none_leased_twice_at_a_time_over_random_events() -> None:
    """10,000 random events against a simple model: who may hold a frame, and what is left to do."""
    rng, b, now = random.Random(5), LeaseBook("e", LEASE_MS, None), 0
    open_frames: set[int] = set()
    holders: dict[int, str] = {}
    alive = {f"w{n}": f"w{n}.0" for n in range(3)}
    seq = 0
    for _ in range(10_000):
        now += rng.randrange(50 * MS)
        match rng.randrange(5):
            case 0:
                b.add(frame(seq, now))
                open_frames.add(seq)
                seq += 1
            case 1:
                worker = rng.choice(list(alive))
                if rng.random() < 0.1:
                    gone = alive[worker]
                    alive[worker] = f"{worker}.{seq}-{now}"
                    holders = {s: h for s, h in holders.items() if h != gone}
                held = sum(1 for h in holders.values() if h == alive[worker])
                b.worker_ready(ready(worker, alive[worker], capacity=4, received=10**9, held=held))
            case 2 | 3:
                for worker_ready, _, leased_frame in b.next_leases(now):
                    assert leased_frame.seq in open_frames
                    assert leased_frame.seq not in holders
                    holders[leased_frame.seq] = worker_ready.incarnation
            case 4:
                if holders:
                    done = rng.choice(list(holders))
                    del holders[done]
                    open_frames.remove(done)
                    assert b.settle(done) is not None
        if b.take_back(now):
            holders = {s: h for s, h in holders.items() if b._entries[s].holder is not None}
    assert len(b) == len(open_frames)
