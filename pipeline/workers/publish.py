"""The publish worker: makes verdicts durable, then acknowledges them, then announces them.

Only an acknowledged frame's slot is freed, so a verdict that is lost on the way, or with this process, is made again;
the store keeps the first one of a frame, so that nothing is doubled by that.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog

from f2pnet.alerts.stream import LATEST_NS, LONGEST_EVENT_ID
from f2pnet.config import LineConfig
from f2pnet.errors import F2pError, SpoolError
from f2pnet.foreign import clipped
from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.text import printable
from pipeline.processes.periodic import Periodic
from pipeline.store.durable import DurableStore
from pipeline.store.evidence import EvidenceStore
from pipeline.store.lagging_groups import LaggingGroup
from pipeline.store.records import Record, Stored
from pipeline.store.spool.spool import Removal
from pipeline.wire.faults import LONGEST_TEXT, new_fault
from pipeline.wire.messages import Acks, Fault, FaultAcks, Heartbeat, Judged, LedgerReport, Message, NotStored, Verdicts
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Broadcaster, Hub, Poller
from pipeline.workers.guest_bounds import FAULTS_AT_ONCE, FAULTS_PER_S, GuestBounds
from pipeline.workers.latency import LatencyHistogram
from pipeline.workers.worker import Role, Worker

WAIT_MS = 50
FAULTS_KEPT = 1_000  # that no disk took
FAULTS_AGAIN_S = 1.0
STATES_INTERVAL_S = 0.1
LOOK_INTERVAL_S = 0.1  # for socket files that somebody removed
EXPIRE_INTERVAL_S = 60.0
LAGGING_INTERVAL_S = 2.0
MESSAGES_PER_STEP = 256
LARGEST_HEARTBEAT = 65_536
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
HUB_QUEUE_LIMIT = 16_384
ALERT_QUEUE_LIMIT = 1_000
OnStored = Callable[[InspectionResult], None]
"""Called with each result once it is durable; returns at once and never fails."""
_log = structlog.get_logger(__name__)


class PublishWorker(Worker):
    """Writes one line's verdicts, faults, ledgers and heartbeats."""

    role: Role = "publish"

    def __init__(
        self,
        name: str,
        line: LineConfig,
        run_dir: RunDir,
        store: DurableStore,
        evidence: EvidenceStore | None,
        on_stored: OnStored = lambda result: None,
    ) -> None:
        super().__init__(name)
        self._line = line
        self._run_dir = run_dir
        self._store = store
        self._evidence = evidence
        self._on_stored = on_stored
        self._ledgers: dict[tuple[str, str], LedgerReport] = {}  # newest, by camera and run
        self._unsaid: dict[str, Heartbeat] = {}  # to be written, by worker
        self._guests = GuestBounds()
        self._forgotten: set[str] = set()  # workers of guests whose heartbeats make room for others
        self._unsaid_ledgers: set[tuple[str, str]] = set()
        self._faults: dict[str, Fault] = {}  # that no disk took yet, by event id; a process that is gone sent some
        self._faults_again = Periodic(FAULTS_AGAIN_S)
        self._states = Periodic(STATES_INTERVAL_S)
        self._sockets = Periodic(LOOK_INTERVAL_S)
        self._expiry = Periodic(EXPIRE_INTERVAL_S)
        self._lagging = Periodic(LAGGING_INTERVAL_S)
        self._lagging_reported: set[tuple[str, bool]] = set()  # group, and whether it was overtaken
        self._refused = False
        self._draining = False
        self._latency = {stage: LatencyHistogram() for stage in ("total", "queued", "engine", "stored")}

    def set_up(self) -> None:
        address = self._run_dir.bound(self._run_dir.publish_address)
        self._hub = Hub(address, HUB_QUEUE_LIMIT, self._run_dir.curve, from_guests=(Verdicts, Fault, Heartbeat))
        self._live = Broadcaster(
            map(self._run_dir.bound, self._run_dir.alert_addresses), ALERT_QUEUE_LIMIT, self._run_dir.curve
        )
        self._poller = Poller(self._hub)

    def step(self) -> bool:
        self._turn()
        waiting = len(self._store.spool)
        if self._refused:
            return True  # the disk's words say more
        if self._store.away:
            self.state, self.detail = "waiting", f"store away, {waiting} verdicts in the spool"
        elif self.state == "waiting":
            self.state, self.detail = "running", None
        return True

    def drain(self) -> bool:
        """Whatever has arrived; the supervisor stops this worker last, when nobody sends any more.

        A store that was away is asked once more: what waits in the spool may be seen now, not with the next start.
        """
        if not self._draining:
            self._draining = True
            self._store.ask_now()
        took_in = self._turn()
        return took_in or (len(self._store.spool) > 0 and not self._store.away)

    def tear_down(self) -> None:
        self._write_states()
        self._hub.close()
        self._live.close()
        self._store.close()

    def heartbeat(self) -> Heartbeat:
        beat = msgspec.structs.replace(
            super().heartbeat(),
            counters=dataclasses.asdict(self._store.alerts),
            latency={stage: histogram.counts() for stage, histogram in self._latency.items()},
        )
        self._unsaid[self.name] = beat
        return beat

    def _turn(self) -> bool:
        """Wait for messages, handle them, bring the spool nearer to empty; False when nothing had arrived."""
        self._poller.wait(0 if len(self._store.spool) and not self._store.away else WAIT_MS)
        took_in = self._take_in()
        try:
            self._store.replay_some()
        except SpoolError as error:
            self._refuse_all(error)
        self._report_damages()
        if self._sockets.due():
            self._keep_sockets()
        if self._states.due():
            self._write_states()
        if self._evidence is not None and self._expiry.due():
            self._evidence.expire()
        if self._lagging.due():
            self._report_lagging_groups()
        return took_in

    def _keep_sockets(self) -> None:
        """Workers that are replaced find this one by its socket files."""
        try:
            self._hub.keep(self._run_dir.make)
            self._live.keep(self._run_dir.make)
        except F2pError as error:  # tried again with the next look
            _log.error("a socket file is missing", reason=str(error))

    def _take_in(self) -> bool:
        """Handle what has arrived, verdicts as one batch; False when nothing had."""
        verdicts: list[tuple[Judged, bytes | None]] = []
        faults = self._faults_due()
        senders: dict[bytes, list[str]] = defaultdict(list)
        took_in = False
        for peer, message, parts in self._hub.receive(MESSAGES_PER_STEP):
            took_in = True
            match message:
                case Verdicts():
                    pictures = iter(parts)
                    items = [(item, next(pictures, None) if item.has_picture else None) for item in message.items]
                    verdicts += [item for item in items if self._may_judge(peer, item[0])]
                case Fault() if not self._may_report(peer, message):
                    pass  # the sender keeps it, and sends it again
                case Fault():
                    fault = self._attributed(peer, message)
                    faults.setdefault(fault.event_id, fault)
                    senders[peer].append(message.event_id)
                case LedgerReport():
                    self._hear_ledger(message)
                case Heartbeat() if self._hub.is_guest(peer) and not _of_inference(peer, message):
                    _log.warning("heartbeat of another worker refused", peer=clipped(peer), name=clipped(message.name))
                case Heartbeat():
                    self._hear_of(peer, message)
                case _:
                    self._refuse(message)
        if (verdicts or faults) and self._publish(verdicts, list(faults.values())):
            for peer, event_ids in senders.items():
                self._hub.send(peer, FaultAcks(event_ids=event_ids))  # one that is not reached sends them again
        return took_in

    def _may_judge(self, peer: bytes, judged: Judged) -> bool:
        """Whether the verdict is of a frame of this line, and whoever sends it was lent that frame."""
        frame = FrameId.parse_or_none(judged.result.frame_id)
        if frame is None or not _is_whole(judged.result, frame):
            _log.warning("verdict of no frame refused", frame_id=clipped(judged.result.frame_id), peer=clipped(peer))
            return False
        if self._hub.is_guest(peer) and judged.seal != self._hub.seal(peer, str(frame)):
            _log.warning("verdict of a frame that was not lent refused", frame_id=str(frame), peer=clipped(peer))
            return False
        return True

    def _may_report(self, peer: bytes, fault: Fault) -> bool:
        """Whether a fault is stored now. A host behind a key of its own can't fill the store with them."""
        key = self._hub.guest_key(peer)
        if key is None or self._attributed(peer, fault).event_id in self._faults or self._guests.may_report(key):
            return True
        if not self._guests.is_reported(key):
            text = (
                f"the host with the key {key} reports more than {FAULTS_AT_ONCE} faults at once and {FAULTS_PER_S:g} a "
                "second: further ones are stored as slowly; see the log of its inference worker"
            )
            self._publish([], [new_fault(self.name, "guest", text)])
        return False

    def _hear_of(self, peer: bytes, beat: Heartbeat) -> None:
        """Keep a sign of life. Of a host behind a key of its own only so many workers are kept."""
        self._unsaid[beat.name] = beat
        self._forgotten.discard(beat.name)
        key = self._hub.guest_key(peer)
        if key is not None and (forgotten := self._guests.heard_of(key, beat.name)) is not None:
            self._unsaid.pop(forgotten, None)
            self._forgotten.add(forgotten)

    def _attributed(self, peer: bytes, fault: Fault) -> Fault:
        """A fault as it is stored: a guest speaks in its own name, so that it can't use up another's event id."""
        known = {camera.id for camera in self._line.cameras} | {camera_id for camera_id, _ in self._ledgers}
        name = peer.partition(b"/")[0].decode(errors="replace")
        guest = self._hub.is_guest(peer)
        return msgspec.structs.replace(
            fault,
            event_id=printable(f"{name}/{fault.event_id}" if guest else fault.event_id)[:LONGEST_EVENT_ID],
            source=name if guest else fault.source,
            camera_id=fault.camera_id if fault.camera_id in known or not guest else None,
            at_ns=min(max(0, fault.at_ns), LATEST_NS),
            text=printable(fault.text[:LONGEST_TEXT]),
        )

    def _faults_due(self) -> dict[str, Fault]:
        """Faults that could not be stored, when it is time to try again."""
        if not self._faults or not self._faults_again.due():
            return {}
        due, self._faults = self._faults, {}
        return due

    def _publish(self, verdicts: list[tuple[Judged, bytes | None]], faults: list[Fault]) -> bool:
        """Store, acknowledge, announce; False when nothing could be made durable."""
        items = [(self._completed(judged, picture), judged) for judged, picture in verdicts]
        records = [self._fault_record(fault) for fault in faults] + [_record(result) for result, _ in items]
        try:
            stored = self._store.write(records)
        except SpoolError as error:  # nothing is acknowledged: the frames stay held, and come again
            self._refuse_all(error)
            self._report_not_stored(records)
            self._keep(faults)
            return False
        self._refused = False
        self._acknowledge(records, stored)
        now_ns = time.monotonic_ns()
        for (result, judged), outcome in zip(items, stored[len(faults) :], strict=True):
            if outcome.new:
                self._measure(result, judged, now_ns)
                self._on_stored(result)
        self._announce(records, stored)
        self.progress += len(records)
        return True

    def _keep(self, faults: list[Fault]) -> None:
        """Until a disk takes them. Beyond what is kept, whoever sent them sends them again."""
        self._faults_again.postpone()
        for fault in faults:
            if len(self._faults) < FAULTS_KEPT:
                self._faults.setdefault(fault.event_id, fault)

    def _refuse_all(self, error: SpoolError) -> None:
        if not self._refused:
            _log.error("verdicts can't be made durable", reason=str(error))
        self.state, self.detail, self._refused = "waiting", str(error), True

    def _completed(self, judged: Judged, picture: bytes | None) -> InspectionResult:
        """The result with its evidence and the last of its timings, up to the moment it is handed to the store."""
        now_ns = time.monotonic_ns()
        evidence = None
        if picture is not None and self._evidence is not None:
            evidence = self._evidence.save(judged.result, picture)
        timings = msgspec.structs.replace(
            judged.result.timings_ms,
            stored=_ms(now_ns - judged.judged_mono_ns) if self._run_dir.shares_memory else None,
            total=self._total_ms(judged, now_ns),
        )
        return msgspec.structs.replace(judged.result, timings_ms=timings, evidence=evidence)

    def _total_ms(self, judged: Judged, now_mono_ns: int) -> float:
        if self._run_dir.shares_memory:
            return _ms(now_mono_ns - judged.captured_mono_ns)
        return _ms(time.time_ns() - (judged.result.captured_at_ns or 0))  # other host: its clock is all we have

    def _acknowledge(self, records: list[Record], stored: list[Stored]) -> None:
        by_run: dict[tuple[str, str], list[tuple[int, Verdict, str | None]]] = defaultdict(list)
        for record, outcome in zip(records, stored, strict=True):
            if record.seq is not None:
                by_run[record.camera_id, record.run_id].append((record.seq, outcome.verdict, outcome.reason))
        for (camera_id, run_id), settled in by_run.items():
            if not self._hub.send(f"ingest/{camera_id}".encode(), Acks(run_id=run_id, stored=settled)):
                _log.warning("camera not reached; it will ask again", camera=camera_id, frames=len(settled))

    def _report_not_stored(self, records: list[Record]) -> None:
        by_run: dict[tuple[str, str], list[int]] = defaultdict(list)
        for record in records:
            if record.seq is not None:
                by_run[record.camera_id, record.run_id].append(record.seq)
        for (camera_id, run_id), seqs in by_run.items():
            self._hub.send(f"ingest/{camera_id}".encode(), NotStored(run_id=run_id, seqs=seqs))

    def _measure(self, result: InspectionResult, judged: Judged, durable_ns: int) -> None:
        self._latency["total"].record(self._total_ms(judged, durable_ns))
        if self._run_dir.shares_memory:
            self._latency["stored"].record(_ms(durable_ns - judged.judged_mono_ns))
        for stage, value in (("queued", result.timings_ms.queued), ("engine", result.timings_ms.engine)):
            if value is not None:
                self._latency[stage].record(value)

    def _announce(self, records: list[Record], stored: list[Stored]) -> None:
        for record, outcome in zip(records, stored, strict=True):
            if record.is_alert and outcome.new:
                self._live.send(f"f2p.{self._line.line}.{record.camera_id or 'line'}", record.data)

    def _fault_record(self, fault: Fault) -> Record:
        result = InspectionResult(
            frame_id=fault.event_id,
            line=self._line.line,
            camera_id=fault.camera_id,
            captured_at_ns=fault.at_ns,
            verdict=Verdict.FAULT,
            reason=f"{fault.kind}: {fault.text}",
        )
        return Record(
            frame_id=fault.event_id,
            camera_id=fault.camera_id or "",
            run_id="",
            seq=None,
            verdict=Verdict.FAULT,
            reason=result.reason,
            captured_at_ns=fault.at_ns,
            data=result.to_json(),
        )

    def _report_damages(self) -> None:
        """Acknowledged verdicts that the spool's disk lost are an alert of their own."""
        for damage in self._store.spool.take_damages():
            if isinstance(damage, Removal):
                text = (
                    f"spool {damage.path} was deleted while the line used it: {damage.records} verdicts and faults "
                    "that waited in it are lost; it was made anew"
                )
                self._publish([], [new_fault(self.name, "spool", text)])
            elif not damage.unfinished:  # what an interrupted write leaves was never acknowledged
                text = (
                    f"spool file {damage.file} damaged at byte {damage.offset}: {damage.length} bytes of verdicts lost"
                )
                event_id = f"{self.name}/spool-{damage.file.name}-{damage.offset}"
                self._publish([], [new_fault(self.name, "spool", text, event_id=event_id)])

    def _report_lagging_groups(self) -> None:
        """A group of subscribers that does not keep up loses alerts: reported before it does, and when it did."""
        found = {(each.group, each.overtaken): each for each in self._store.lagging_groups()}
        for key in found.keys() - self._lagging_reported:
            text = _lagging_text(found[key], LineKeys(self._line.line).alerts)
            self._publish([], [new_fault(self.name, "group", text)])
        self._lagging_reported = set(found)

    def _hear_ledger(self, report: LedgerReport) -> None:
        key = (report.camera_id, report.run_id)
        known = self._ledgers.get(key)
        if known is None or report.version > known.version:
            self._ledgers[key] = report
            self._unsaid_ledgers.add(key)
            if not report.ledger.balanced:
                self._report_imbalance(report)

    def _report_imbalance(self, report: LedgerReport) -> None:
        """Frames that nobody accounts for: once for each run of a camera, since it does not mend itself."""
        ledger = report.ledger
        text = (
            f"the ledger of camera {report.camera_id} does not balance: captured {ledger.captured}, accounted for "
            f"{ledger.accounted}; keep the files of the line and look at `f2p alerts verify`"
        )
        event_id = f"{report.camera_id}/{report.run_id}/ledger"
        self._publish([], [new_fault(self.name, "ledger", text, camera_id=report.camera_id, event_id=event_id)])

    def _write_states(self) -> None:
        """Ledgers and heartbeats are states: only the newest of each is written, and kept while the store is away."""
        ledgers = {key: self._ledgers[key].ledger.as_hash_fields() for key in self._unsaid_ledgers}
        workers = {
            name: None if heartbeat.state == "stopped" else msgspec.json.encode(heartbeat)
            for name, heartbeat in self._unsaid.items()
        } | dict.fromkeys(self._forgotten)
        ended = {key for key in ledgers if not self._ledgers[key].current}
        if (ledgers or workers) and self._store.write_states(ledgers, workers, ended):
            self._unsaid_ledgers.clear()
            self._unsaid.clear()
            self._forgotten.clear()

    @staticmethod
    def _refuse(message: Message) -> None:
        _log.warning("message for somebody else", message=type(message).__name__)


def _lagging_text(lagging: LaggingGroup, stream: str) -> str:
    since = datetime.fromtimestamp(lagging.unfinished_ms / 1000, UTC).isoformat(timespec="seconds")
    quoted = lagging.group if PLAIN_NAME.fullmatch(lagging.group) else f'"{lagging.group}"'
    what = "lost alerts: they were trimmed before it finished them" if lagging.overtaken else "is about to lose alerts"
    return (
        f"subscribers of group {lagging.group}: the group {what}; it has finished none since {since}. Wake its "
        f"consumers, raise publish.alerts_kept, or remove a group that nobody uses: XGROUP DESTROY {stream} "
        f"{quoted}"
    )


def _is_whole(result: InspectionResult, frame: FrameId) -> bool:
    """Whether all of the result speaks of that frame."""
    named = result.seq == frame.seq and result.camera_id == frame.camera_id and result.frame_id == str(frame)
    return named and result.verdict is not Verdict.FAULT and 0 <= (result.captured_at_ns or 0) <= LATEST_NS


def _of_inference(peer: bytes, beat: Heartbeat) -> bool:
    """Whether a guest speaks of itself, and no more than a worker has to say."""
    small = len(msgspec.json.encode(beat)) <= LARGEST_HEARTBEAT
    return beat.name.encode() == peer.partition(b"/")[0] and beat.role == "infer" and small


def _record(result: InspectionResult) -> Record:
    frame = FrameId.parse(result.frame_id or "")
    return Record(
        frame_id=str(frame),
        camera_id=frame.camera_id,
        run_id=frame.run_id,
        seq=frame.seq,
        verdict=result.verdict,
        reason=result.reason,
        part_id=result.part_id,
        captured_at_ns=result.captured_at_ns or 0,
        data=result.to_json(),
    )


def _ms(count_ns: int) -> float:
    return round(count_ns / 1e6, 3)
