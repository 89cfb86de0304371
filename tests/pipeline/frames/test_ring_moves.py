"""A ring that goes on in another file keeps run, numbers, counters and frames."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from f2pnet.errors import OutOfResources
from f2pnet.inspection.result import Verdict
from pipeline.frames import ring_file, slot_pages
from pipeline.frames.file_ref import FileRef
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring import FrameRing, RingReader
from pipeline.frames.ring_file import unlink_ring
from pipeline.frames.ring_memory import RingGeometry, RingUnreadable
from pipeline.frames.ring_moves import continue_ring
from pipeline.frames.shared_memory import SHARED_MEMORY
from tests.small_disk import fill, mount_small_disk, unmount

GEOMETRY = RingGeometry(slots=4, slot_bytes=64 * 1024)


@pytest.fixture
def name() -> Iterator[str]:
    name = f"f2p-test-{uuid.uuid4().hex[:12]}.ring"
    yield name
    unlink_ring(name)


def capture(ring: FrameRing, value: int, side: int = 40) -> None:
    slot = ring.write_pixels(np.full((side, side), value, np.uint8))
    file = FileRef(f"part{value}.png")
    ring.captured(slot, (side, side), cursor=value + 1, captured_at_ns=value, captured_mono_ns=value, file=file)


def filled(name: str) -> FrameRing:
    """Frames 0 to 5: 0 is OK, 1 is decided, 2 has no pixels; 3 was dropped, 4 and 5 are held."""
    ring = FrameRing.create(name, GEOMETRY, "run-1")
    ring.begin_source("belt", 0)
    for value in range(2):
        capture(ring, value)
    first, second = ring.held_frames()
    ring.settled(first, Verdict.OK)
    ring.decided(second, NotInspectedReason.DEADLINE)
    reason = NotInspectedReason.UNREADABLE
    ring.captured(None, (), cursor=3, captured_at_ns=2, captured_mono_ns=2, reason=reason)
    ring.dropped_on_arrival(cursor=4)
    capture(ring, 4)
    capture(ring, 5)
    return ring


@pytest.mark.parametrize("slots", [2, 3, 4, 9, 500])
@pytest.mark.parametrize("slot_bytes", [4096, 10 * 2**20])
def test_everything_goes_on_in_a_ring_of_another_size(name: str, slots: int, slot_bytes: int) -> None:
    old = filled(name)
    before = old.ledger
    ring = continue_ring(old.memory, name, RingGeometry(slots, slot_bytes))
    assert ring.ring_id != old.ring_id
    assert (ring.run_id, ring.ledger, ring.cursor, ring.source) == ("run-1", before, 6, "belt")
    assert ring.last_name == "part5.png"
    assert ring.version >= old.version
    held = ring.held_frames()
    assert [frame.seq for frame in held] == [1, 2, 4, 5]
    assert [frame.reason for frame in held] == [NotInspectedReason.DEADLINE, NotInspectedReason.UNREADABLE, None, None]
    assert [frame.file.name if frame.file else None for frame in held] == ["part1.png", None, "part4.png", "part5.png"]
    reader = RingReader(name)
    for frame in held:
        if frame.shape:
            assert (reader.pixels(frame.slot, frame.generation, frame.shape) == frame.seq).all()
    for frame in held:
        ring.settled(frame, Verdict.NG)
    capture(ring, 6)
    (newest,) = ring.held_frames()
    assert newest.seq == 6
    assert ring.ledger.balanced


def test_a_reader_tells_that_the_file_it_has_open_is_gone(name: str) -> None:
    old = filled(name)
    reader = RingReader(name)
    assert not reader.is_gone
    (SHARED_MEMORY / name).unlink()
    assert reader.is_gone
    assert not old.has_its_name
    restored = continue_ring(reader.memory, name, GEOMETRY)  # what the supervisor does when the writer died as well
    assert reader.is_gone
    assert restored.ledger == old.ledger
    assert restored.has_its_name


def test_a_run_that_has_not_begun_has_not_begun_after_a_move_either(name: str) -> None:
    old = FrameRing.create(name, GEOMETRY, "run-1")
    old.begin_source("belt", 0)
    assert continue_ring(old.memory, name, RingGeometry(8, 4096)).version == 0


def test_another_source_begins_at_its_start_and_leaves_the_counters_alone(name: str) -> None:
    ring = filled(name)
    before = ring.ledger
    ring.begin_source("other belt", 0)
    assert (ring.source, ring.cursor, ring.last_name, ring.ledger) == ("other belt", 0, "", before)


@pytest.mark.parametrize("content", [b"", b"garbage", b"f2pring\x01" + bytes(200)])
def test_a_file_that_is_no_ring_is_told_from_a_missing_one(name: str, content: bytes) -> None:
    (SHARED_MEMORY / name).write_bytes(content)
    with pytest.raises(RingUnreadable):
        FrameRing.attach(name)


def test_a_truncated_ring_is_unreadable(name: str) -> None:
    filled(name).close()
    path = SHARED_MEMORY / name
    path.write_bytes(path.read_bytes()[: 64 * 1024])
    with pytest.raises(RingUnreadable, match="damaged"):
        RingReader(name)


@pytest.fixture
def small_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Shared memory of 2 MB."""
    folder = tmp_path / "shm"
    if not mount_small_disk(folder, 2):
        pytest.skip("mounting a small disk of its own needs root")
    for module in (ring_file, slot_pages):
        monkeypatch.setattr(module, "SHARED_MEMORY", folder)
    yield folder
    unmount(folder)


def test_slots_without_memory_are_passed_over_and_used_again_when_it_is_back(small_memory: Path) -> None:
    ring = FrameRing.create("a.ring", RingGeometry(8, 2**20), "run")
    clock = [100.0]
    ring._pages = slot_pages.SlotPages(ring.memory, lambda: clock[0])
    for value in range(3):
        capture(ring, value, side=300)  # 90 KB
    ballast = fill(small_memory)
    for value in range(3, 40):  # far more than there are slots: those with memory serve in turn
        ring.settled(ring.held_frames()[0], Verdict.OK)
        capture(ring, value, side=300)
    assert ring.slots_without_memory == 5
    assert not ring.has_free_slot  # three are held, and the others have no memory
    ballast.unlink()
    clock[0] += slot_pages.TRY_AGAIN_S
    assert ring.has_free_slot
    for value in range(40, 45):
        capture(ring, value, side=300)
    assert ring.slots_without_memory == 0
    assert len(ring.held_frames()) == 8


def test_no_memory_at_all_is_no_reason_to_wait(small_memory: Path) -> None:
    ring = FrameRing.create("a.ring", RingGeometry(2, 2**20), "run")
    fill(small_memory)
    for _ in range(3):
        assert ring.has_free_slot  # waiting would not help: the frame is NOT_INSPECTED
        with pytest.raises(slot_pages.SharedMemoryFull, match="--shm-size"):
            ring.write_pixels(np.zeros((500, 500), np.uint8))


def test_a_ring_for_which_there_is_no_room_is_not_begun(small_memory: Path) -> None:
    fill(small_memory)
    with pytest.raises(OutOfResources, match="no space left"):
        FrameRing.create("a.ring", RingGeometry(64, 2**20), "run")
    assert [path.name for path in small_memory.iterdir()] == ["ballast"]
