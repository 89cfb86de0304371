"""The thread that reads a camera, on a real ring: what a full ring, exhausted memory and an ended source do."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from f2pnet.config import CameraConfig
from f2pnet.inspection.result import Verdict
from pipeline.frames.ring import FrameRing
from pipeline.frames.ring_file import unlink_ring
from pipeline.frames.ring_memory import RingGeometry
from pipeline.workers.camera.capture import CameraState, Capture
from pipeline.workers.camera.leases import LeaseBook
from tests.pipeline.harness import write_pictures

PICTURES = 6
SLOTS = 2
PATIENCE_S = 30.0


@pytest.fixture
def ring() -> Iterator[FrameRing]:
    name = f"f2p-test-{uuid.uuid4().hex[:12]}.ring"
    ring = FrameRing.create(name, RingGeometry(slots=SLOTS, slot_bytes=64 * 1024), "run-1")
    yield ring
    ring.close()
    unlink_ring(name)


def camera(folder: Path, **options: object) -> CameraConfig:
    source = {"kind": "folder", "path": str(write_pictures(folder / "parts", PICTURES))}
    return CameraConfig.model_validate({"id": "cam1", "source": source, "ring_slots": SLOTS, **options})


def state_of(ring: FrameRing) -> CameraState:
    return CameraState(ring, LeaseBook("epoch", 1000, None))


def await_end(capture: Capture) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not capture.ended and time.monotonic() < until_s:
        time.sleep(0.01)
    assert capture.ended
    assert capture.error is None


def read_all(camera: CameraConfig, state: CameraState) -> None:
    """Let the thread read its source to the end, while nobody takes a frame."""
    capture = Capture(camera, state, "test")
    capture.start()
    await_end(capture)
    assert capture.join(PATIENCE_S)


def numbers(ring: FrameRing) -> list[int]:
    return [frame.seq for frame in ring.held_frames()]


@pytest.mark.parametrize(("policy", "kept"), [("drop_newest", [0, 1]), ("drop_oldest", [4, 5])])
def test_a_full_ring_drops_by_the_policy_and_counts_each_frame(
    ring: FrameRing, tmp_path: Path, policy: str, kept: list[int]
) -> None:
    read_all(camera(tmp_path, on_overload=policy), state_of(ring))
    assert numbers(ring) == kept
    assert (ring.ledger.captured, dict(ring.ledger.dropped)) == (PICTURES, {"overload": PICTURES - SLOTS})
    assert ring.ledger.balanced


def test_a_source_that_may_be_paused_waits_for_a_free_slot(ring: FrameRing, tmp_path: Path) -> None:
    state = state_of(ring)
    capture = Capture(camera(tmp_path, on_overload="block"), state, "test")
    capture.start()
    settled = []
    until_s = time.monotonic() + PATIENCE_S
    while len(settled) < PICTURES and time.monotonic() < until_s:
        with state.lock:
            for frame in ring.held_frames():
                state.book.settle(frame.seq)
                ring.settled(frame, Verdict.OK)
                settled.append(frame.seq)
            state.slot_freed.notify_all()
        time.sleep(0.01)
    await_end(capture)
    assert settled == list(range(PICTURES))
    assert (ring.ledger.ok, ring.ledger.dropped) == (PICTURES, {})


def test_exhausted_shared_memory_makes_frames_not_inspected_and_is_a_fault(
    ring: FrameRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipeline.frames.slot_pages.os.posix_fallocate", refuse)
    state = state_of(ring)
    read_all(camera(tmp_path, on_overload="drop_oldest"), state)
    assert {frame.reason.value for frame in ring.held_frames() if frame.reason} == {"no_memory"}
    assert ring.ledger.captured == PICTURES
    assert ring.ledger.balanced
    assert any("no room for a frame" in text for _, text in state.faults)
