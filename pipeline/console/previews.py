"""Live pictures, made when somebody looks: the newest judged frame of a camera, read from its ring.

The ring is read without a lock: a picture that was overwritten meanwhile is noticed by its generation and left out.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from f2pnet.alerts.stream import RESULT_VERDICTS, StreamEntry
from f2pnet.errors import F2pError
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.pictures.writing import encode_picture
from f2pnet.redis.keys import LineKeys
from pipeline.console.store import Store, StreamTail
from pipeline.frames.ring import RingReader
from pipeline.frames.ring_memory import HeldFrame, StaleFrame
from pipeline.wire.rundir import RunDir

WIDTH_PX = 640
QUALITY = 80
RESULTS_KEPT = 24  # of a camera
NG_SHOWN_NS = 1_000_000_000  # a defect is shown this long although newer frames are there


@dataclass(frozen=True)
class Preview:
    """A JPEG and the result that it belongs to; `width_px` and `height_px` are the frame's."""

    jpeg: bytes
    width_px: int
    height_px: int
    result: InspectionResult


class Previews:
    """For one thread at a time, but for `use`."""

    def __init__(self, run_dir: RunDir, store: Store) -> None:
        self._store = store
        self._next = run_dir
        self._last: dict[str, Preview] = {}
        self._turn()

    def use(self, run_dir: RunDir) -> None:
        """Look at these cameras from the next time on."""
        self._next = run_dir

    def _turn(self) -> None:
        self._run_dir = self._next
        cameras = {camera.id for camera in self._run_dir.line.cameras}
        stream = LineKeys(self._run_dir.line.line).results
        self._tail = StreamTail(self._store, stream, RESULT_VERDICTS, RESULTS_KEPT * len(cameras))
        self._results: dict[str, deque[StreamEntry]] = defaultdict(lambda: deque(maxlen=RESULTS_KEPT))  # newest first
        self._last = {camera_id: last for camera_id, last in self._last.items() if camera_id in cameras}

    def newest(self) -> dict[str, Preview]:
        """By camera; none of a camera of which no frame with a verdict was in reach yet. Raises StoreAway."""
        if self._next is not self._run_dir:
            self._turn()
        known = {camera.id for camera in self._run_dir.line.cameras}
        for entry in self._tail.news():
            if entry.camera_id in known:
                self._results[entry.camera_id].appendleft(entry)
        for camera in self._run_dir.line.cameras:
            if made := self._made(camera.id):
                self._last[camera.id] = made
        return self._last

    def _made(self, camera_id: str) -> Preview | None:
        try:
            reader = RingReader(self._run_dir.ring_name(camera_id))
        except F2pError:  # not made yet, just replaced, or no descriptor to open it with
            return None
        try:
            frames = {frame.seq: frame for frame in reader.readable_frames()}
            last = self._last.get(camera_id)
            for entry in _in_order_of_interest(self._results[camera_id], reader.run_id):
                if last is not None and str(entry.frame) == last.result.frame_id:
                    return last
                frame = None if entry.frame is None else frames.get(entry.frame.seq)
                picture = None if frame is None else _copy(reader, frame)
                if frame is not None and picture is not None:
                    height, width = frame.shape[:2]
                    return Preview(_encoded(picture, entry.result), width, height, entry.result)
            return None
        except F2pError:  # somebody cut the ring, or its writer never pauses
            return None
        finally:
            reader.close()


def _in_order_of_interest(entries: Iterable[StreamEntry], run_id: str) -> list[StreamEntry]:
    """A defect of the last second first, then newest first; only of this run and with pixels."""
    now_ns = time.time_ns()
    judged = [entry for entry in entries if entry.verdict in (Verdict.OK, Verdict.NG)]
    usable = [entry for entry in judged if entry.frame is not None and entry.frame.run_id == run_id]
    recent = [entry for entry in usable if entry.verdict is Verdict.NG and now_ns - entry.captured_at_ns < NG_SHOWN_NS]
    return [*recent[:1], *usable]


def _copy(reader: RingReader, frame: HeldFrame) -> npt.NDArray[np.uint8] | None:
    try:
        pixels = reader.pixels(frame.slot, frame.generation, frame.shape)
        height, width = pixels.shape[:2]
        scale = min(1.0, WIDTH_PX / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.array(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        reader.check(frame.slot, frame.generation)
    except StaleFrame:
        return None
    return small


def _encoded(picture: npt.NDArray[np.uint8], result: InspectionResult) -> bytes:
    return encode_picture(picture, ".jpg", QUALITY)[0]
