"""Live pictures, made when somebody looks: the newest judged frame of a camera, read from its ring.

The ring is read without a lock: a picture that was overwritten meanwhile is noticed by its generation and left out.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from f2pnet.config import LineConfig
from f2pnet.redis_keys import LineKeys
from f2pnet.result import InspectionResult
from pipeline.console.store import Store
from pipeline.frames.ring import RingReader
from pipeline.frames.ring_memory import HeldFrame, StaleFrame
from pipeline.wire.rundir import RunDir

WIDTH_PX = 640
QUALITY = 80
FRESH_S = 0.25  # several pages share a picture that is not older
RESULTS_KEPT = 24  # of a camera
RESULTS_FRESH_S = 0.1  # the cameras of a page share what was read
NG_SHOWN_NS = 1_000_000_000  # a defect is shown this long although newer frames are there


@dataclass(frozen=True)
class Preview:
    """A JPEG and the result that it belongs to; `at_s` is monotonic, `width_px` and `height_px` are the frame's."""

    jpeg: bytes
    width_px: int
    height_px: int
    result: InspectionResult
    at_s: float


class Previews:
    """For any thread."""

    def __init__(self, run_dir: RunDir, store: Store) -> None:
        self._run_dir = run_dir
        self._results = _NewestResults(store, run_dir.line)
        self._kept: dict[str, Preview] = {}
        self._making = threading.Lock()

    def of(self, camera_id: str) -> Preview | None:
        """The picture of the moment; None where no frame with a verdict is in reach. Raises StoreAway."""
        with self._making:
            kept = self._kept.get(camera_id)
            if kept is not None and time.monotonic() - kept.at_s < FRESH_S:
                return kept
            made = self._made(camera_id)
            if made is None:
                return kept
            self._kept[camera_id] = made
            return made

    def _made(self, camera_id: str) -> Preview | None:
        results = self._results.of(camera_id)
        try:
            reader = RingReader(self._run_dir.ring_name(camera_id))
        except StaleFrame:
            return None
        try:
            frames = {frame.seq: frame for frame in reader.readable_frames()}
            for entry in _in_order_of_interest(results, reader.run_id):
                frame = frames.get(entry.seq)
                picture = None if frame is None else _copy(reader, frame)
                if frame is not None and picture is not None:
                    height, width = frame.shape[:2]
                    result = InspectionResult.from_json(entry.data)
                    return Preview(_encoded(picture, result), width, height, result, time.monotonic())
            return None
        finally:
            reader.close()


class _Entry(NamedTuple):
    """A stored result, its JSON not yet read: of a page's worth of them one is shown."""

    run_id: str
    seq: int
    verdict: bytes
    captured_at_ns: int
    data: bytes

    @classmethod
    def of(cls, fields: dict[str, bytes]) -> _Entry:
        _, run_id, seq = fields["frame_id"].decode().split("/")
        return cls(run_id, int(seq), fields["verdict"], int(fields["captured_at_ns"]), fields["data"])


class _NewestResults:
    """The newest results of each camera. Each is read from the store once, whatever the number of cameras and pages."""

    def __init__(self, store: Store, line: LineConfig) -> None:
        self._store = store
        self._stream = LineKeys(line.line).results
        self._read_at_once = RESULTS_KEPT * len(line.cameras)
        self._of: dict[str, deque[_Entry]] = defaultdict(lambda: deque(maxlen=RESULTS_KEPT))  # newest first
        self._seen = "-"  # id of the newest one read
        self._at_s = -RESULTS_FRESH_S

    def of(self, camera_id: str) -> Sequence[_Entry]:
        """Newest first. Raises StoreAway."""
        if time.monotonic() - self._at_s >= RESULTS_FRESH_S:
            entries = self._store.entries(["XREVRANGE", self._stream, "+", self._seen, "COUNT", self._read_at_once])
            for name, fields in reversed(entries):
                self._of[fields["camera_id"].decode()].appendleft(_Entry.of(fields))
                self._seen = f"({name}"
            self._at_s = time.monotonic()
        return self._of[camera_id]


def _in_order_of_interest(entries: Sequence[_Entry], run_id: str) -> list[_Entry]:
    """A defect of the last second first, then newest first; only of this run and with pixels."""
    now_ns = time.time_ns()
    usable = [entry for entry in entries if entry.verdict in (b"OK", b"NG") and entry.run_id == run_id]
    recent = [entry for entry in usable if entry.verdict == b"NG" and now_ns - entry.captured_at_ns < NG_SHOWN_NS]
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
    return small if small.ndim == 3 else np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8)


def _encoded(picture: npt.NDArray[np.uint8], result: InspectionResult) -> bytes:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"{result.frame_id}: a picture of {picture.shape} can't be made a JPEG")
    return data.tobytes()
