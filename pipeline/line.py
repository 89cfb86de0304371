"""A whole line on this host: Redis if it is ours to run, workers under supervision, an orderly end, the ledger."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from f2pnet.config import LineConfig, load_line
from f2pnet.errors import F2pError, StoreAway
from pipeline.frames.ledger import Ledger
from pipeline.frames.ring import RingReader
from pipeline.frames.ring_file import unlink_ring
from pipeline.frames.ring_memory import SHARED_MEMORY, RingMissing
from pipeline.monitor.server import MonitorServer
from pipeline.monitor.snapshot import Snapshot, WorkerState
from pipeline.preflight import check_cameras, check_engine, check_recipe, check_store
from pipeline.reload import camera_changes
from pipeline.store.embedded_redis import EmbeddedRedis
from pipeline.summary import LineStatus, reconnects_by_camera, total_counters, total_latency, worker_row
from pipeline.supervisor import KeptWorker, Supervisor, WorkerSpec
from pipeline.wire.faults import FaultOutbox, new_fault
from pipeline.wire.messages import FaultAcks, Heartbeat
from pipeline.wire.notify import tell_keeper
from pipeline.wire.rundir import RunDir, new_run_id
from pipeline.wire.transport import Link
from pipeline.workers.worker import Stop

TICK_S = 0.1
ANSWER_S = 5.0  # beyond drain_s: for the last answers and for taking down
REVIVE_INTERVAL_S = 0.5
FAULT_ACKS_AT_ONCE = 64
_log = structlog.get_logger(__name__)

View = Callable[[LineStatus], None]


def run_line(
    line: LineConfig,
    line_file: Path,
    *,
    duration_s: float | None = None,
    view: View = lambda status: None,
    view_interval_s: float = 0.5,
    log_dir: Path | None = None,
    before_store_stops: Callable[[LineStatus, str], None] = lambda status, redis_url: None,
) -> LineStatus:
    """Run the line until its sources end, the time is over, or a signal asks for the end; return its last state.

    `duration_s` counts from when the inference workers of this host have started: loading an engine is not inspecting.
    `before_store_stops` gets the last state and the address of the store while that still runs. Raises ConfigError,
    MissingResource or StoreAway before anything is started; WorkerLost when a worker can't be kept running.
    """
    run_dir = RunDir(line, line_file)
    with run_dir.lock():
        for check in (check_engine, check_recipe, check_cameras, check_store):
            check(line)
        _reclaim_rings(line, run_dir)
        embedded = EmbeddedRedis(line.publish.embedded_redis_dir) if line.publish.redis == "embedded" else None
        if embedded is not None:
            embedded.start()
        try:
            running = _RunningLine(line, line_file, run_dir, embedded, log_dir)
            try:
                with _monitored(line, running):
                    running.keep(duration_s, view, view_interval_s)
            finally:
                status = running.end()
            before_store_stops(status, embedded.url if embedded else line.publish.redis)
            return status
        finally:
            if embedded is not None:
                embedded.stop()


def _reclaim_rings(line: LineConfig, run_dir: RunDir) -> None:
    """Free the shared memory of cameras that this line had once; rings of its present ones are taken over."""
    present = {run_dir.ring_name(camera.id) for camera in line.cameras}
    for path in SHARED_MEMORY.glob(run_dir.ring_name("*")):
        if path.name in present:
            continue
        try:
            reader = RingReader(path.name)
        except F2pError as error:  # of another version, or damaged
            _log.warning("ring of an earlier line left alone", ring=path.name, reason=str(error))
            continue
        held = reader.ledger.in_flight
        reader.close()
        if held:
            _log.error(
                "a camera that the line has no more left frames without a verdict: put it back and start once",
                ring=path.name,
                frames=held,
            )
        else:
            unlink_ring(path.name)
            _log.info("shared memory of a camera that the line has no more was freed", ring=path.name)


def worker_specs(line: LineConfig, line_file: Path, run_id: str) -> list[WorkerSpec]:
    """The workers of a line, in the order in which they are started."""
    file = str(line_file)
    return [
        WorkerSpec("publish", "publish", [file, "--name", "publish"]),
        *(WorkerSpec(f"infer-{n}", "infer", [file, "--name", f"infer-{n}"]) for n in range(line.engine.workers)),
        *(
            WorkerSpec(f"ingest-{camera.id}", "ingest", [file, "--name", f"ingest-{camera.id}", "--run-id", run_id])
            for camera in line.cameras
        ),
        *(
            WorkerSpec(f"sink-{sink.name}", "sink", [file, "--name", f"sink-{sink.name}"])
            for sink in line.publish.sinks
        ),
        *([WorkerSpec("console", "console", [file, "--name", "console"])] if line.console else []),
    ]


@contextmanager
def _monitored(line: LineConfig, running: _RunningLine) -> Iterator[None]:
    """Serve metrics and health while the line runs, where it is configured to."""
    if line.metrics is None:
        yield
        return
    with MonitorServer(line.metrics.host, line.metrics.port, running.snapshot, line.metrics.read_token()) as server:
        _log.info("metrics are served", host=line.metrics.host, port=server.port)
        yield


class _RunningLine:
    """The line between start and end."""

    def __init__(
        self,
        line: LineConfig,
        line_file: Path,
        run_dir: RunDir,
        embedded: EmbeddedRedis | None,
        log_dir: Path | None,
    ) -> None:
        self._line = line
        self._line_file = line_file
        self._run_dir = run_dir
        self._embedded = embedded
        self._run_id = new_run_id()
        self._stop = Stop()
        self._stop.listen()
        self._publish = Link(run_dir.publish_address, "supervisor", 1024, run_dir.curve)
        self._faults = FaultOutbox("supervisor", self._publish.send)
        self._revive_due_s = 0.0
        self._ledgers: dict[str, Ledger] = {camera.id: Ledger() for camera in line.cameras}
        self._rings: dict[str, RingReader] = {}
        self._first_verdict_s: float | None = None
        self._last_verdict_s = 0.0
        self._verdicts = 0
        self._supervisor = Supervisor(
            worker_specs(line, line_file, self._run_id),
            run_dir.path / "notify.sock",
            stall_s=line.timeouts.stall_s,
            log_dir=log_dir,
            on_restart=self._tell_restart,
        )
        self._started_s = time.monotonic()
        self._ready_s: float | None = None  # when it could first inspect
        self._supervisor.start()

    def keep(self, duration_s: float | None, view: View, view_interval_s: float) -> None:
        """Watch over the workers until it is time to end."""
        next_look_s = next_view_s = 0.0
        while not self._stop.requested and not self._supervisor.all_done("ingest"):
            now_s = time.monotonic()
            if self._ready_s is None and self._supervisor.have_started("infer"):
                self._ready_s = now_s
            if duration_s is not None and self._ready_s is not None and now_s - self._ready_s >= duration_s:
                return
            self._supervisor.watch(TICK_S)
            if self._stop.take_reload():
                self._reload()
            self._revive_store(now_s)
            self._tell_faults()
            if now_s >= next_look_s:  # heartbeats turn this loop far more often
                next_look_s = now_s + TICK_S
                self._read_ledgers()
            if now_s >= next_view_s:
                next_view_s = now_s + view_interval_s
                status = self.status()
                view(status)
                tell_keeper(f"{status.verdicts} verdicts, {len(status.cameras)} cameras")

    def end(self) -> LineStatus:
        """First no new frames, then what is in hand, then the store's last words; then count."""
        drain_s = self._line.timeouts.drain_s
        try:
            self._supervisor.stop("ingest", drain_s + ANSWER_S)
            self._supervisor.stop("infer", drain_s)
            self._supervisor.stop("console", drain_s)
            self._tell_faults(until_s=time.monotonic() + ANSWER_S)
            self._supervisor.stop("publish", drain_s)
            self._supervisor.stop("sink", drain_s)
        finally:
            self._supervisor.close()
            self._publish.close()
        self._read_ledgers()
        for ring in self._rings.values():
            ring.close()
        status = self.status()
        for camera_id, ledger in status.cameras.items():
            if not ledger.balanced:
                _log.error(
                    "ledger does not balance", camera=camera_id, captured=ledger.captured, found=ledger.accounted
                )
            if not ledger.in_flight:  # what is still held is told by the next run of this line
                unlink_ring(self._run_dir.ring_name(camera_id))
        return status

    def status(self) -> LineStatus:
        heartbeats = [*self._heartbeats()]
        of_publish = [h for h in heartbeats if h.role == "publish"]
        engines = [h.engine for h in heartbeats if h.engine]
        busy_s = self._last_verdict_s - (self._first_verdict_s or 0.0)
        return LineStatus(
            line=self._line.line,
            run_id=self._run_id,
            elapsed_s=time.monotonic() - self._started_s,
            throughput_fps=self._verdicts / busy_s if busy_s > 0 else 0.0,
            cameras=dict(self._ledgers),
            reconnects=reconnects_by_camera(heartbeats),
            workers=[worker_row(worker) for worker in self._supervisor.workers],
            latency_ms=total_latency(of_publish),
            alerts=total_counters(of_publish),
            engine=engines[-1] if engines else {},
        )

    def snapshot(self) -> Snapshot:
        """What monitoring is told; may be called from another thread."""
        workers = [
            WorkerState(
                name=row.name,
                role=row.role,
                state=row.state,
                makes_progress=self._supervisor.makes_progress(worker),
                restarts=row.restarts,
                detail=row.detail,
                device=row.device,
            )
            for worker in self._supervisor.workers
            if not worker.done
            for row in (worker_row(worker),)
        ]
        return Snapshot(self._line.line, self._run_id, workers, self._heartbeats(), dict(self._ledgers))

    def _heartbeats(self) -> list[Heartbeat]:
        return [
            heartbeat
            for worker in self._supervisor.workers
            for heartbeat in (worker.past, worker.heartbeat)
            if heartbeat is not None
        ]

    def _read_ledgers(self) -> None:
        for camera_id in self._ledgers:
            reader = self._ring_of(camera_id)
            if reader is not None and reader.run_id == self._run_id:
                self._ledgers[camera_id] = reader.ledger
        verdicts = sum(ledger.inspected for ledger in self._ledgers.values())
        if verdicts > self._verdicts:
            self._last_verdict_s = time.monotonic()
            if self._first_verdict_s is None:
                self._first_verdict_s = self._last_verdict_s
            self._verdicts = verdicts

    def _ring_of(self, camera_id: str) -> RingReader | None:
        """The camera's ring, opened once; None while its ingest worker is just starting."""
        reader = self._rings.get(camera_id)
        if reader is not None and reader.is_gone:
            self._rings.pop(camera_id).close()
            reader = None
        if reader is None:
            try:
                reader = self._rings[camera_id] = RingReader(self._run_dir.ring_name(camera_id))
            except RingMissing:
                return None
        return reader

    def _reload(self) -> None:
        """Take up the cameras that the line file names now. A file that does not fit changes nothing."""
        try:
            line = load_line(self._line_file)
            changes = camera_changes(self._line, line)
            check_cameras(line)
        except F2pError as error:
            _log.error("line file not taken up; the line goes on as it was", reason=str(error))
            return
        _log.info("line file taken up", changes=str(changes))
        specs = {spec.name: spec for spec in worker_specs(line, self._line_file, self._run_id)}
        self._line, self._run_dir = line, RunDir(line, self._line_file)
        self._ledgers = {camera_id: Ledger() for camera_id in changes.added} | self._ledgers  # one may come again
        for camera_id in changes.leaving:
            self._supervisor.retire(f"ingest-{camera_id}", line.timeouts.drain_s + ANSWER_S)
        self._supervisor.tell("infer", signal.SIGHUP)
        for camera_id in changes.arriving:
            self._supervisor.add(specs[f"ingest-{camera_id}"])
        if line.console is not None and (changes.leaving or changes.arriving):
            self._supervisor.retire("console", ANSWER_S)  # the page is made for the cameras that there are
            self._supervisor.add(specs["console"])

    def _revive_store(self, now_s: float) -> None:
        if self._embedded is None or now_s < self._revive_due_s:
            return
        self._revive_due_s = now_s + REVIVE_INTERVAL_S
        try:
            if self._embedded.revive():
                _log.warning("embedded Redis had ended and was started again")
            for text in self._embedded.take_losses():
                self._faults.add(new_fault("supervisor", "store", text))
        except StoreAway as error:
            _log.error("embedded Redis does not come back", reason=str(error))

    def _tell_restart(self, worker: KeptWorker, why: str) -> None:
        camera_id = worker.spec.name.removeprefix("ingest-") if worker.spec.role == "ingest" else None
        event_id = f"{self._run_id}/{worker.spec.name}/restart-{worker.restarts}"
        text = f"{worker.spec.name} {why}; replaced"
        self._faults.add(new_fault("supervisor", "worker", text, camera_id=camera_id, event_id=event_id))

    def _tell_faults(self, until_s: float = 0.0) -> None:
        """Send what waits; until that moment (monotonic), wait for it to be stored."""
        while True:
            for message, _ in self._publish.receive(at_most=FAULT_ACKS_AT_ONCE):
                if isinstance(message, FaultAcks):
                    self._faults.acknowledged(message.event_ids)
            self._faults.send_due()
            if not len(self._faults) or time.monotonic() >= until_s:
                return
            time.sleep(0.02)
