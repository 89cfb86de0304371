"""The frame ring: pixels, generations, and a ledger that survives a kill at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from f2pnet.inspection.result import Verdict
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring import FrameRing, RingReader
from pipeline.frames.ring_file import unlink_ring
from pipeline.frames.ring_memory import PLACES, FrameTooLarge, HeldFrame, RingGeometry, StaleFrame
from tests.servers.redis_servers import await_that

GEOMETRY = RingGeometry(slots=4, slot_bytes=64 * 1024)


@pytest.fixture
def name() -> Iterator[str]:
    name = f"f2p-test-{uuid.uuid4().hex[:12]}"
    yield name
    unlink_ring(name)


def picture(value: int, shape: tuple[int, ...] = (40, 30)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def capture(ring: FrameRing, value: int, shape: tuple[int, ...] = (40, 30)) -> HeldFrame:
    slot = ring.write_pixels(picture(value, shape))
    return ring.captured(slot, shape, cursor=value + 1, captured_at_ns=1, captured_mono_ns=2, part_id=f"part-{value}")


def test_a_reader_sees_the_pixels_in_place(name: str) -> None:
    ring = FrameRing.create(name, GEOMETRY, "run")
    frame = capture(ring, 7, (40, 30, 3))
    reader = RingReader(name)
    seen = reader.pixels(frame.slot, frame.generation, frame.shape)
    assert seen.shape == (40, 30, 3)
    assert (seen == 7).all()
    assert not seen.flags.writeable


def test_a_slot_written_again_is_stale_for_whoever_expects_the_old_frame(name: str) -> None:
    ring = FrameRing.create(name, RingGeometry(1, 64 * 1024), "run")
    old = capture(ring, 1)
    ring.settled(old, Verdict.OK)
    capture(ring, 2)
    with pytest.raises(StaleFrame, match="wanted"):
        RingReader(name).pixels(old.slot, old.generation, old.shape)


def test_every_change_keeps_the_ledger_balanced(name: str) -> None:
    ring = FrameRing.create(name, GEOMETRY, "run")
    frames = [capture(ring, value) for value in range(4)]
    ring.settled(frames[0], Verdict.OK)
    ring.settled(frames[1], Verdict.NG)
    ring.settled(frames[2], Verdict.NOT_INSPECTED, NotInspectedReason.DEADLINE)
    ring.dropped(frames[3])
    ring.dropped_on_arrival(cursor=5)
    capture(ring, 5)
    ledger = ring.ledger
    assert (ledger.captured, ledger.ok, ledger.ng, ledger.in_flight) == (6, 1, 1, 1)
    assert ledger.dropped == {"overload": 2}
    assert ledger.not_inspected == {"deadline": 1}
    assert ledger.balanced


def test_a_restarted_worker_finds_its_frames_and_its_place(name: str) -> None:
    ring = FrameRing.create(name, GEOMETRY, "run-1")
    frame = capture(ring, 3)
    ring.decided(frame, NotInspectedReason.DEADLINE)
    ring.close()
    again = FrameRing.attach(name)
    assert again is not None
    (held,) = again.held_frames()
    assert (held.seq, held.shape, held.part_id, held.reason) == (0, (40, 30), "part-3", NotInspectedReason.DEADLINE)
    assert (again.run_id, again.cursor, again.ledger.in_flight) == ("run-1", 4, 1)
    assert (again.pixels(held) == 3).all()


def test_without_an_earlier_worker_there_is_no_ring_to_take_over(name: str) -> None:
    assert FrameRing.attach(name) is None


def test_a_frame_larger_than_a_slot_is_refused_with_the_cure_and_costs_no_slot(name: str) -> None:
    ring = FrameRing.create(name, RingGeometry(1, 4096), "run")
    with pytest.raises(FrameTooLarge, match="max_frame_mb"):
        ring.write_pixels(picture(1, (100, 100)))
    assert ring.has_free_slot


def test_a_shed_frame_frees_its_slot_and_stays_in_the_ledger(name: str) -> None:
    ring = FrameRing.create(name, GEOMETRY, "run")
    frames = [
        ring.captured(
            ring.write_pixels(picture(9)),
            (40, 30),
            cursor=n,
            captured_at_ns=n,
            captured_mono_ns=n,
            part_id=f"part-{n}",
        )
        for n in range(4)
    ]
    assert not ring.has_free_slot
    moved = ring.shed(frames[1], NotInspectedReason.OVERLOAD)
    assert ring.has_free_slot
    assert (moved.seq, moved.part_id, moved.shape, moved.captured_at_ns) == (1, "part-1", (), 1)
    assert ring.ledger.in_flight == 4
    capture(ring, 7)
    ring.close()
    again = FrameRing.attach(name)  # as after a kill
    assert again is not None
    assert [frame.seq for frame in again.held_frames()] == [0, 1, 2, 3, 4]
    (found,) = [frame for frame in again.held_frames() if frame.reason]
    assert found == moved
    again.settled(found, Verdict.NOT_INSPECTED, found.reason)
    assert again.ledger.not_inspected == {"overload": 1}
    assert again.ledger.balanced
    for frame in again.held_frames():
        again.settled(frame, Verdict.OK)
    for _ in range(4):
        capture(again, 3)
    assert not again.has_free_slot


def test_places_without_pixels_are_bounded_and_come_back(name: str) -> None:
    ring, reason = FrameRing.create(name, GEOMETRY, "run"), NotInspectedReason.OVERLOAD
    held = []
    while ring.has_free_place:
        held.append(ring.captured(None, (), cursor=1, captured_at_ns=1, captured_mono_ns=1, reason=reason))
    assert len(held) == PLACES
    assert ring.has_free_slot
    ring.settled(held[0], Verdict.NOT_INSPECTED, reason)
    assert ring.has_free_place
    assert ring.ledger.balanced


def test_a_picture_without_pixels_takes_no_slot_but_a_place_in_the_ledger(name: str) -> None:
    ring = FrameRing.create(name, GEOMETRY, "run")
    reason = NotInspectedReason.UNREADABLE
    for value in range(GEOMETRY.slots):
        capture(ring, value)
    frame = ring.captured(None, (), cursor=1, captured_at_ns=1, captured_mono_ns=2, reason=reason)
    ring.settled(frame, Verdict.NOT_INSPECTED, reason)
    assert ring.ledger.not_inspected == {"unreadable": 1}
    assert ring.ledger.balanced


def _churn(name: str) -> None:
    ring = FrameRing.attach(name)
    assert ring is not None
    value = 0
    while True:
        for frame in ring.held_frames():
            if frame.seq % 3 == 0 and frame.shape:
                ring.shed(frame, NotInspectedReason.OVERLOAD)
            else:
                ring.settled(frame, Verdict.OK if frame.seq % 2 else Verdict.NG)
        while ring.has_free_slot:
            capture(ring, value % 200)
            value += 1
        ring.dropped_on_arrival(cursor=0)


@pytest.mark.timeout(60)
def test_the_ledger_balances_after_a_kill_at_any_moment_and_at_all_times_in_between(name: str) -> None:
    FrameRing.create(name, GEOMETRY, "run").close()
    forked = multiprocessing.get_context("forkserver")  # this process has threads, and can't be forked safely
    forked.set_forkserver_preload([__name__])
    reader, last = RingReader(name), 0
    for attempt in range(25):
        process = forked.Process(target=_churn, args=(name,))
        process.start()
        await_that(lambda last=last: reader.ledger.captured > last)
        until = time.monotonic() + 0.02 + 0.001 * attempt
        while time.monotonic() < until:
            assert reader.ledger.balanced
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(timeout=10)
        ledger = reader.ledger
        assert ledger.balanced, ledger
        assert ledger.captured >= last
        last = ledger.captured
    assert last > 100


def test_a_torn_frame_of_a_killed_writer_never_looks_whole(name: str) -> None:
    ring = FrameRing.create(name, RingGeometry(1, 64 * 1024), "run")
    frame = capture(ring, 1)
    ring.settled(frame, Verdict.OK)
    ring._memory.generations[0] |= np.uint64(1)  # as a writer leaves it that was killed while it wrote
    ring.close()
    with pytest.raises(StaleFrame):
        RingReader(name).check(0, frame.generation)
    again = FrameRing.attach(name)
    assert again is not None
    fresh = capture(again, 2)
    assert fresh.generation > frame.generation
    assert fresh.generation % 2 == 0
    RingReader(name).check(0, fresh.generation)


def test_pages_of_frames_are_taken_only_when_needed(name: str) -> None:
    ring = FrameRing.create(name, RingGeometry(8, 64 * 2**20), "run")
    capture(ring, 1)
    used_bytes = os.stat(f"/dev/shm/{name}").st_blocks * 512  # noqa: S108, PTH116
    assert used_bytes < 2**20
