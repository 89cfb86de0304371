"""Keeps the workers of a line: starts them, listens for signs of life, replaces what died or hangs, ends in order.

Alive means making progress: a worker whose loop does not turn for `stall_s` is replaced, even if its process exists.
"""

from __future__ import annotations

import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from f2pnet.backoff import Backoff
from f2pnet.errors import ExitCode, F2pError, OutOfResources
from pipeline.processes.fork_server import ForkedProcess, ForkServer, NoFork
from pipeline.processes.holder import RESTARTS_KEY
from pipeline.wire.messages import Heartbeat
from pipeline.wire.notify import ENVIRONMENT_KEY, NotifyListener
from pipeline.workers.heartbeats import added_up
from pipeline.workers.worker import Role

FIRST_RESTART_S = 0.05
LONGEST_RESTART_S = 10.0
STABLE_S = 1.0  # a worker that lived this long is replaced at once; the delay grows for those that die as they start
CRASH_LOOP_DEATHS = 8  # so many deaths within ...
CRASH_LOOP_S = 60.0  # ... this time, and the line gives up instead of spinning
START_S = 180.0  # until a worker runs; a large engine takes its time to load and to warm up
STEPS_OF_PATIENCE = 5  # a worker may be silent at least as long as so many of its steps take
HOPELESS = (ExitCode.USAGE, ExitCode.MISSING)  # of a worker that never ran: starting again would end the same way
NOT_YET = ("starting", "failed")  # states of a worker before it works
_log = structlog.get_logger(__name__)


class WorkerLost(F2pError):
    """A worker can't be kept running; the line ends."""


@dataclass(frozen=True)
class WorkerSpec:
    """One worker to be kept: `arguments` of the f2p command that runs it."""

    name: str
    role: Role
    arguments: Sequence[str]
    camera_id: str | None = None


@dataclass
class KeptWorker:
    """A worker process and its history."""

    spec: WorkerSpec
    process: ForkedProcess | None = None
    started_s: float = 0.0
    heard_s: float | None = None
    restart_at_s: float | None = None
    restarts: int = 0
    added: bool = False  # while the line ran already
    ran: bool = False  # one of its processes got as far as working
    done: bool = False
    kill_at_s: float | None = None  # of a worker that was asked to end
    heartbeat: Heartbeat | None = None
    past: Heartbeat | None = None  # final counters of the processes before this one, added up
    deaths_s: deque[float] = field(default_factory=lambda: deque(maxlen=CRASH_LOOP_DEATHS))
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_RESTART_S, LONGEST_RESTART_S))

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs worker processes in the order given, and ends them by role in the order given to `stop`.

    `log_dir` None: workers write to this process's stderr. `on_restart` is notified of each replacement; `arguments_of`
    may add arguments for the process that is about to start; `environment` and `inherited` are for all of them.
    """

    def __init__(
        self,
        specs: Iterable[WorkerSpec],
        *,
        stall_s: float,
        log_dir: Path | None = None,
        on_restart: Callable[[KeptWorker, str], None] = lambda worker, why: None,
        arguments_of: Callable[[WorkerSpec], Sequence[str]] = lambda spec: spec.arguments,
        environment: Mapping[str, str] | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self.workers = [KeptWorker(spec) for spec in specs]
        self._listener = NotifyListener()
        self._stall_s = stall_s
        self._log_dir = log_dir
        self._on_restart = on_restart
        self._arguments_of = arguments_of
        self._environment = dict(environment or {})
        self._forks = ForkServer(inherited)

    def start(self) -> None:
        for worker in self.workers:
            self._spawn(worker)

    def watch(self, timeout_s: float) -> None:
        """Wait for signs of life at most `timeout_s`, then mend what is broken. Raises WorkerLost."""
        select.select([self._listener], [], [], timeout_s)
        self._listen()
        now_s = time.monotonic()
        self._forks.keep()
        for worker in [*self.workers]:
            if worker.done:
                if worker.kill_at_s is not None and now_s >= worker.kill_at_s:
                    self._kill(worker)
                continue
            if worker.restart_at_s is not None:
                if now_s >= worker.restart_at_s and not self._namesake_ends(worker):
                    self._spawn(worker)
            elif not worker.running:
                self._bury(worker)
            elif not self.makes_progress(worker):
                _log.error("worker makes no progress", worker=worker.spec.name, pid=self._pid(worker))
                self._kill(worker)

    def makes_progress(self, worker: KeptWorker) -> bool:
        """Whether the worker's process runs and was heard of within the time that it may be silent."""
        silent_s = time.monotonic() - (worker.heard_s or worker.started_s)
        return worker.running and silent_s <= self._patience_s(worker)

    def add(self, spec: WorkerSpec) -> None:
        """Keep one more worker, from the next `watch` on that finds no process of its name any more."""
        self.workers.append(KeptWorker(spec, restart_at_s=time.monotonic(), added=True))

    def retire(self, name: str, timeout_s: float) -> None:
        """Ask a worker to drain and end; it is not replaced, and killed when it does not end within the time."""
        for worker in self.workers:
            if worker.spec.name == name and not worker.done:
                worker.done, worker.kill_at_s = True, time.monotonic() + timeout_s
                if worker.running and worker.process:
                    worker.process.send_signal(signal.SIGTERM)

    def send_signal(self, role: Role, number: signal.Signals) -> None:
        """Send a signal to the running workers of a role."""
        for worker in self.workers:
            if worker.spec.role == role and not worker.done and worker.running and worker.process:
                worker.process.send_signal(number)

    def have_started(self, role: Role) -> bool:
        """Whether every worker of the role has its start behind it."""
        kept = [worker for worker in self.workers if worker.spec.role == role]
        return all(worker.heartbeat is not None and worker.heartbeat.state not in NOT_YET for worker in kept)

    def all_done(self, role: Role) -> bool:
        """Whether every worker of the role has ended its work by itself."""
        return all(worker.done and not worker.running for worker in self.workers if worker.spec.role == role)

    def stop(self, role: Role, timeout_s: float) -> None:
        """Ask the workers of a role to drain and end; those that do not within the time are killed."""
        kept = [worker for worker in self.workers if worker.spec.role == role]
        for worker in kept:
            worker.done = True
            if worker.running and worker.process and worker.kill_at_s is None:  # a second signal would end it at once
                worker.process.send_signal(signal.SIGTERM)
        until_s = time.monotonic() + timeout_s
        while any(worker.running for worker in kept) and time.monotonic() < until_s:
            select.select([self._listener], [], [], 0.02)
            self._listen()
        for worker in kept:
            if worker.running:
                _log.error("worker did not end in time", worker=worker.spec.name, timeout_s=timeout_s)
                self._kill(worker)
        self._listen()

    def close(self) -> None:
        """End at once whatever still runs."""
        self._forks.close()
        for worker in self.workers:
            self._kill(worker)
        self._listener.close()

    def _namesake_ends(self, worker: KeptWorker) -> bool:
        """Whether an earlier worker of that name still runs. One that ended leaves its history to the new one."""
        for other in [*self.workers]:
            if other.spec.name != worker.spec.name or other is worker:
                continue
            if other.running:
                return True
            for words in (other.past, other.heartbeat):
                if words is not None:
                    worker.past = added_up(worker.past, words)
            worker.restarts += other.restarts
            worker.ran = worker.ran or other.ran
            self.workers.remove(other)
        return False

    def _patience_s(self, worker: KeptWorker) -> float:
        """How long a worker may be silent. One that starts may have to load a large engine."""
        if worker.heartbeat is None or worker.heartbeat.state in NOT_YET:
            return START_S
        return max(self._stall_s, STEPS_OF_PATIENCE * worker.heartbeat.step_ms / 1e3)

    def _listen(self) -> None:
        by_name = {worker.spec.name: worker for worker in self.workers}  # the last one of a name is the present one
        for heartbeat in self._listener.receive():
            worker = by_name.get(heartbeat.name)
            if worker is not None and worker.process is not None and worker.process.pid == heartbeat.pid:
                worker.heard_s, worker.heartbeat = time.monotonic(), heartbeat
                worker.ran = worker.ran or heartbeat.state not in NOT_YET

    def _spawn(self, worker: KeptWorker) -> None:
        """Start a process of the worker; where the machine gives none, that is tried again later."""
        environment = {
            ENVIRONMENT_KEY: self._listener.address,
            RESTARTS_KEY: str(worker.restarts),
            **self._environment,
        }
        log = self._log_of(worker) if self._log_dir else None
        try:
            arguments = ["worker", worker.spec.role, *self._arguments_of(worker.spec)]
            worker.process = self._forks.run_f2p(arguments, environment, log)
        except (NoFork, OutOfResources) as error:
            worker.process, worker.restart_at_s = None, time.monotonic() + worker.backoff.next_delay()
            _log.error("worker can't be started now", worker=worker.spec.name, reason=str(error))
            self._on_restart(worker, f"can't be started now: {error}")
            return
        worker.started_s, worker.heard_s, worker.restart_at_s = time.monotonic(), None, None

    def _bury(self, worker: KeptWorker) -> None:
        """A worker ended by itself: it is through, or it is replaced, or there is no hope."""
        code = (worker.process and worker.process.poll()) or 0
        if code == ExitCode.OK:
            worker.done = True
            return
        why = f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if worker.heartbeat is not None and worker.heartbeat.state == "failed":
            why += f": {worker.heartbeat.detail}"
        if code in HOPELESS and not worker.ran:
            if not worker.added:
                raise WorkerLost(f"worker {worker.spec.name} can't start ({why}){self._end_of_log(worker)}")
            if code == ExitCode.USAGE:
                worker.done = True
                _log.error("worker can't start; the others go on", worker=worker.spec.name, why=why)
                self._on_restart(worker, f"{why}; it stays away, the others go on")
                return
        now_s = time.monotonic()
        if code != ExitCode.MISSING:  # what is missing may come back, however long that takes
            worker.deaths_s.append(now_s)
        if len(worker.deaths_s) == CRASH_LOOP_DEATHS and now_s - worker.deaths_s[0] < CRASH_LOOP_S:
            raise WorkerLost(
                f"worker {worker.spec.name} died {CRASH_LOOP_DEATHS} times within {now_s - worker.deaths_s[0]:.0f} s, "
                f"last: {why}{self._end_of_log(worker)}"
            )
        if now_s - worker.started_s > STABLE_S:
            worker.backoff.reset()
        worker.restarts += 1
        worker.restart_at_s = now_s + worker.backoff.next_delay()
        if worker.heartbeat is not None:
            worker.past = added_up(worker.past, worker.heartbeat)
            worker.heartbeat = None
        _log.warning("worker replaced", worker=worker.spec.name, why=why, restarts=worker.restarts)
        self._on_restart(worker, f"{why}; replaced")

    def _end_of_log(self, worker: KeptWorker) -> str:
        """The end of the worker's log, where its reason stands; without logs it is on stderr already."""
        if self._log_dir is None:
            return ""
        lines = self._log_of(worker).read_text(encoding="utf-8", errors="replace").splitlines()
        return f": {lines[-1]}" if lines else ""

    def _log_of(self, worker: KeptWorker) -> Path:
        return (self._log_dir or Path()) / f"{worker.spec.name}.log"

    @staticmethod
    def _kill(worker: KeptWorker) -> None:
        if worker.process is not None and worker.running:
            worker.process.kill()
            worker.process.wait(timeout=10)

    @staticmethod
    def _pid(worker: KeptWorker) -> int | None:
        return None if worker.process is None else worker.process.pid
