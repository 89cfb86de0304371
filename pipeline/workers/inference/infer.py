"""The inference worker: asks every camera for frames, inspects them in batches, hands the verdicts on.

Work is pulled: a camera leases only what the worker says it has room for, so a slow worker is never buried, and workers
come and go at any time. A frame is read in place, from the camera's shared memory.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from f2pnet.config import LineConfig
from f2pnet.errors import F2pError, OutOfResources
from f2pnet.inspection.inspector import Inspector
from f2pnet.inspection.recipe import Recipe
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.pictures.writing import PictureNotWritten, encode_picture
from pipeline.configuration.active_config import ActiveConfig
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring_memory import StaleFrame
from pipeline.wire.faults import FaultOutbox, new_fault
from pipeline.wire.messages import Bye, FaultAcks, Heartbeat, Judged, Lease, Ready, Returned, Verdicts
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link, Poller
from pipeline.workers.inference.batch_times import BatchTimes
from pipeline.workers.inference.batching import Batcher
from pipeline.workers.inference.ring_views import RingViews
from pipeline.workers.worker import Role, Worker

LONGEST_WAIT_NS = 50_000_000
LEASES_QUEUED = 1_024
BYE_LINGER_MS = 100  # a camera that is gone needs no farewell; one that lives gets it at once
CONNECT_INTERVAL_NS = 1_000_000_000
READY_INTERVAL_NS = 100_000_000
EVIDENCE_JPEG_QUALITY = 90
RINGS_TOLD = 16
Image = npt.NDArray[np.uint8]
_log = structlog.get_logger(__name__)


@dataclass
class _Work:
    """A leased frame in hand."""

    lease: Lease
    pixels: bytes | None  # None: in the camera's ring

    @property
    def camera_id(self) -> str:
        return self.lease.camera_id

    @property
    def deadline_ns(self) -> int | None:
        return self.lease.deadline_mono_ns


class _Camera:
    """What this worker knows of one camera: its link, its ring, and how many of its frames are in hand."""

    def __init__(self, camera_id: str, link: Link) -> None:
        self.id = camera_id
        self.link = link
        self.epoch = ""
        self.received = 0
        self.held = 0
        self.ready_due_ns = 0
        self.rings = RingViews()
        self.told_ring_ids: deque[str] = deque(maxlen=RINGS_TOLD)  # of rings whose absence was reported

    def heard(self, lease: Lease) -> None:
        if lease.epoch != self.epoch:
            self.epoch, self.received = lease.epoch, 0
        self.received = max(self.received, lease.number)
        self.held += 1

    def image(self, work: _Work) -> Image:
        """The frame's pixels. Raises StaleFrame, RingMissing, RingUnreadable or OutOfResources."""
        lease = work.lease
        if work.pixels is not None:
            try:
                return np.frombuffer(work.pixels, np.uint8).reshape(lease.shape)
            except ValueError as error:  # a peer that says one size and sends another
                raise StaleFrame(f"{lease.frame_id}: {len(work.pixels)} bytes for a shape of {lease.shape}") from error
        return self.rings.pixels(lease)

    def check(self, work: _Work) -> None:
        """Raise StaleFrame when the picture changed while it was looked at."""
        if work.pixels is None:
            self.rings.check(work.lease)


class InferWorker(Worker):
    """Inspects frames of all cameras of a line."""

    role: Role = "infer"

    def __init__(
        self,
        name: str,
        line: LineConfig,
        line_file: Path,
        open_inspector: Callable[[], Inspector],
        read_config: Callable[[], ActiveConfig],
        publish: Link,
    ) -> None:
        super().__init__(name)
        self._line = line
        self._line_file = line_file
        self._run_dir = RunDir(line, line_file)
        self._leaving: dict[str, int] = {}  # cameras the line has no more; until when they drain, mono ns
        self._open_inspector = open_inspector
        self._read_config = read_config
        self._publish = publish
        self._incarnation = secrets.token_hex(4)
        self._unconnected: list[str] = []  # cameras for which there was no descriptor
        self._connect_due_ns = 0
        self._unsent: list[tuple[Verdicts, list[bytes]]] = []
        self._faults = FaultOutbox(name, publish.send)
        self._keep = line.publish.evidence.keep if line.publish.evidence else "none"

    def set_up(self) -> None:
        self._inspector = self._open_inspector()
        self._times = BatchTimes(one_ms=1e3 * self._inspector.warm_up())
        self._batcher: Batcher[_Work] = Batcher(self._line.engine.max_batch, self._line.engine.max_wait_ms, self._times)
        self._cameras: dict[str, _Camera] = {}
        self._connect_all()

    def reload(self) -> None:
        """Turn to the cameras and the recipe that are in force now; a camera that left may first drain."""
        try:
            config = self._read_config()
            self._inspector.use_recipe(config.recipe or Recipe())
        except F2pError as error:
            _log.error("changes not applied", reason=str(error))
            return
        self._line = config.line
        self._run_dir = RunDir(self._line, self._line_file)
        wanted = {camera.id for camera in self._line.cameras}
        drained_ns = time.monotonic_ns() + int(self._line.timeouts.drain_s * 1e9)
        self._leaving = dict.fromkeys(set(self._cameras) - wanted, drained_ns)
        self._connect_all()

    def step(self) -> bool:
        if self._unconnected and time.monotonic_ns() >= self._connect_due_ns:
            self._connect_all()
        self._tell_ready(capacity=self._line.engine.max_batch)
        self._turn()
        self._let_go()
        return True

    def drain(self) -> bool:
        if not len(self._batcher) and not self._unsent and not len(self._faults):
            return False
        self._tell_ready(capacity=0)
        self._turn()
        return True

    def tear_down(self) -> None:
        for camera in self._cameras.values():
            self._part_from(camera)
        self._inspector.close()

    def heartbeat(self) -> Heartbeat:
        facts, bundle = self._inspector.facts, self._inspector.bundle
        engine = {"name": bundle.manifest.name, "sha256": bundle.sha256, "backend": facts.name, "device": facts.device}
        step_ms = self._times.of(self._line.engine.max_batch)
        return msgspec.structs.replace(super().heartbeat(), device=facts.device, engine=engine, step_ms=step_ms)

    def _let_go(self) -> None:
        now_ns = time.monotonic_ns()
        gone = [name for name, drained_ns in self._leaving.items() if now_ns >= drained_ns]
        if gone and not len(self._batcher) and not self._unsent:
            for camera_id in gone:
                del self._leaving[camera_id]
                self._part_from(self._cameras.pop(camera_id))
            self._poller = Poller(*(camera.link for camera in self._cameras.values()))

    def _part_from(self, camera: _Camera) -> None:
        camera.link.send(Bye(worker=self.name, incarnation=self._incarnation))
        camera.link.close()
        camera.rings.close()

    def _connect_all(self) -> None:
        """Connect to the cameras of the line that this worker serves not yet; one too many is tried again later."""
        self._connect_due_ns = time.monotonic_ns() + CONNECT_INTERVAL_NS
        unconnected: list[str] = []
        for camera_id in [camera.id for camera in self._line.cameras if camera.id not in self._cameras]:
            try:
                self._cameras[camera_id] = self._connect(camera_id)
            except OutOfResources as error:
                unconnected.append(camera_id)
                if camera_id not in self._unconnected:
                    event_id = f"{camera_id}/{self._incarnation}/connect-{secrets.token_hex(4)}"
                    self._tell(event_id, camera_id, "camera", f"{self.name} does not serve camera {camera_id}: {error}")
        self._unconnected = unconnected
        self._poller = Poller(*(camera.link for camera in self._cameras.values()))

    def _connect(self, camera_id: str) -> _Camera:
        address = self._run_dir.camera_address(camera_id)
        link = Link(address, f"{self.name}/{self._incarnation}", LEASES_QUEUED, self._run_dir.curve, BYE_LINGER_MS)
        return _Camera(camera_id, link)

    def _turn(self) -> None:
        """Take in leases; run a batch when one is due."""
        wait_ns = self._batcher.wait_ns(time.monotonic_ns())
        self._poller.wait((LONGEST_WAIT_NS if wait_ns is None else wait_ns) / 1e6)
        now_ns = time.monotonic_ns()
        for camera in self._cameras.values():
            for message, parts in camera.link.receive(at_most=LEASES_QUEUED):
                if isinstance(message, Lease):
                    camera.heard(message)
                    self._batcher.add(_Work(message, parts[0] if parts else None), now_ns)
        self._send_unsent()
        self._tell_faults()
        now_ns = time.monotonic_ns()
        self._done_with(self._batcher.take_late(now_ns))  # the camera knows, and decides
        if batch := self._batcher.take(now_ns):
            self._judge(batch)
            self._done_with(batch)

    def _done_with(self, batch: list[_Work]) -> None:
        for work in batch:
            self._cameras[work.camera_id].held -= 1
            self._cameras[work.camera_id].ready_due_ns = 0
        self.progress += len(batch)

    def _judge(self, batch: list[_Work]) -> None:
        """Inspect frames and send their verdicts. Those whose pixels are out of reach go back to their camera."""
        started_ns = time.monotonic_ns()
        images: list[tuple[_Work, Image]] = []
        for work in batch:
            try:
                images.append((work, self._cameras[work.camera_id].image(work)))
            except F2pError as error:
                self._give_back(work, error)
        if not images:
            return
        try:
            results = self._inspector.inspect_batch([image for _, image in images])
        except F2pError as error:
            self._judge_singly(images, error)
            return
        self._times.ran(len(images), (time.monotonic_ns() - started_ns) / 1e6)
        self._send([(work, image, result) for (work, image), result in zip(images, results, strict=True)], started_ns)

    def _give_back(self, work: _Work, error: F2pError) -> None:
        """Return a lease at once. A ring that can't be opened is a fault, reported once for each ring."""
        lease, camera = work.lease, self._cameras[work.camera_id]
        _log.warning("lease returned", frame=lease.frame_id, reason=str(error))
        camera.link.send(
            Returned(worker=self.name, incarnation=self._incarnation, epoch=lease.epoch, numbers=[lease.number])
        )
        if isinstance(error, StaleFrame) or lease.ring_id in camera.told_ring_ids:
            return
        camera.told_ring_ids.append(lease.ring_id)
        event_id = f"{lease.frame_id}/ring-{self._incarnation}"
        self._tell(
            event_id, work.camera_id, "ring", f"{self.name} can't read frames of camera {work.camera_id}: {error}"
        )

    def _tell(self, event_id: str, camera_id: str | None, kind: str, text: str) -> None:
        self._faults.add(new_fault(self.name, kind, text, camera_id=camera_id, event_id=event_id))

    def _judge_singly(self, images: list[tuple[_Work, Image]], error: F2pError) -> None:
        """A batch failed: find the frames that the engine can't take, so that the others get their verdict."""
        if len(images) > 1:
            for work, _ in images:
                self._judge([work])
            return
        (work, image), now_ns = images[0], time.monotonic_ns()
        _log.error("engine failed", frame=work.lease.frame_id, reason=str(error))
        self._tell(f"{work.lease.frame_id}/engine-{self._incarnation}", work.camera_id, "engine", str(error))
        reason = NotInspectedReason.ENGINE_FAULT.value
        self._send([(work, image, InspectionResult(verdict=Verdict.NOT_INSPECTED, reason=reason))], now_ns)

    def _send(self, judged: list[tuple[_Work, Image, InspectionResult]], started_ns: int) -> None:
        items: list[Judged] = []
        pictures: list[bytes] = []
        for work, image, result in judged:
            picture = self._picture(image, result)
            try:
                self._cameras[work.camera_id].check(work)
            except StaleFrame as error:
                _log.warning("picture changed while it was inspected", frame=work.lease.frame_id, reason=str(error))
                continue
            items.append(self._stamped(work, result, started_ns, has_picture=bool(picture)))
            pictures += picture
        if items:
            self._unsent.append((Verdicts(items=items), pictures))
            self._send_unsent()

    def _stamped(self, work: _Work, result: InspectionResult, started_ns: int, *, has_picture: bool) -> Judged:
        lease = work.lease
        queued_ms = (started_ns - lease.captured_mono_ns) / 1e6 if self._run_dir.shares_memory else None
        result = msgspec.structs.replace(
            result,
            frame_id=lease.frame_id,
            line=self._line.line,
            camera_id=lease.camera_id,
            seq=lease.seq,
            part_id=lease.part_id,
            source_ref=lease.source_ref,
            captured_at_ns=lease.captured_at_ns,
            timings_ms=msgspec.structs.replace(result.timings_ms, queued=queued_ms),
        )
        return Judged(
            result=result,
            captured_mono_ns=lease.captured_mono_ns,
            judged_mono_ns=time.monotonic_ns(),
            has_picture=has_picture,
            seal=lease.seal,
        )

    def _picture(self, image: Image, result: InspectionResult) -> list[bytes]:
        """The evidence picture of a frame, when the line keeps one: JPEG, or PNG where that can't hold its size."""
        if self._keep == "none" or (self._keep == "ng" and result.verdict is Verdict.OK):
            return []
        try:
            return [encode_picture(image, ".jpg", EVIDENCE_JPEG_QUALITY)[0]]
        except PictureNotWritten as error:  # evidence decides nothing: the verdict stands without it
            _log.error("no evidence picture", camera=result.camera_id, reason=str(error))
            return []

    def _tell_faults(self) -> None:
        for message, _ in self._publish.receive(at_most=LEASES_QUEUED):
            if isinstance(message, FaultAcks):
                self._faults.acknowledged(message.event_ids)
        self._faults.send_due()

    def _send_unsent(self) -> None:
        """Bounded: a camera leases no more than this worker's capacity before these have been acknowledged to it."""
        while self._unsent and self._publish.send(*self._unsent[0]):
            self._unsent.pop(0)

    def _tell_ready(self, capacity: int) -> None:
        now_ns = time.monotonic_ns()
        for camera in self._cameras.values():
            if now_ns < camera.ready_due_ns or self._unsent:
                continue
            camera.ready_due_ns = now_ns + READY_INTERVAL_NS
            camera.link.send(
                Ready(
                    worker=self.name,
                    incarnation=self._incarnation,
                    epoch=camera.epoch,
                    received=camera.received,
                    held=camera.held,
                    capacity=capacity,
                    inline=not self._run_dir.shares_memory,
                    at_mono_ns=time.monotonic_ns(),
                    frame_ms=self._times.of(1),
                    batch_ms=self._times.of(self._line.engine.max_batch),
                    hand_ms=self._times.of(len(self._batcher)),
                )
            )
