"""The ingest worker: one camera, its frame ring, and its leases.

It alone decides about its frames: who works on them, when a lease is void, when a deadline has passed. It frees a slot
only when the publish worker says that the frame's verdict is durable.
"""

from __future__ import annotations

import secrets
import time

import msgspec
import structlog

from f2pnet.config import CameraConfig, LineConfig
from f2pnet.errors import F2pError
from f2pnet.foreign import clipped
from f2pnet.frame_id import FrameId
from pipeline.frames.ledger import NotInspectedReason, reason_named
from pipeline.frames.ring_memory import HeldFrame
from pipeline.frames.ring_moves import continue_ring
from pipeline.sources.base import SourceFault
from pipeline.wire.faults import FaultOutbox, new_fault
from pipeline.wire.messages import (
    Acks,
    Bye,
    FaultAcks,
    Heartbeat,
    Judged,
    Lease,
    LedgerReport,
    Message,
    NotStored,
    Ping,
    Ready,
    Returned,
    Verdicts,
)
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Hub, Link, Poller
from pipeline.workers.camera.capture import CameraState, Capture
from pipeline.workers.camera.leases import Grant, LeaseBook, most_lent, within_reason
from pipeline.workers.camera.ring import open_camera_ring, ring_geometry
from pipeline.workers.not_inspected import not_inspected
from pipeline.workers.worker import Role, Worker

LONGEST_WAIT_NS = 50_000_000
REPORT_INTERVAL_NS = 100_000_000
LOOK_INTERVAL_NS = 100_000_000  # for ring and socket files that somebody removed
RETURNED_PAUSE_NS = 1_000_000_000  # a worker that could not work on a lease gets none for so long
PING_INTERVAL_NS = 1_000_000_000
RESEND_INTERVAL_NS = 1_000_000_000  # a NOT_INSPECTED that nobody acknowledged is said again this often
MESSAGES_PER_STEP = 256
NOT_YET = (NotInspectedReason.SHUTDOWN, NotInspectedReason.LINE_RESTARTED)
"""Reasons that say nothing about the picture: a hot folder gives it again when the line starts anew."""
_log = structlog.get_logger(__name__)


class IngestWorker(Worker):
    """Reads one camera until its source ends, and sees every frame through to its durable verdict.

    `run_id` None: the run that the ring holds goes on, or a new one begins.
    """

    role: Role = "ingest"

    def __init__(
        self, name: str, line: LineConfig, camera: CameraConfig, run_dir: RunDir, run_id: str | None, publish: Link
    ) -> None:
        super().__init__(name, camera.id)
        self._line = line
        self._camera = camera
        self._run_dir = run_dir
        self._wanted_run_id = run_id
        self._publish = publish
        self._epoch = secrets.token_hex(4)
        self._report_due_ns = 0
        self._ping_due_ns = 0
        self._reported_version = -1
        self._resend_due_ns = 0
        self._faults = FaultOutbox(name, publish.send)
        self._shutdown_at_ns: int | None = None  # from then on, what is not inspected is NOT_INSPECTED
        self._look_due_ns = 0
        self._ring_lost = False  # its file was removed and could not be made anew yet

    def set_up(self) -> None:
        address = self._run_dir.bound(self._run_dir.camera_address(self._camera.id))
        queue_limit = 4 * self._camera.ring_slots + 64
        self._hub = Hub(address, queue_limit, self._run_dir.curve, from_guests=(Ready, Returned, Bye))
        opened = open_camera_ring(self._run_dir, self._camera, self._wanted_run_id)
        ring, self._left = opened.ring, opened.left
        book = LeaseBook(self._epoch, self._line.timeouts.lease_ms, self._camera.deadline_ms)
        for frame in ring.held_frames():
            book.add(frame)
        self._state = CameraState(ring, book)
        self._state.faults.extend(("ring", text) for text in opened.faults)
        self._capture = Capture(self._camera, self._state, owner=f"{self._line.line}.{self._camera.id}")
        self._poller = Poller(self._hub, self._publish, self._state.wakeup)
        if ring.version:
            self._capture.start()  # the run goes on
        else:
            self.detail = "waiting for an inference worker"  # a run begins when its frames can be inspected

    def step(self) -> bool:
        self._turn()
        if self._capture.silent_s > self._source_patience_s():
            raise SourceFault(f"camera {self._camera.id}: its source hangs for {self._capture.silent_s:.0f} s")
        if self._capture.camera_away:
            self.state, self.detail = "waiting", "camera away"
        elif self._state.ring.version:
            self.state, self.detail = "running", None
        return not self._is_through()

    def drain(self) -> bool:
        now_ns = time.monotonic_ns()
        if self._shutdown_at_ns is None:
            self._capture.stop()
            self._shutdown_at_ns = now_ns + int(self._line.timeouts.drain_s * 0.6e9)  # the rest is for the answers
        self._turn()
        if now_ns >= self._shutdown_at_ns:
            with self._state.lock:
                late = self._state.book.undecided()
            self._not_inspected(late, NotInspectedReason.SHUTDOWN)
        return not self._is_through()

    def tear_down(self) -> None:
        self._capture.stop()
        if not self._capture.join(timeout_s=2.0):
            _log.warning("the source does not stop reading", camera=self._camera.id)
        if self._state.ring.memory.is_intact:
            self._report_ledger()
        self._hub.close()
        for left in self._left:
            left.close()
        for ring in (*self._state.replaced, self._state.ring):
            ring.close()

    def heartbeat(self) -> Heartbeat:
        return msgspec.structs.replace(super().heartbeat(), counters={"reconnects": self._capture.reconnects})

    def _turn(self) -> None:
        """Wait for something to do, and do all that is due."""
        self._poller.wait(self._wait_ns(time.monotonic_ns()) / 1e6)
        self._state.wakeup.clear()
        for peer, message, _ in self._hub.receive(MESSAGES_PER_STEP):
            if _speaks_for_itself(peer, message):
                self._hear(message)
        for message, _ in self._publish.receive(MESSAGES_PER_STEP):
            self._hear(message)
        if time.monotonic_ns() >= self._look_due_ns:
            self._look_after_files()
        self._report_faults()
        self._shed()
        self._look_for_workers()
        self._lease()
        if time.monotonic_ns() >= self._report_due_ns:
            self._report_ledger()
        if self._capture.error is not None:
            raise self._capture.error

    def _hear(self, message: Message) -> None:
        match message:
            case Ready():
                with self._state.lock:
                    ready = within_reason(message, most_lent(self._line.engine.max_batch, self._camera.ring_slots))
                    self._state.book.worker_ready(ready, time.monotonic_ns())
                self._capture.start()
            case Bye():
                with self._state.lock:
                    self._state.book.worker_gone(message.incarnation)
            case Returned() if message.epoch == self._epoch:
                self._take_back_returned(message)
            case Returned():
                pass  # of a process before this one, whose leases are void
            case Acks():
                self._settle(message)
            case FaultAcks():
                self._faults.acknowledged(message.event_ids)
            case NotStored() if message.run_id == self._state.ring.run_id:
                with self._state.lock:
                    self._state.book.not_stored(message.seqs, time.monotonic_ns())
            case NotStored():
                pass  # frames of a run that ended are reported again until they are acknowledged
            case _:
                _log.warning("message for somebody else", message=type(message).__name__)

    def _settle(self, acks: Acks) -> None:
        if acks.run_id != self._state.ring.run_id:
            for left in self._left:
                left.settle(acks)
            return
        self._report_source(acks)
        with self._state.slot_freed:
            for seq, verdict, reason in acks.stored:
                settled = self._state.book.settle(seq)
                if settled is None:
                    continue  # acknowledged before
                frame, decided = settled
                self._state.ring.settled(frame, verdict, reason_named(reason) if reason else decided)
                self.progress += 1
            self._state.slot_freed.notify_all()

    def _take_back_returned(self, returned: Returned) -> None:
        """A worker does not get at its frames: because their ring was removed, or for a reason of its own."""
        moved = self._keep_ring()
        now_ns = time.monotonic_ns()
        with self._state.lock:
            until_ns = now_ns if moved else now_ns + RETURNED_PAUSE_NS
            count = self._state.book.returned(returned.incarnation, returned.numbers, until_ns)
        _log.warning("leases returned", camera=self._camera.id, count=count, ring_moved=moved)

    def _look_after_files(self) -> None:
        """Ring and socket must have their names, by which others find them."""
        self._look_due_ns = time.monotonic_ns() + LOOK_INTERVAL_NS
        self._keep_ring()
        try:
            self._hub.keep(self._run_dir.make)
        except F2pError as error:  # tried again with the next look
            _log.error("socket of the camera is missing", camera=self._camera.id, reason=str(error))

    def _keep_ring(self) -> bool:
        """Continue the ring in a new file when its own was removed; whether that was done now.

        Raises RingUnreadable when somebody cut it, or wrote over it.
        """
        old = self._state.ring
        old.memory.check_intact()
        if old.has_its_name:
            return False
        try:
            with self._state.lock:
                ring = continue_ring(old.memory, old.name, ring_geometry(self._camera))
                self._state.use(ring)
        except F2pError as error:
            if not self._ring_lost:
                self._state.faults.append(
                    ("ring", f"the frame ring {old.name} was removed, and there is no room: {error}")
                )
            self._ring_lost = True
            return False
        self._ring_lost = False
        text = (
            f"the frame ring {old.name} was removed from shared memory while the line runs (a cleaner, or RemoveIPC "
            f"of systemd-logind); its {ring.ledger.in_flight} frames go on in a new one"
        )
        self._state.faults.append(("ring", text))
        return True

    def _report_source(self, acks: Acks) -> None:
        """Before the frames are let go of: what falls between the two is noted twice, not lost."""
        with self._state.lock:
            files = [self._state.book.file_of(seq) for seq, _, reason in acks.stored if reason not in NOT_YET]
        self._capture.settled([file for file in files if file is not None])

    def _shed(self) -> None:
        """Decide NOT_INSPECTED where no verdict can come in time, or at all; take late leases back."""
        now_ns = time.monotonic_ns()
        with self._state.lock:
            book = self._state.book
            taken_back = book.take_back(now_ns)
            late, given_up = book.past_deadline(now_ns), book.given_up()
            early = list(book.decided()) if now_ns >= self._resend_due_ns else []
            if self._state.decided_early:
                early = [*early, *((frame, frame.reason) for frame in self._state.decided_early if frame.reason)]
                self._state.decided_early.clear()
        if taken_back:
            _log.warning("leases taken back", camera=self._camera.id, count=taken_back)
        self._not_inspected(late, NotInspectedReason.DEADLINE)
        self._not_inspected(given_up, NotInspectedReason.ENGINE_FAULT)
        if now_ns >= self._resend_due_ns:
            self._resend_due_ns = now_ns + RESEND_INTERVAL_NS
        self._send_verdicts([self._judgement(frame, reason) for frame, reason in early])
        for left in self._left:
            left.report(self._publish)
        self._left = [left for left in self._left if not left.done]

    def _not_inspected(self, frames: list[HeldFrame], reason: NotInspectedReason) -> None:
        with self._state.lock:
            for frame in frames:
                self._state.ring.decided(frame, reason)
                self._state.book.decide(frame.seq, reason)
        self._send_verdicts([self._judgement(frame, reason) for frame in frames])

    def _judgement(self, frame: HeldFrame, reason: NotInspectedReason) -> Judged:
        return not_inspected(self._line.line, self._camera.id, self._state.ring.run_id, frame, reason)

    def _send_verdicts(self, items: list[Judged]) -> None:
        """What can't be sent now is said again: it stays undelivered until it is acknowledged."""
        if items:
            self._publish.send(Verdicts(items=items))

    def _lease(self) -> None:
        now_ns = time.monotonic_ns()
        with self._state.lock:
            grants = list(self._state.book.next_leases(now_ns))
        for grant in grants:
            worker = grant.worker
            pixels = [self._state.ring.pixels(grant.frame).tobytes()] if worker.inline else []
            peer = peer_of(worker)
            if not self._hub.send(peer, self._lease_message(grant, peer), pixels):
                with self._state.lock:
                    self._state.book.worker_gone(worker.incarnation)

    def _look_for_workers(self) -> None:
        """A worker whose connection is gone has no leases any more."""
        now_ns = time.monotonic_ns()
        if now_ns < self._ping_due_ns:
            return
        self._ping_due_ns = now_ns + PING_INTERVAL_NS
        with self._state.lock:
            silent = self._state.book.silent_workers(now_ns - PING_INTERVAL_NS)
        for worker in silent:
            if not self._hub.send(peer_of(worker), Ping()):
                with self._state.lock:
                    self._state.book.worker_gone(worker.incarnation)
                _log.warning("worker gone", camera=self._camera.id, worker=worker.worker)

    def _lease_message(self, grant: Grant, peer: bytes) -> Lease:
        frame = grant.frame
        frame_id = str(FrameId(self._camera.id, self._state.ring.run_id, frame.seq))
        return Lease(
            epoch=self._epoch,
            number=grant.number,
            camera_id=self._camera.id,
            frame_id=frame_id,
            seal=self._hub.seal(peer, frame_id),
            seq=frame.seq,
            part_id=frame.part_id,
            source_ref=None if frame.file is None else frame.file.as_result(),
            ring=self._state.ring.name,
            ring_id=self._state.ring.ring_id,
            slot=frame.slot,
            generation=frame.generation,
            shape=list(frame.shape),
            captured_at_ns=frame.captured_at_ns,
            captured_mono_ns=frame.captured_mono_ns,
            deadline_mono_ns=grant.deadline_mono_ns,
        )

    def _report_faults(self) -> None:
        while self._state.faults:
            kind, text = self._state.faults.popleft()
            event_id = f"{self._camera.id}/{self._state.ring.run_id}/{kind}-{secrets.token_hex(6)}"
            self._faults.add(new_fault(self.name, kind, text, camera_id=self._camera.id, event_id=event_id))
        self._faults.send_due()

    def _report_ledger(self) -> None:
        ring = self._state.ring
        with self._state.lock:
            version, ledger = ring.version, ring.ledger
        self._report_due_ns = time.monotonic_ns() + REPORT_INTERVAL_NS
        if version != self._reported_version and self._publish.send(
            LedgerReport(camera_id=self._camera.id, run_id=ring.run_id, version=version, ledger=ledger)
        ):
            self._reported_version = version

    def _source_patience_s(self) -> float:
        """A source keeps its own time limits; one that does not takes this process with it, and is opened anew."""
        own_limit_s: float = getattr(self._camera.source, "timeout_s", 0.0)
        return max(self._line.timeouts.stall_s, 2 * own_limit_s)

    def _is_through(self) -> bool:
        reported = not self._state.faults and not len(self._faults)
        return self._capture.ended and not len(self._state.book) and not self._left and reported

    def _wait_ns(self, now_ns: int) -> int:
        with self._state.lock:
            due_ns = self._state.book.next_due_ns()
        return LONGEST_WAIT_NS if due_ns is None else max(0, min(LONGEST_WAIT_NS, due_ns - now_ns))


def peer_of(worker: Ready) -> bytes:
    """What an inference worker calls itself to a camera."""
    return f"{worker.worker}/{worker.incarnation}".encode()


def _speaks_for_itself(peer: bytes, message: Message) -> bool:
    """Whether a worker speaks of itself and not of another one."""
    if isinstance(message, Ready | Returned | Bye) and f"{message.worker}/{message.incarnation}".encode() != peer:
        _log.warning("message in the name of another worker refused", peer=clipped(peer))
        return False
    return True
