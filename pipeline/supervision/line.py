"""A whole line on this host: Redis if it is ours to run, workers under supervision, an orderly end, the ledger."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from f2pnet.config import LineConfig, load_line, refuse_reserved_names
from f2pnet.engine.bundle import Bundle, open_bundle
from f2pnet.errors import F2pError, StoreAway
from f2pnet.inspection.recipe import Recipe
from pipeline.checks.descriptors import check_descriptors, raise_descriptor_limit
from pipeline.checks.machine_checks import MOST_CLOCK_DIFFERENCE_S, clock_difference_s
from pipeline.checks.preflight import check_cameras, check_engine, check_places, check_recipe, check_store
from pipeline.configuration.active_config import ENVIRONMENT_KEY, ActiveConfig, SharedConfig
from pipeline.configuration.config_files import ConfigFiles
from pipeline.configuration.engine_copy import hold_engine, open_held
from pipeline.frames.ledger import Ledger
from pipeline.frames.memory_order import check_memory_order
from pipeline.monitor.server import MonitorServer
from pipeline.monitor.snapshot import Snapshot, WorkerState
from pipeline.processes.periodic import Periodic
from pipeline.sinks import refuse_second_line
from pipeline.status.summary import LineStatus, reconnects_by_camera, total_counters, total_latency
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.line_lease import LineLease, held_line
from pipeline.supervision.reload import line_changes
from pipeline.supervision.rings import LineRings
from pipeline.supervision.supervisor import KeptWorker, Supervisor, WorkerSpec
from pipeline.supervision.worker_rows import worker_row
from pipeline.wire.faults import FaultOutbox, new_fault
from pipeline.wire.line_lock import LineLock
from pipeline.wire.messages import FaultAcks, Heartbeat
from pipeline.wire.notify import notify_parent
from pipeline.wire.run_id import new_run_id
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link
from pipeline.workers.worker import Stop

TICK_S = 0.1
ANSWER_S = 5.0  # beyond drain_s: for the last answers and for taking down
LOOK_AFTER_S = 0.5
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
    check_memory_order()
    raise_descriptor_limit()
    with run_dir.lock() as lock:
        for check in (check_descriptors, check_engine, check_recipe, check_cameras, check_places, check_store):
            check(line)
        for sink in line.publish.sinks:
            refuse_second_line(sink, line.line)
        _warn(line)
        with _held(line) as lease:
            config, bundle = _hold(line)
            embedded = EmbeddedRedis(line.publish.embedded_redis_dir) if line.publish.is_embedded else None
            if embedded is not None:
                embedded.start()
            try:
                if embedded is not None:
                    config = replace(config, store_url=embedded.url)
                files = ConfigFiles(line, line_file, bundle)
                running = _RunningLine(config, line_file, run_dir, embedded, log_dir, lock, files, lease)
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


@contextmanager
def _held(line: LineConfig) -> Iterator[LineLease | None]:
    """Hold the line's name in its Redis. An embedded one is nobody else's: its folder is locked."""
    if line.publish.is_embedded:
        yield None
        return
    with held_line(line.publish.redis, line.line) as lease:
        yield lease


def _warn(line: LineConfig) -> None:
    """Log what will hurt, and does not keep the line from running."""
    try:
        refuse_reserved_names(line)
        difference_s = 0.0 if line.publish.is_embedded else clock_difference_s(line.publish.redis)
    except F2pError as error:
        _log.warning("the line starts all the same", reason=str(error))
        return
    if abs(difference_s) > MOST_CLOCK_DIFFERENCE_S:
        _log.warning("the clocks of this host and of Redis differ: keep time by NTP", seconds=round(difference_s, 1))


def _hold(line: LineConfig) -> tuple[ActiveConfig, Bundle | None]:
    """The configuration to put in force, with an engine that nobody can change while the line runs."""
    config = ActiveConfig.of_files(line)
    try:
        bundle = open_bundle(line.engine.bundle)
    except F2pError:
        if line.engine.backend != "null":
            raise
        return config, None  # the null backend answers without an engine
    folder = hold_engine(bundle, line.publish.spool.dir)
    return replace(config, engine_folder=folder, engine_sha256=bundle.sha256), bundle


def worker_specs(line: LineConfig, line_file: Path) -> list[WorkerSpec]:
    """The workers of a line, in the order in which they are started."""
    file = str(line_file)
    return [
        WorkerSpec("publish", "publish", [file, "--name", "publish"]),
        *(WorkerSpec(f"infer-{n}", "infer", [file, "--name", f"infer-{n}"]) for n in range(line.engine.workers)),
        *(
            WorkerSpec(
                f"ingest-{camera.id}",
                "ingest",
                [file, "--name", f"ingest-{camera.id}", "--camera", camera.id],
                camera_id=camera.id,
            )
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
        config: ActiveConfig,
        line_file: Path,
        run_dir: RunDir,
        embedded: EmbeddedRedis | None,
        log_dir: Path | None,
        lock: LineLock,
        files: ConfigFiles,
        lease: LineLease | None,
    ) -> None:
        line = config.line
        self._lease = lease
        self._conflict_reported: str | None = None
        self._line = line
        self._line_file = line_file
        self._run_dir = run_dir
        self._embedded = embedded
        self._lock = lock
        self._files = files
        self._config = config
        self._shared_config = SharedConfig()
        self._shared_config.write(config)
        self._run_id = new_run_id()
        self._stop = Stop()
        self._stop.listen()
        self._publish = Link(run_dir.publish_address, "supervisor", 1024, run_dir.curve)
        self._faults = FaultOutbox("supervisor", self._publish.send)
        self._care = Periodic(LOOK_AFTER_S)
        self._ledgers: dict[str, Ledger] = {camera.id: Ledger() for camera in line.cameras}
        self._rings = LineRings(run_dir, self._run_id)
        self._first_verdict_s: float | None = None
        self._last_verdict_s = 0.0
        self._verdicts = 0
        self._supervisor = Supervisor(
            worker_specs(line, line_file),
            stall_s=line.timeouts.stall_s,
            log_dir=log_dir,
            on_restart=self._report_restart,
            arguments_of=self._arguments_of,
            environment={ENVIRONMENT_KEY: str(self._shared_config.descriptor)},
            inherited=[self._shared_config.descriptor],
        )
        self._started_s = time.monotonic()
        self._ready_s: float | None = None  # when it could first inspect
        self._supervisor.start()

    def keep(self, duration_s: float | None, view: View, view_interval_s: float) -> None:
        """Watch over the workers until it is time to end."""
        look, show = Periodic(TICK_S), Periodic(view_interval_s)
        while not self._stop.requested and not self._supervisor.all_done("ingest"):
            now_s = time.monotonic()
            if self._ready_s is None and self._supervisor.have_started("infer"):
                self._ready_s = now_s
            if duration_s is not None and self._ready_s is not None and now_s - self._ready_s >= duration_s:
                return
            self._supervisor.watch(TICK_S)
            if self._stop.take_reload():
                self._reload()
            if self._care.due():
                self._look_after()
            self._report_conflict()
            self._report_faults()
            if look.due():  # heartbeats turn this loop far more often
                self._read_ledgers()
            if show.due():
                status = self.status()
                view(status)
                notify_parent(f"{status.verdicts} verdicts, {len(status.cameras)} cameras")

    def end(self) -> LineStatus:
        """First no new frames, then what is in hand, then the store's final counts; then count."""
        drain_s = self._line.timeouts.drain_s
        try:
            self._supervisor.stop("ingest", drain_s + ANSWER_S)
            self._supervisor.stop("infer", drain_s)
            self._supervisor.stop("console", drain_s)
            self._report_faults(until_s=time.monotonic() + ANSWER_S)
            self._supervisor.stop("publish", drain_s)
            self._supervisor.stop("sink", drain_s)
        finally:
            self._supervisor.close()
            self._publish.close()
            self._shared_config.close()
        self._read_ledgers()
        status = self.status()
        for camera_id, ledger in status.cameras.items():
            if not ledger.balanced:
                _log.error(
                    "ledger does not balance", camera=camera_id, captured=ledger.captured, found=ledger.accounted
                )
        # What is still held is reported by the next run of this line.
        self._rings.close(settled=[name for name, ledger in status.cameras.items() if not ledger.in_flight])
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
        """What monitoring reads; may be called from another thread."""
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
            self._ledgers[camera_id] = self._rings.ledger(camera_id) or self._ledgers[camera_id]
        verdicts = sum(ledger.inspected for ledger in self._ledgers.values())
        if verdicts > self._verdicts:
            self._last_verdict_s = time.monotonic()
            if self._first_verdict_s is None:
                self._first_verdict_s = self._last_verdict_s
            self._verdicts = verdicts

    def _arguments_of(self, spec: WorkerSpec) -> Sequence[str]:
        """An ingest worker goes on in the run of its camera's ring."""
        if spec.camera_id is None:
            return spec.arguments
        run_id, fault = self._rings.run_id_for(spec.camera_id)
        if fault is not None:
            self._report("ring", fault, spec.camera_id)
        return [*spec.arguments, "--run-id", run_id]

    def _reload(self) -> None:
        """Put cameras and recipe in force as the files name them now. What does not fit changes nothing."""
        try:
            line = load_line(self._line_file)
            changes = line_changes(self._line, line)
            recipe = ActiveConfig.of_files(line).recipe
            check_cameras(line)
            check_descriptors(line)
            self._check_classes(recipe)
        except (F2pError, OSError) as error:
            _log.error("line file not applied; the line goes on as it was", reason=str(error))
            self._report("configuration", f"the line file was not applied, the line goes on as it was: {error}")
            return
        recipe_changed = recipe != self._config.recipe
        _log.info("line file applied", changes=str(changes), recipe="changed" if recipe_changed else "same")
        self._line, self._run_dir = line, RunDir(line, self._line_file)
        self._config = replace(self._config, line=line, recipe=recipe)
        self._shared_config.write(self._config)
        if changed := self._files.of_engine_changed():
            text = f"{_listed(changed)} differ from the engine in force: stop and start the line to use them"
            self._report("configuration", text)
        self._files.applied(line, self._line_file)
        specs = {spec.name: spec for spec in worker_specs(line, self._line_file)}
        self._ledgers = {camera_id: Ledger() for camera_id in changes.added} | self._ledgers  # one may come again
        for camera_id in changes.leaving:
            self._supervisor.retire(f"ingest-{camera_id}", line.timeouts.drain_s + ANSWER_S)
        for role in ("infer", "console"):
            self._supervisor.send_signal(role, signal.SIGHUP)
        for camera_id in changes.arriving:
            self._supervisor.add(specs[f"ingest-{camera_id}"])

    def _check_classes(self, recipe: Recipe | None) -> None:
        """Raise ConfigError where a recipe names classes that the engine in force does not know."""
        if recipe is not None and (bundle := self._bundle_in_force()) is not None:
            recipe.check_classes(bundle.manifest.classes)

    def _bundle_in_force(self) -> Bundle | None:
        if self._config.engine_sha256 is None:
            return None
        return open_held(self._config.engine_sha256, self._config.engine_folder, self._line.engine.bundle)

    def _look_after(self) -> None:
        """The store, the lock, and frames of cameras that are gone."""
        self._lock.keep()
        self._rings.report_departed()
        if self._embedded is None:
            return
        try:
            if self._embedded.revive():
                _log.warning("embedded Redis had ended and was started again")
            for text in self._embedded.take_losses():
                self._faults.add(new_fault("supervisor", "store", text))
        except StoreAway as error:
            _log.error("embedded Redis does not come back", reason=str(error))

    def _report_conflict(self) -> None:
        """Once for each other line of this name that was found on the same Redis: this one goes on."""
        conflict = None if self._lease is None else self._lease.conflict
        if conflict is not None and conflict != self._conflict_reported:
            self._report("line", conflict)
        self._conflict_reported = conflict

    def _report_restart(self, worker: KeptWorker, what: str) -> None:
        text = f"{worker.spec.name} {what}"
        if changed := self._files.newly_changed():
            text += f". {_listed(changed)} differ from what is in force, and are not used: see f2p reload"
        event_id = f"{self._run_id}/{worker.spec.name}/restart-{worker.restarts}-{secrets.token_hex(4)}"
        self._report("worker", text, worker.spec.camera_id, event_id)

    def _report(self, kind: str, text: str, camera_id: str | None = None, event_id: str | None = None) -> None:
        self._faults.add(new_fault("supervisor", kind, text, camera_id=camera_id, event_id=event_id))

    def _report_faults(self, until_s: float = 0.0) -> None:
        """Send what waits; until that moment (monotonic), wait for it to be stored."""
        while True:
            for message, _ in self._publish.receive(at_most=FAULT_ACKS_AT_ONCE):
                if isinstance(message, FaultAcks):
                    self._faults.acknowledged(message.event_ids)
            self._faults.send_due()
            if not len(self._faults) or time.monotonic() >= until_s:
                return
            time.sleep(0.02)


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))
