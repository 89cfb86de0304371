"""Leasing without I/O: who gets which frame, and what happens when a worker goes."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring_memory import HeldFrame
from pipeline.wire.messages import Ready
from pipeline.workers.camera.leases import MAX_ANSWERS, MAX_ATTEMPTS, NOT_STORED_RETRY_NS, LeaseBook, within_reason

MS = 1_000_000
LEASE_MS = 1_000


def frame(seq: int, captured_mono_ns: int = 0) -> HeldFrame:
    return HeldFrame(slot=seq, generation=2, seq=seq, captured_at_ns=0, captured_mono_ns=captured_mono_ns, shape=(4, 4))


def ready(
    worker: str = "infer-0", incarnation: str = "a", capacity: int = 2, received: int = 0, held: int = 0, **more: Any
) -> Ready:
    """`held`: how many of the last leases that it received it still holds."""
    times = {"at_mono_ns": 0, "frame_ms": 1.0, "batch_ms": 1.0, "backlog_ms": 0.0, "inline": False} | more
    holding = [*range(received - held + 1, received + 1)]
    rest = {"epoch": "e", "received": received, "holding": holding, "capacity": capacity, **times}
    return Ready(worker=worker, incarnation=incarnation, **rest)


def book(frames: int = 4, deadline_ms: float | None = None) -> LeaseBook:
    book = LeaseBook("e", LEASE_MS, deadline_ms)
    for seq in range(frames):
        book.add(frame(seq))
    return book


def leased(book: LeaseBook, now_ns: int = 0) -> list[tuple[str, int]]:
    return [(grant.worker.incarnation, grant.frame.seq) for grant in book.next_leases(now_ns)]


def test_frames_go_out_in_order_to_a_worker_with_room() -> None:
    b = book()
    b.worker_ready(ready(capacity=3), 0)
    assert leased(b) == [("a", 0), ("a", 1), ("a", 2)]
    assert leased(b) == []


def test_room_comes_back_with_what_the_worker_says_it_holds() -> None:
    b = book()
    b.worker_ready(ready(capacity=2), 0)
    leased(b)
    b.worker_ready(ready(capacity=2, received=2, held=2), 0)
    assert leased(b) == []
    b.worker_ready(ready(capacity=2, received=2, held=1), 0)
    assert leased(b) == [("a", 2)]


def test_a_message_sent_before_the_last_leases_arrived_gives_no_room_twice() -> None:
    b = book()
    b.worker_ready(ready(capacity=2), 0)
    leased(b)
    b.worker_ready(ready(capacity=2, received=0, held=0), 0)  # crossed the leases on its way
    assert leased(b) == []


def test_workers_take_turns() -> None:
    b = book()
    b.worker_ready(ready("infer-0", "a"), 0)
    b.worker_ready(ready("infer-1", "b"), 0)
    assert leased(b) == [("a", 0), ("b", 1), ("a", 2), ("b", 3)]


def test_a_dead_worker_s_frames_go_to_another_one_first_in_line() -> None:
    b = book()
    b.worker_ready(ready("infer-0", "a"), 0)
    leased(b)
    b.worker_gone("a")
    b.worker_ready(ready("infer-1", "b", capacity=4), 0)
    assert leased(b) == [("b", 0), ("b", 1), ("b", 2), ("b", 3)]


def test_a_new_incarnation_of_a_worker_voids_the_old_one_s_leases_at_once() -> None:
    b = book(frames=2)
    b.worker_ready(ready("infer-0", "a"), 0)
    leased(b)
    b.worker_ready(ready("infer-0", "a2"), 0)
    assert leased(b, 1) == [("a2", 0), ("a2", 1)]


def test_a_lease_that_takes_too_long_goes_to_another_worker() -> None:
    b = book(frames=1)
    b.worker_ready(ready("infer-0", "a"), 0)
    leased(b)
    b.worker_ready(ready("infer-1", "b"), 0)
    assert b.take_back(LEASE_MS * MS - 1) == 0
    assert b.take_back(LEASE_MS * MS) == 1
    assert leased(b, LEASE_MS * MS) == [("b", 0)]


def test_a_lease_that_never_arrived_does_not_block_room_for_ever() -> None:
    b = book(frames=3)
    b.worker_ready(ready(capacity=1), 0)
    assert leased(b) == [("a", 0)]
    b.take_back(LEASE_MS * MS)
    b.worker_ready(ready(capacity=1, received=0, held=0), 0)
    assert leased(b, LEASE_MS * MS) == [("a", 0)]


def test_a_silent_worker_does_not_use_up_a_frame_s_attempts() -> None:
    b = book(frames=1)
    b.worker_ready(ready("infer-0", "hung"), 0)
    leased(b)
    b.take_back(LEASE_MS * MS)
    assert leased(b, LEASE_MS * MS) == []
    b.worker_ready(ready("infer-0", "hung"), 0)  # it was only slow
    assert leased(b, LEASE_MS * MS) == [("hung", 0)]


def test_a_lease_grows_with_the_engine_s_time() -> None:
    b = book(frames=1)
    b.worker_ready(ready(batch_ms=10_000.0), 0)
    leased(b)
    assert b.take_back(20_000 * MS) == 0
    assert b.take_back(50_000 * MS) == 1


def test_a_lease_waits_for_what_lay_before_it_in_the_worker_s_hand() -> None:
    b = book(frames=1)
    b.worker_ready(ready(capacity=1), 0)
    leased(b)
    b.worker_ready(ready(received=1, held=1, backlog_ms=3_000.0), 0)  # of other cameras, told after the lease was given
    assert b.take_back(3_000 * MS) == 0
    assert b.take_back(3_005 * MS) == 1


def with_deadline(captured_ms: list[int], deadline_ms: float = 100) -> LeaseBook:
    book = LeaseBook("e", LEASE_MS, deadline_ms)
    for seq, captured in enumerate(captured_ms):
        book.add(frame(seq, captured_mono_ns=captured * MS))
    return book


def test_with_room_for_all_frames_go_out_in_order_also_where_they_have_a_deadline() -> None:
    b = with_deadline([0, 10, 20])
    b.worker_ready(ready(capacity=3), 0)
    assert leased(b, 30 * MS) == [("a", 0), ("a", 1), ("a", 2)]


def test_without_room_for_all_the_newest_go_first() -> None:
    b = with_deadline([0, 10, 20, 30])
    b.worker_ready(ready(capacity=2), 0)
    assert leased(b, 40 * MS) == [("a", 3), ("a", 2)]


def test_a_frame_that_no_engine_can_do_in_time_is_not_lent() -> None:
    b = with_deadline([0, 50, 60])
    b.worker_ready(ready(capacity=3, frame_ms=50.0), 0)
    assert leased(b, 60 * MS) == [("a", 1), ("a", 2)]
    assert [f.seq for f in b.past_deadline(99 * MS)] == []
    assert [f.seq for f in b.past_deadline(100 * MS)] == [0]


def test_the_newest_frame_is_tried_whatever_the_worker_said_of_its_engine() -> None:
    b = with_deadline([0, 10])
    b.worker_ready(ready(capacity=2, frame_ms=10_000.0), 0)
    assert leased(b, 20 * MS) == [("a", 1)]


def test_a_worker_without_the_camera_s_memory_is_told_the_deadline_in_its_own_clock() -> None:
    b = with_deadline([0])
    b.worker_ready(ready(inline=True, at_mono_ns=1_000_000 * MS), 20 * MS)  # it said so at the camera's 20 ms
    (grant,) = b.next_leases(30 * MS)
    assert grant.deadline_mono_ns == (1_000_000 + 80) * MS


def test_a_worker_on_the_camera_s_host_has_its_clock() -> None:
    b = with_deadline([0])
    b.worker_ready(ready(at_mono_ns=15 * MS), 20 * MS)
    (grant,) = b.next_leases(30 * MS)
    assert grant.deadline_mono_ns == 100 * MS


def test_a_frame_that_ends_every_lease_is_given_up() -> None:
    b = book(frames=1)
    for attempt in range(MAX_ATTEMPTS):
        b.worker_ready(ready(incarnation=f"i{attempt}"), 0)
        assert len(leased(b, attempt)) == 1
        assert b.given_up() == []
        b.worker_gone(f"i{attempt}")
    assert [f.seq for f in b.given_up()] == [0]
    b.worker_ready(ready(incarnation="last"), 0)
    assert leased(b, 9) == []


def test_a_verdict_that_no_disk_takes_is_no_attempt_and_is_made_again_soon() -> None:
    b, now = book(frames=1), 0
    for _ in range(10 * MAX_ATTEMPTS):
        b.worker_ready(ready(received=10**9), 0)
        assert len(leased(b, now)) == 1
        b.not_stored([0, 77], now)
        b.not_stored([0], now)  # said twice
        assert b.take_back(now + min(LEASE_MS * MS, NOT_STORED_RETRY_NS) - 1) == 0
        now += NOT_STORED_RETRY_NS
        assert b.take_back(now) == 1
        assert b.given_up() == []
    b.not_stored([0], now)  # too late to be about a lease
    for attempt in range(MAX_ATTEMPTS):
        b.worker_ready(ready(incarnation=f"i{attempt}"), 0)
        assert len(leased(b, now)) == 1
        b.worker_gone(f"i{attempt}")
    assert [f.seq for f in b.given_up()] == [0]


def test_a_verdict_that_is_lost_on_the_way_is_no_attempt() -> None:
    """The worker is well and holds nothing, and yet nobody acknowledges: the publish worker must have died."""
    b, now = book(frames=1), 0
    for round_ in range(1, 5 * MAX_ATTEMPTS):
        b.worker_ready(ready(received=round_ - 1), 0)
        assert len(leased(b, now)) == 1
        b.worker_ready(ready(received=round_, held=0), 0)
        now += LEASE_MS * MS
        assert b.take_back(now) == 1
        assert b.given_up() == []


def test_a_frame_whose_answers_are_never_stored_is_given_up_at_last() -> None:
    b, now, rounds = book(frames=1), 0, 0
    while not b.given_up():
        rounds += 1
        b.worker_ready(ready(received=10**9), 0)
        assert len(leased(b, now)) == 1
        b.not_stored([0], now)
        now += LEASE_MS * MS
        b.take_back(now)
    assert rounds == MAX_ANSWERS + MAX_ATTEMPTS


def test_a_frame_in_hand_of_a_worker_that_dies_is_an_attempt() -> None:
    b = book(frames=1)
    for attempt in range(MAX_ATTEMPTS):
        b.worker_ready(ready(incarnation=f"i{attempt}"), 0)
        assert len(leased(b, attempt)) == 1
        b.worker_ready(ready(incarnation=f"i{attempt}", received=1, held=1), 0)
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
    b.worker_ready(ready(capacity=1), 0)
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
                b.worker_ready(ready(worker, alive[worker], capacity=4, received=10**9, held=held), 0)
            case 2 | 3:
                for grant in b.next_leases(now):
                    assert grant.frame.seq in open_frames
                    assert grant.frame.seq not in holders
                    holders[grant.frame.seq] = grant.worker.incarnation
            case 4:
                if holders:
                    done = rng.choice(list(holders))
                    del holders[done]
                    open_frames.remove(done)
                    assert b.settle(done) is not None
        if b.take_back(now):
            holders = {s: h for s, h in holders.items() if b._entries[s].holder is not None}
    assert len(b) == len(open_frames)


@pytest.mark.parametrize(
    "lie",
    [
        {"capacity": 10**9},
        {"held": -(10**9)},
        {"received": -1},
        {"batch_ms": 1e300, "backlog_ms": math.inf},
        {"frame_ms": math.nan, "batch_ms": -math.inf},
        {"at_mono_ns": -(2**62), "inline": True},
        {"at_mono_ns": 2**63 - 1, "inline": True},
    ],
)
def test_what_a_worker_says_of_itself_is_bounded(lie: dict[str, Any]) -> None:
    b = book(frames=20, deadline_ms=1000)
    b.worker_ready(within_reason(ready(**lie), most=4), 0)
    grants = list(b.next_leases(0))
    assert len(grants) <= 4
    for grant in grants:
        assert grant.deadline_mono_ns is None or abs(grant.deadline_mono_ns) < 2**63
    due_ns = b.next_due_ns()
    assert due_ns is None or due_ns <= 7 * 60 * 1000 * MS
    assert b.take_back(7 * 60 * 1000 * MS) == len(grants)


def test_a_worker_that_says_the_truth_is_taken_at_its_word() -> None:
    honest = ready(capacity=4, received=17, held=2, frame_ms=20.0, batch_ms=70.0, backlog_ms=35.0, at_mono_ns=99)
    assert within_reason(honest, most=4) == honest


def test_silent_workers_are_named_and_known_again_with_their_count_of_leases() -> None:
    b = book()
    b.worker_ready(ready(capacity=2), 0)
    assert leased(b) == [("a", 0), ("a", 1)]
    assert b.silent_workers(0) == []
    assert [worker.incarnation for worker in b.silent_workers(1)] == ["a"]
    b.worker_gone("a")
    b.worker_ready(ready(capacity=2, received=2), 5)
    assert [(grant.number, grant.frame.seq) for grant in b.next_leases(5)] == [(3, 0), (4, 1)]
    assert leased(b, 5) == []  # both are on their way
