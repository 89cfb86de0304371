"""Batches across cameras, by size or by time."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.workers.batching import Batcher

MS = 1_000_000


@dataclass(frozen=True)
class Item:
    camera_id: str
    number: int = 0


def test_a_full_batch_goes_at_once() -> None:
    batcher: Batcher[Item] = Batcher(max_batch=2, max_wait_ms=100)
    batcher.add(Item("a", 1), 0)
    assert batcher.take(0) == []
    batcher.add(Item("a", 2), 0)
    assert batcher.take(0) == [Item("a", 1), Item("a", 2)]
    assert len(batcher) == 0


def test_an_incomplete_batch_goes_when_its_first_item_has_waited_long_enough() -> None:
    batcher: Batcher[Item] = Batcher(max_batch=4, max_wait_ms=5)
    batcher.add(Item("a"), 0)
    batcher.add(Item("b"), 4 * MS)
    assert batcher.wait_ns(4 * MS) == 1 * MS
    assert batcher.take(5 * MS) == [Item("a"), Item("b")]


def test_nothing_waiting_is_nothing_due() -> None:
    batcher: Batcher[Item] = Batcher(max_batch=4, max_wait_ms=5)
    assert batcher.wait_ns(0) is None
    assert batcher.take(0) == []


def test_a_fast_camera_does_not_push_back_a_slow_one() -> None:
    batcher: Batcher[Item] = Batcher(max_batch=4, max_wait_ms=0)
    for number in range(10):
        batcher.add(Item("fast", number), 0)
    batcher.add(Item("slow"), 0)
    assert Item("slow") in batcher.take(0)
    assert [item.number for item in batcher.take(0)] == [3, 4, 5, 6]


def test_the_order_of_one_camera_is_kept_and_nothing_is_lost() -> None:
    batcher: Batcher[Item] = Batcher(max_batch=3, max_wait_ms=0)
    for number in range(20):
        batcher.add(Item("ab"[number % 2], number), 0)
    taken: list[Item] = []
    while batch := batcher.take(0):
        taken += batch
    assert [i.number for i in taken if i.camera_id == "a"] == list(range(0, 20, 2))
    assert [i.number for i in taken if i.camera_id == "b"] == list(range(1, 20, 2))
