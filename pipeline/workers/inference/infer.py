"""The inference worker: asks every camera for frames, inspects them in batches, hands the verdicts on.

Work is pulled: a camera leases only what the worker says it has room for, so a slow worker is never buried, and workers
come and go at any time. A frame is read in place, from the camera's shared memory. This thread alone speaks ZeroMQ;
what takes time is done by others (`overlap`), with several batches in flight.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
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
from pipeline.workers.inference.batch_run import BatchRun
from pipeline.workers.inference.batching import Batcher
from pipeline.workers.inference.camera_link import CameraLink
from pipeline.workers.inference.leased_frame import Image, LeasedFrame, Picture
from pipeline.workers.inference.overlap import Overlap
from pipeline.workers.wakeup import Wakeup
from pipeline.workers.worker import Role, Worker

LONGEST_WAIT_NS = 50_000_000
LEASES_QUEUED = 1_024
BYE_LINGER_MS = 100  # a camera that is gone needs no farewell; one that lives gets it at once
CONNECT_INTERVAL_NS = 1_000_000_000
READY_INTERVAL_NS = 100_000_000
EVIDENCE_JPEG_QUALITY = 90
DECLINED_NS = 2_000_000  # until a batch that can't be in time behind those in flight is looked at again
_log = structlog.get_logger(__name__)


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
        cv2.setNumThreads(1)  # the frames of a batch are resized at the same time already
        self._inspector = self._open_inspector()
        engine, (backend, _) = self._line.engine, self._inspector.stages
        times_ms = self._inspector.warm_up(engine.max_batch)
        self._wakeup = Wakeup()
        self._overlap = Overlap(
            backend, engine.max_batch, times_ms, self._evidence, self._wakeup.set, max(1, engine.workers)
        )
        self._batcher: Batcher[LeasedFrame] = Batcher(engine.max_batch, engine.max_wait_ms, self._overlap.times)
        self._declined = False  # nothing of what waits can be in time behind what is in flight
        self._cameras: dict[str, CameraLink] = {}
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
        # What is lent to a worker whose engine hangs is lost time for the frames.
        self._report_ready(capacity=0 if self.is_stuck else self._line.engine.max_batch * self._overlap.most_runs)
        self._turn()
        self._let_go()
        return True

    def drain(self) -> bool:
        if not self._in_hand and not len(self._faults):
            return False
        self._report_ready(capacity=0)
        self._turn()
        return True

    def tear_down(self) -> None:
        for camera in self._cameras.values():
            self._part_from(camera)
        if self._overlap.close():
            self._inspector.close()
        self._wakeup.close()

    @property
    def is_stuck(self) -> bool:
        """A batch does not come back: the supervisor is not to hear of this process until it does."""
        return self._overlap.is_overdue

    @property
    def _in_hand(self) -> bool:
        """Whether a frame waits, is in flight, or has a verdict that was not sent."""
        return bool(len(self._batcher) or len(self._overlap) or self._unsent)

    def heartbeat(self) -> Heartbeat:
        facts, bundle = self._inspector.facts, self._inspector.bundle
        engine = {"name": bundle.manifest.name, "sha256": bundle.sha256, "backend": facts.name, "device": facts.device}
        step_ms = self._overlap.times.of(self._line.engine.max_batch)
        return msgspec.structs.replace(super().heartbeat(), device=facts.device, engine=engine, step_ms=step_ms)

    def _let_go(self) -> None:
        now_ns = time.monotonic_ns()
        gone = [name for name, drained_ns in self._leaving.items() if now_ns >= drained_ns]
        if gone and not self._in_hand:
            for camera_id in gone:
                del self._leaving[camera_id]
                self._part_from(self._cameras.pop(camera_id))
            self._poll_all()

    def _poll_all(self) -> None:
        self._poller = Poller(self._wakeup, *(camera.link for camera in self._cameras.values()))

    def _part_from(self, camera: CameraLink) -> None:
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
                    self._report(
                        event_id, camera_id, "camera", f"{self.name} does not serve camera {camera_id}: {error}"
                    )
        self._unconnected = unconnected
        self._poll_all()

    def _connect(self, camera_id: str) -> CameraLink:
        address = self._run_dir.camera_address(camera_id)
        link = Link(address, f"{self.name}/{self._incarnation}", LEASES_QUEUED, self._run_dir.curve, BYE_LINGER_MS)
        return CameraLink(camera_id, link)

    def _turn(self) -> None:
        """Take in leases and verdicts; begin with a batch when one is due."""
        self._poller.wait(self._wait_ns(time.monotonic_ns()) / 1e6)
        self._wakeup.clear()
        self._hear()
        self._take_done()
        self._send_unsent()
        self._report_faults()
        now_ns = time.monotonic_ns()
        for frame in self._batcher.take_late(now_ns):  # the camera knows, and decides
            self._done_with(frame)
        if self._may_begin() and self._batcher.wait_ns(now_ns) == 0:
            batch = self._batcher.take(now_ns, self._overlap.ahead_ms(now_ns))
            self._declined = not batch
            self._begin(batch)

    def _hear(self) -> None:
        now_ns = time.monotonic_ns()
        for camera in self._cameras.values():
            for message, parts in camera.link.receive(at_most=LEASES_QUEUED):
                if isinstance(message, Lease):
                    camera.take(message)
                    self._batcher.add(LeasedFrame(message, parts[0] if parts else None), now_ns)

    def _wait_ns(self, now_ns: int) -> int:
        """How long to wait for news. Leases, and batches that are through, end it early."""
        due_ns = self._batcher.wait_ns(now_ns)
        if due_ns is None or not self._may_begin():
            return LONGEST_WAIT_NS
        if due_ns == 0 and self._declined:
            return DECLINED_NS
        return min(due_ns, LONGEST_WAIT_NS)

    def _may_begin(self) -> bool:
        """A batch that is not full waits for company as long as the engine has enough to do."""
        overlap = self._overlap
        is_full = len(self._batcher) >= self._line.engine.max_batch
        return overlap.has_room and (is_full or overlap.before_answer + 1 < overlap.most_before_answer)

    def _begin(self, batch: list[LeasedFrame]) -> None:
        """Put a batch in flight. Frames whose pixels are out of reach go back to their camera."""
        found: list[tuple[LeasedFrame, Picture]] = []
        for frame in batch:
            try:
                found.append((frame, self._cameras[frame.camera_id].picture(frame)))
            except F2pError as error:
                self._give_back(frame, error)
                self._done_with(frame)
        if found:
            _, judge = self._inspector.stages
            self._overlap.put(judge, found)

    def _take_done(self) -> None:
        """Send the verdicts of batches that are through, in their order. Raises what the engine can't recover from."""
        for run in self._overlap.take_done():
            if isinstance(run.error, F2pError):
                self._report_engine_fault(run, run.error)
            self._send(run)
            for frame in run.frames:
                self._done_with(frame.frame)

    def _done_with(self, frame: LeasedFrame) -> None:
        self._cameras[frame.camera_id].done_with(frame.lease)
        self.progress += 1

    def _give_back(self, frame: LeasedFrame, error: F2pError) -> None:
        """Return a lease at once. A ring that can't be opened is a fault, reported once for each ring."""
        lease, camera = frame.lease, self._cameras[frame.camera_id]
        _log.warning("lease returned", frame=lease.frame_id, reason=str(error))
        camera.link.send(
            Returned(worker=self.name, incarnation=self._incarnation, epoch=lease.epoch, numbers=[lease.number])
        )
        if isinstance(error, StaleFrame) or lease.ring_id in camera.reported_ring_ids:
            return
        camera.reported_ring_ids.append(lease.ring_id)
        event_id = f"{lease.frame_id}/ring-{self._incarnation}"
        self._report(
            event_id, frame.camera_id, "ring", f"{self.name} can't read frames of camera {frame.camera_id}: {error}"
        )

    def _report(self, event_id: str, camera_id: str | None, kind: str, text: str) -> None:
        self._faults.add(new_fault(self.name, kind, text, camera_id=camera_id, event_id=event_id))

    def _report_engine_fault(self, run: BatchRun, error: F2pError) -> None:
        """The engine can't take a frame, also alone."""
        for frame in run.frames:
            lease = frame.frame.lease
            _log.error("engine failed", frame=lease.frame_id, reason=str(error))
            self._report(f"{lease.frame_id}/engine-{self._incarnation}", lease.camera_id, "engine", str(error))
            reason = NotInspectedReason.ENGINE_FAULT.value
            frame.result = InspectionResult(verdict=Verdict.NOT_INSPECTED, reason=reason)
            frame.evidence = self._evidence(frame.picture.pixels, frame.result)

    def _send(self, run: BatchRun) -> None:
        items: list[Judged] = []
        pictures: list[bytes] = []
        for frame in run.frames:
            if frame.stale is not None or frame.result is None:
                _log.warning(
                    "picture changed while it was inspected", frame=frame.frame.lease.frame_id, reason=str(frame.stale)
                )
                continue
            items.append(self._stamped(frame.frame.lease, frame.result, run, has_picture=bool(frame.evidence)))
            pictures += frame.evidence
        if items:
            self._unsent.append((Verdicts(items=items), pictures))
            self._send_unsent()

    def _stamped(self, lease: Lease, result: InspectionResult, run: BatchRun, *, has_picture: bool) -> Judged:
        queued_ms: float | None = None
        if self._run_dir.shares_memory:
            queued_ms = (run.answered_ns - lease.captured_mono_ns) / 1e6 - run.resize_ms - run.engine_ms
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

    def _evidence(self, image: Image, result: InspectionResult) -> list[bytes]:
        """The evidence picture of a frame, when the line keeps one: JPEG, or PNG where that can't hold its size."""
        if self._keep == "none" or (self._keep == "ng" and result.verdict is Verdict.OK):
            return []
        try:
            return [encode_picture(image, ".jpg", EVIDENCE_JPEG_QUALITY)[0]]
        except PictureNotWritten as error:  # evidence decides nothing: the verdict stands without it
            _log.error("no evidence picture", camera=result.camera_id, reason=str(error))
            return []

    def _report_faults(self) -> None:
        for message, _ in self._publish.receive(at_most=LEASES_QUEUED):
            if isinstance(message, FaultAcks):
                self._faults.acknowledged(message.event_ids)
        self._faults.send_due()

    def _send_unsent(self) -> None:
        """Bounded: a camera leases no more than this worker's capacity before these have been acknowledged to it."""
        while self._unsent and self._publish.send(*self._unsent[0]):
            self._unsent.pop(0)

    def _report_ready(self, capacity: int) -> None:
        now_ns, times = time.monotonic_ns(), self._overlap.times
        backlog_ms = self._overlap.ahead_ms(now_ns) + times.of(len(self._batcher))
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
                    holding=sorted(camera.holding),
                    capacity=capacity,
                    inline=not self._run_dir.shares_memory,
                    at_mono_ns=time.monotonic_ns(),
                    frame_ms=times.of(1),
                    batch_ms=times.of(self._line.engine.max_batch),
                    backlog_ms=backlog_ms,
                )
            )
