"""Batches across cameras, by size or by time."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.workers.inference.batch_times import BatchTimes
from pipeline.workers.inference.batching import Batcher

MS = 1_000_000
FRAME_MS = 10.0


@dataclass(frozen=True)
class Item:
    camera_id: str
    number: int = 0
    deadline_ns: int | None = None


def batcher_of(max_batch: int, max_wait_ms: float = 0) -> Batcher[Item]:
    return Batcher(max_batch, max_wait_ms, BatchTimes({1: FRAME_MS}))


def test_a_full_batch_goes_at_once() -> None:
    batcher = batcher_of(max_batch=2, max_wait_ms=100)
    batcher.add(Item("a", 1), 0)
    assert batcher.take(0) == []
    batcher.add(Item("a", 2), 0)
    assert batcher.take(0) == [Item("a", 1), Item("a", 2)]
    assert len(batcher) == 0


def test_an_incomplete_batch_goes_when_its_first_item_has_waited_long_enough() -> None:
    batcher = batcher_of(max_batch=4, max_wait_ms=5)
    batcher.add(Item("a"), 0)
    batcher.add(Item("b"), 4 * MS)
    assert batcher.wait_ns(4 * MS) == 1 * MS
    assert batcher.take(5 * MS) == [Item("a"), Item("b")]


def test_nothing_waiting_is_nothing_due() -> None:
    batcher = batcher_of(max_batch=4, max_wait_ms=5)
    assert batcher.wait_ns(0) is None
    assert batcher.take(0) == []


def test_a_fast_camera_does_not_push_back_a_slow_one() -> None:
    batcher = batcher_of(max_batch=4, max_wait_ms=0)
    for number in range(10):
        batcher.add(Item("fast", number), 0)
    batcher.add(Item("slow"), 0)
    assert Item("slow") in batcher.take(0)
    assert [item.number for item in batcher.take(0)] == [3, 4, 5, 6]


def test_the_order_of_one_camera_is_kept_and_nothing_is_lost() -> None:
    batcher = batcher_of(max_batch=3, max_wait_ms=0)
    for number in range(20):
        batcher.add(Item("ab"[number % 2], number), 0)
    taken: list[Item] = []
    while batch := batcher.take(0):
        taken += batch
    assert [i.number for i in taken if i.camera_id == "a"] == list(range(0, 20, 2))
    assert [i.number for i in taken if i.camera_id == "b"] == list(range(1, 20, 2))


def test_what_can_all_be_done_in_time_goes_in_order() -> None:
    batcher = batcher_of(max_batch=2)
    for number in range(4):
        batcher.add(Item("a", number, deadline_ns=(100 + number) * MS), 0)
    assert [item.number for item in batcher.take(0)] == [0, 1]


def test_when_not_all_can_be_done_in_time_the_newest_of_each_camera_goes_first() -> None:
    batcher = batcher_of(max_batch=2)
    for number in range(8):
        batcher.add(Item("ab"[number % 2], number, deadline_ns=(30 + 5 * number) * MS), 0)
    assert [item.number for item in batcher.take(0)] == [6, 7]


def test_a_batch_is_no_greater_than_what_is_done_before_its_most_urgent_deadline() -> None:
    batcher = batcher_of(max_batch=8)
    for number in range(8):
        batcher.add(Item(f"cam{number}", number, deadline_ns=40 * MS), 0)
    assert len(batcher.take(0)) == 3  # 3 x 10 ms x 1.25 < 40 ms
    assert len(batcher) == 5


def test_a_frame_that_can_t_be_done_in_time_gives_its_place_to_one_that_can() -> None:
    batcher = batcher_of(max_batch=1)
    batcher.add(Item("a", 0, deadline_ns=5 * MS), 0)
    batcher.add(Item("b", 1, deadline_ns=50 * MS), 0)
    assert [item.number for item in batcher.take(0)] == [1]


def test_an_engine_that_seems_too_slow_for_every_frame_is_tried_with_one() -> None:
    batcher = batcher_of(max_batch=4)
    for number in range(4):
        batcher.add(Item("a", number, deadline_ns=(1 + number) * MS), 0)
    assert [item.number for item in batcher.take(0)] == [3]


def test_late_frames_wait_no_longer() -> None:
    batcher = batcher_of(max_batch=4)
    for number in range(4):
        batcher.add(Item("ab"[number % 2], number, deadline_ns=number * MS), 0)
    batcher.add(Item("c", 4), 0)
    assert {item.number for item in batcher.take_late(1 * MS)} == {0, 1}
    assert len(batcher) == 3
    assert batcher.take_late(1 * MS) == []


def test_frames_without_a_deadline_have_their_turn_beside_a_camera_that_is_always_too_much() -> None:
    batcher = batcher_of(max_batch=1)
    batcher.add(Item("patient", 0), 0)
    now_ns, taken = 0, []
    for number in range(10):
        for _ in range(4):
            batcher.add(Item("urgent", number, deadline_ns=now_ns + 20 * MS), now_ns)
        taken += batcher.take(now_ns)
        now_ns += int(FRAME_MS * MS)
        batcher.take_late(now_ns)
    assert "patient" in [item.camera_id for item in taken[:2]]


def test_an_overloaded_engine_does_as_many_frames_in_time_as_it_can() -> None:
    """Eight cameras of 10 fps on an engine for 40: a simulation, whose best is 40 frames a second."""
    batcher: Batcher[Item] = Batcher(8, 0, BatchTimes({1: 25.0}))
    now_ns = in_time = done = 0
    phases_ms = [13 * camera % 100 for camera in range(8)]
    given = [0] * 8
    while now_ns < 20_000 * MS:
        for camera, phase_ms in enumerate(phases_ms):
            while (captured_ns := (phase_ms + 100 * given[camera]) * MS) <= now_ns:
                given[camera] += 1
                batcher.add(Item(f"cam{camera}", given[camera], deadline_ns=captured_ns + 250 * MS), now_ns)
        batcher.take_late(now_ns)
        batch = batcher.take(now_ns)
        now_ns += int(25 * MS * len(batch)) or MS
        in_time += sum(1 for item in batch if item.deadline_ns is not None and item.deadline_ns > now_ns)
        done += len(batch)
    assert done / 20 > 38
    assert in_time == done
