"""The ring of a camera when its ingest worker starts: taken over, continued in a file of another size, or new.

Frame ids are unique because a run's numbers go on wherever its ring goes. A run id is used for a new ring only when no
ring of that run can have been there; what an ended run left is put aside and reported.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import structlog

from f2pnet.config import CameraConfig
from f2pnet.errors import F2pError, OutOfResources
from pipeline.frames.ring import FrameRing
from pipeline.frames.ring_file import put_aside
from pipeline.frames.ring_memory import RingGeometry, RingUnreadable, whole_pages
from pipeline.frames.ring_moves import continue_ring
from pipeline.wire.run_id import new_run_id
from pipeline.wire.rundir import RingName, RunDir
from pipeline.workers.camera.left_rings import LeftRing

_log = structlog.get_logger(__name__)


@dataclass
class CameraRing:
    """The ring to capture into, what ended runs left, and what an operator must know of it."""

    ring: FrameRing
    left: list[LeftRing] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def ring_geometry(camera: CameraConfig) -> RingGeometry:
    """How large the camera's ring should be."""
    return RingGeometry(camera.ring_slots, whole_pages(camera.max_frame_mb * 2**20))


def open_camera_ring(run_dir: RunDir, camera: CameraConfig, run_id: str | None) -> CameraRing:
    """`run_id` None: the run that the ring holds goes on, or a new one begins. Raises OutOfResources."""
    name, geometry = run_dir.ring_name(camera.id), ring_geometry(camera)
    faults: list[str] = []
    try:
        old = FrameRing.attach(name)
    except RingUnreadable as error:
        old, run_id = None, new_run_id()
        aside = f"{name}.unreadable-{secrets.token_hex(4)}"
        put_aside(name, aside)
        faults.append(f"{error}; a new run begins, and what it held is unknown; it was put aside as {aside}")
    if old is not None and run_id in (None, old.run_id):
        return CameraRing(_of_size(old, name, geometry, faults), left_rings(run_dir, camera.id), faults)
    if old is not None:
        put_aside(name, run_dir.left_ring(camera.id, old.run_id).file_name)
        old.close()
    left = left_rings(run_dir, camera.id)
    return CameraRing(FrameRing.create(name, geometry, run_id or new_run_id()), left, faults)


def left_rings(run_dir: RunDir, camera_id: str) -> list[LeftRing]:
    """What ended runs of the camera left to be reported."""
    return [left for name in run_dir.rings() if name.camera_id == camera_id and (left := open_left_ring(run_dir, name))]


def open_left_ring(run_dir: RunDir, name: RingName) -> LeftRing | None:
    """The ring of an ended run; None where it is not one, or can't be read."""
    if name.left_by is None:
        return None
    try:
        ring = FrameRing.attach(name.file_name)
    except F2pError as error:
        _log.error("a ring of an ended run can't be read: what it held is unknown", reason=str(error))
        return None
    return None if ring is None else LeftRing(run_dir.line.line, name, ring)


def _of_size(old: FrameRing, name: str, wanted: RingGeometry, faults: list[str]) -> FrameRing:
    """The same ring, in a file of the wanted size."""
    if old.geometry == wanted:
        _log.info("ring taken over", ring=name, held=old.ledger.in_flight)
        return old
    try:
        ring = continue_ring(old.memory, name, wanted)
    except OutOfResources as error:
        size = f"{old.geometry.slots} slots of {old.geometry.slot_bytes >> 20} MB"
        faults.append(f"the frame ring keeps its {size}: {error}")
        return old
    _log.info("ring goes on in another size", ring=name, slots=ring.geometry.slots, held=ring.ledger.in_flight)
    old.close()
    return ring
