"""The inference worker: asks every camera for frames, inspects them in batches, hands the verdicts on.

Work is pulled: a camera leases only what the worker says it has room for, so a slow worker is never buried, and workers
come and go at any time. A frame is read in place, from the camera's shared memory.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from f2pnet.config import LineConfig, load_line
from f2pnet.errors import F2pError
from f2pnet.inspector import Inspector
from f2pnet.picture_writing import PictureNotWritten, encode_picture
from f2pnet.result import InspectionResult, Verdict
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring import RingReader
from pipeline.frames.ring_memory import StaleFrame
from pipeline.wire.faults import FaultOutbox, new_fault
from pipeline.wire.messages import Bye, FaultAcks, Heartbeat, Judged, Lease, Ready, Verdicts
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link, Poller
from pipeline.workers.batch_times import BatchTimes
from pipeline.workers.batching import Batcher
from pipeline.workers.worker import Role, Worker

LONGEST_WAIT_NS = 50_000_000
LEASES_QUEUED = 1_024
BYE_LINGER_MS = 100  # a camera that is gone needs no farewell; one that lives gets it at once
READY_INTERVAL_NS = 100_000_000
EVIDENCE_JPEG_QUALITY = 90
Image = npt.NDArray[np.uint8]
_log = structlog.get_logger(__name__)


@dataclass
class _Work:
    """A leased frame in hand."""

    lease: Lease
    pixels: bytes | None  # None: in the camera's ring
    taken_mono_ns: int

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
        self._reader: RingReader | None = None
        self._ring: str | None = None

    def heard(self, lease: Lease) -> None:
        if lease.epoch != self.epoch:
            self.epoch, self.received = lease.epoch, 0
            self.close_ring()  # a new ingest worker may have made a new ring of the same name
        self.received = max(self.received, lease.number)
        self.held += 1

    def image(self, work: _Work) -> Image:
        """The frame's pixels. Raises StaleFrame."""
        lease = work.lease
        if work.pixels is not None:
            try:
                return np.frombuffer(work.pixels, np.uint8).reshape(lease.shape)
            except ValueError as error:  # a peer that says one size and sends another
                raise StaleFrame(f"{lease.frame_id}: {len(work.pixels)} bytes for a shape of {lease.shape}") from error
        if self._reader is None:
            self._reader, self._ring = RingReader(lease.ring), lease.ring
        return self._reader.pixels(lease.slot, lease.generation, tuple(lease.shape))

    def check(self, work: _Work) -> None:
        """Raise StaleFrame when the picture changed while it was looked at."""
        if work.pixels is None and self._reader is not None:
            self._reader.check(work.lease.slot, work.lease.generation)

    def close_ring(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class InferWorker(Worker):
    """Inspects frames of all cameras of a line."""

    role: Role = "infer"

    def __init__(
        self, name: str, line: LineConfig, line_file: Path, open_inspector: Callable[[], Inspector], publish: Link
    ) -> None:
        super().__init__(name)
        self._line = line
        self._line_file = line_file
        self._run_dir = RunDir(line, line_file)
        self._leaving: dict[str, int] = {}  # cameras the line has no more; until when they drain, mono ns
        self._open_inspector = open_inspector
        self._publish = publish
        self._incarnation = secrets.token_hex(4)
        self._unsent: list[tuple[Verdicts, list[bytes]]] = []
        self._faults = FaultOutbox(name, publish.send)
        self._keep = line.publish.evidence.keep if line.publish.evidence else "none"

    def set_up(self) -> None:
        self._inspector = self._open_inspector()
        self._times = BatchTimes(one_ms=1e3 * self._inspector.warm_up())
        self._batcher: Batcher[_Work] = Batcher(self._line.engine.max_batch, self._line.engine.max_wait_ms, self._times)
        self._cameras = {camera.id: self._connect(camera.id) for camera in self._line.cameras}
        self._poller = Poller(*(camera.link for camera in self._cameras.values()))

    def reload(self) -> None:
        """Turn to the cameras that the line file names now; one that left may first drain."""
        try:
            self._line = load_line(self._line_file)
        except F2pError as error:
            _log.error("line file not taken up", reason=str(error))
            return
        self._run_dir = RunDir(self._line, self._line_file)
        wanted = {camera.id for camera in self._line.cameras}
        drained_ns = time.monotonic_ns() + int(self._line.timeouts.drain_s * 1e9)
        self._leaving = dict.fromkeys(set(self._cameras) - wanted, drained_ns)
        for camera_id in sorted(wanted - set(self._cameras)):
            self._cameras[camera_id] = self._connect(camera_id)
        self._poller = Poller(*(camera.link for camera in self._cameras.values()))

    def step(self) -> bool:
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
        camera.close_ring()

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
                    self._batcher.add(_Work(message, parts[0] if parts else None, now_ns), now_ns)
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
        """Inspect frames and send their verdicts. Stale ones are left to their camera, which knows better."""
        started_ns = time.monotonic_ns()
        images: list[tuple[_Work, Image]] = []
        for work in batch:
            try:
                images.append((work, self._cameras[work.camera_id].image(work)))
            except StaleFrame as error:
                _log.warning("stale frame passed over", frame=work.lease.frame_id, reason=str(error))
        if not images:
            return
        try:
            results = self._inspector.inspect_batch([image for _, image in images])
        except F2pError as error:
            self._judge_singly(images, error)
            return
        self._times.ran(len(images), (time.monotonic_ns() - started_ns) / 1e6)
        self._send([(work, image, result) for (work, image), result in zip(images, results, strict=True)], started_ns)

    def _judge_singly(self, images: list[tuple[_Work, Image]], error: F2pError) -> None:
        """A batch failed: find the frames that the engine can't take, so that the others get their verdict."""
        if len(images) > 1:
            for work, _ in images:
                self._judge([work])
            return
        (work, image), now_ns = images[0], time.monotonic_ns()
        _log.error("engine failed", frame=work.lease.frame_id, reason=str(error))
        event_id = f"{work.lease.frame_id}/engine-{self._incarnation}"
        self._faults.add(new_fault(self.name, "engine", str(error), camera_id=work.camera_id, event_id=event_id))
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
