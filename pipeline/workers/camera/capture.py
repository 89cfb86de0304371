"""From a source into the ring: reads frames, makes room by the camera's policy, and comes back after faults."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import structlog

from f2pnet.backoff import Backoff
from f2pnet.config import CameraConfig
from f2pnet.errors import MissingResource
from f2pnet.text import printable
from pipeline.frames.file_ref import FileRef
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring import FrameRing
from pipeline.frames.ring_memory import FrameTooLarge, HeldFrame, SharedMemoryFull
from pipeline.frames.shared_memory import SHARED_MEMORY
from pipeline.sources import open_source, source_identity
from pipeline.sources.base import BadFrame, Frame, Source, SourceEnded, SourceFault
from pipeline.workers.camera.leases import LeaseBook
from pipeline.workers.wakeup import Wakeup

READ_TIMEOUT_S = 0.2
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 10.0
OVERLOAD_INTERVAL_NS = 10_000_000_000  # what goes on is reported this often; the ledger counts every frame
_log = structlog.get_logger(__name__)


@dataclass
class CameraState:
    """What the capturing thread and the worker's loop share. Whoever changes ring or book holds `lock`."""

    ring: FrameRing
    book: LeaseBook
    lock: threading.Lock = field(default_factory=threading.Lock)
    wakeup: Wakeup = field(default_factory=Wakeup)
    replaced: list[FrameRing] = field(default_factory=list)  # rings that the capturing thread may still write to
    decided_early: deque[HeldFrame] = field(default_factory=deque)  # NOT_INSPECTED from the start, still to be reported
    faults: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=1000))  # (kind, text), to be reported

    def __post_init__(self) -> None:
        self.slot_freed = threading.Condition(self.lock)

    def use(self, ring: FrameRing) -> None:
        """Go on with another ring, which holds the same frames. The lock is held."""
        self.replaced.append(self.ring)
        self.ring = ring
        for frame in ring.held_frames():
            self.book.replace(frame)
        self.slot_freed.notify_all()

    def close_replaced(self) -> None:
        """Let go of rings that are no longer in use; called by the capturing thread, between two frames."""
        with self.lock:
            replaced, self.replaced = self.replaced, []
        for ring in replaced:
            ring.close()


class Capture:
    """Thread that reads one camera. `ended` says when a finite source is through."""

    def __init__(self, camera: CameraConfig, state: CameraState, owner: str) -> None:
        self.ended = False
        self.error: Exception | None = None
        self.camera_away = False
        self.reconnects = 0
        self._silent_from_ns = time.monotonic_ns()
        self._camera = camera
        self._state = state
        self._owner = owner
        self._source: Source | None = None
        self._source_lock = threading.Lock()
        self._refuses_notes = False
        self._unsettled: list[FileRef] = []  # to be passed to the source when it is there
        self._stopping = threading.Event()
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        self._overload_reported_ns = -OVERLOAD_INTERVAL_NS
        self._short_of_memory = False
        self._memory_reported_ns = 0
        self._last_pixels: npt.NDArray[np.uint8] | None = None  # of a camera that is watched for freezing
        self._changed_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"capture-{camera.id}", daemon=True)

    @property
    def silent_s(self) -> float:
        """For how long the source has kept the thread without an answer, in s."""
        return (time.monotonic_ns() - self._silent_from_ns) / 1e9 if self._thread.is_alive() else 0.0

    def start(self) -> None:
        """Begin to read; a second call changes nothing."""
        if self._thread.ident is None and not self._stopping.is_set():
            self._silent_from_ns = time.monotonic_ns()
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stopping.set()
        if self._thread.ident is None:
            self.ended = True

    def settled(self, files: Sequence[FileRef]) -> None:
        """The verdicts of the pictures from these files are durable. For the worker's own thread."""
        with self._source_lock:
            self._unsettled += files
            self._report_settled()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended within the time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and not self.ended:
                self._read_until_fault()
        except Exception as error:  # a bug; the worker's own thread raises it again, where it is seen
            self.error = error
        self.ended = True
        self._state.wakeup.set()

    def _read_until_fault(self) -> None:
        try:
            with self._opened() as source:
                if passed_over := source.resume_after(self._state.ring.last_name):
                    self._report("source", f"camera {self._camera.id}: {passed_over}")
                while not self._stopping.is_set():
                    self._read(source)
        except SourceEnded:
            self.ended = True
        except (SourceFault, MissingResource) as fault:
            if self._camera.source.comes_back:
                self._wait_for_camera(str(fault))
            else:  # a damaged file does not mend itself
                self._report("source", str(fault))
                self.ended = True

    def _start_index(self) -> int:
        """Where to go on in the source: behind the last captured frame, and at the start of another source."""
        ring, source = self._state.ring, source_identity(self._camera.source)
        if ring.source == source:
            return ring.cursor
        if ring.source and not self._camera.source.live:
            self._report("source", f"camera {self._camera.id} has another source now; it is read from its beginning")
        with self._state.lock:
            self._state.ring.begin_source(source, 0)
        return 0

    @contextmanager
    def _opened(self) -> Iterator[Source]:
        """The camera's source. Verdicts that became durable meanwhile are passed to it first."""
        with self._state.lock:
            in_flight = {frame.file.name for frame in self._state.ring.held_frames() if frame.file is not None}
        source = open_source(
            self._camera.source,
            start_index=self._start_index(),
            max_bytes=self._camera.max_frame_mb * 2**20,
            owner=self._owner,
            in_flight=in_flight | {file.name for file in self._unsettled},
        )
        with source:
            with self._source_lock:
                self._source = source
                self._report_settled()
            try:
                yield source
            finally:
                with self._source_lock:
                    self._source = None

    def _report_settled(self) -> None:
        """Under `_source_lock`. What the source can't note now is reported again later."""
        while self._source is not None and self._unsettled:
            try:
                self._source.settled(self._unsettled[0])
            except OSError as error:
                if not self._refuses_notes:
                    name = printable(self._unsettled[0].name)
                    self._report("source", f"{name} is inspected, and that can't be noted: {error.strerror or error}")
                self._refuses_notes = True
                return
            self._refuses_notes = False
            del self._unsettled[0]

    def _wait_for_camera(self, fault: str) -> None:
        if not self.camera_away:
            self.camera_away = True
            self._report("camera", fault)
        self.reconnects += 1
        delay_s = self._backoff.next_delay()
        self._silent_from_ns = time.monotonic_ns() + int(delay_s * 1e9)
        self._stopping.wait(delay_s)

    def _read(self, source: Source) -> None:
        """One turn: room, then a frame."""
        self._silent_from_ns = time.monotonic_ns()
        if self._camera.on_overload == "block" and not self._wait_for_room():
            return
        item = source.read(READ_TIMEOUT_S)
        if item is None:
            return
        self._refuse_frozen(item)
        self._backoff.reset()
        if self.camera_away:
            self.camera_away = False
            self._report("camera", f"camera {self._camera.id} is back")
        self._take(item)
        self._state.wakeup.set()

    def _refuse_frozen(self, item: Frame | BadFrame) -> None:
        """Raise SourceFault when the camera repeats itself: a sensor's noise never does. The frame is still taken."""
        limit_s = self._camera.freeze_s
        if limit_s is None or not self._camera.source.live or isinstance(item, BadFrame):
            return
        same = self._last_pixels is not None and np.array_equal(self._last_pixels, item.image)
        if not same:
            self._last_pixels, self._changed_s = item.image, time.monotonic()
        elif time.monotonic() - self._changed_s > limit_s:
            self._last_pixels = None
            self._take(item)
            raise SourceFault(f"camera {self._camera.id} is frozen: the same picture for {limit_s:g} s; opened anew")

    def _take(self, item: Frame | BadFrame) -> None:
        state, cursor = self._state, item.index + 1
        state.close_replaced()
        now_ns, now_mono_ns = time.time_ns(), time.monotonic_ns()
        captured_mono_ns = now_mono_ns - max(0, now_ns - item.captured_at_ns)
        part_id = item.part_id if isinstance(item, Frame) else None
        ring = state.ring
        if self._make_room(item):
            slot, shape, reason = self._write(ring, item)
        elif part_id is not None and state.ring.has_free_place:
            slot, shape, reason = None, (), NotInspectedReason.OVERLOAD
        else:
            with state.lock:
                state.ring.dropped_on_arrival(cursor=cursor, file=item.file)
            return
        with state.lock:
            if state.ring is not ring:  # it went on in another file while the pixels were written to this one
                slot, shape, reason = self._write(state.ring, item)
            frame = state.ring.captured(
                slot,
                shape,
                cursor=cursor,
                captured_at_ns=item.captured_at_ns,
                captured_mono_ns=captured_mono_ns,
                part_id=part_id,
                reason=reason,
                file=item.file,
            )
            state.book.add(frame)
            if reason is not None:
                state.decided_early.append(frame)

    def _write(
        self, ring: FrameRing, item: Frame | BadFrame
    ) -> tuple[int | None, tuple[int, ...], NotInspectedReason | None]:
        """Slot, shape and, for a picture that can't be inspected, the reason."""
        if isinstance(item, BadFrame):
            if not item.follows:  # else its cause was reported with an earlier one
                self._report("source", f"{_named(item)}: {item.detail}")
            return None, (), NotInspectedReason(item.reason)
        try:
            slot = ring.write_pixels(item.image)
        except FrameTooLarge as error:
            self._report("source", str(error))
            return None, (), NotInspectedReason.FRAME_TOO_LARGE
        except SharedMemoryFull as error:
            self._report_memory(str(error))
            return None, (), NotInspectedReason.NO_MEMORY
        if ring.slots_without_memory or self._short_of_memory:
            self._report_memory(_words_on_memory(ring))
        return slot, item.image.shape, None

    def _make_room(self, item: Frame | BadFrame) -> bool:
        """Whether there is room now, after the policy was applied.

        A dropped frame is counted; one that shows a part is NOT_INSPECTED, and that is reported.
        """
        state = self._state
        with state.lock:
            if state.ring.has_free_slot or (isinstance(item, BadFrame) and state.ring.has_free_place):
                return True
            self._report_overload()
            if self._camera.on_overload == "drop_newest":
                return False
            oldest = state.book.oldest_waiting()
            if oldest is None:
                return False  # all held frames are being worked on: the new one is dropped
            if oldest.part_id is not None and state.ring.has_free_place:
                moved = state.ring.shed(oldest, NotInspectedReason.OVERLOAD)
                state.book.replace(moved)
                state.decided_early.append(moved)
            else:
                state.book.settle(oldest.seq)
                state.ring.dropped(oldest)
            return True

    def _report_overload(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._overload_reported_ns >= OVERLOAD_INTERVAL_NS:
            self._overload_reported_ns = now_ns
            slots = self._state.ring.geometry.slots
            self._report("overload", f"all {slots} slots held: {self._camera.on_overload} sheds frames, see the ledger")

    def _report_memory(self, text: str) -> None:
        """Slots without memory are reported again and again while that lasts, and once when it is over."""
        short, now_ns = self._state.ring.slots_without_memory > 0, time.monotonic_ns()
        if short != self._short_of_memory or (short and now_ns - self._memory_reported_ns >= OVERLOAD_INTERVAL_NS):
            self._short_of_memory, self._memory_reported_ns = short, now_ns
            self._report("memory", text)

    def _wait_for_room(self) -> bool:
        with self._state.slot_freed:
            return self._state.slot_freed.wait_for(lambda: self._state.ring.has_free_slot, READ_TIMEOUT_S)

    def _report(self, kind: str, text: str) -> None:
        _log.warning("capture", camera=self._camera.id, kind=kind, text=text)
        self._state.faults.append((kind, text))
        self._state.wakeup.set()


def _words_on_memory(ring: FrameRing) -> str:
    short, slots = ring.slots_without_memory, ring.geometry.slots
    if not short:
        return f"shared memory is back: all {slots} slots of the ring can be used"
    return (
        f"shared memory is short: {short} of {slots} slots of the ring can't be used, the others are; enlarge "
        f"{SHARED_MEMORY} (containers: --shm-size) or lower the cameras' ring_slots"
    )


def _named(item: BadFrame) -> str:
    """What people call the picture."""
    if item.file is None:
        return f"frame {item.index}"
    return str(item.file.as_result())
