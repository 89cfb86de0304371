"""What every worker is: set up, stepping, drained, torn down; with signals, signs of life and hooks around it."""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import FrameType
from typing import Literal

import structlog

from f2pnet.errors import ExitCode, F2pError, OutOfResources, out_of_resources
from pipeline.processes.holder import RESTARTS_KEY
from pipeline.wire.messages import Heartbeat
from pipeline.wire.notify import notify
from pipeline.wire.transport import Link, end_transport

HEARTBEAT_INTERVAL_NS = 200_000_000
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that `Stop` listens to."""
_log = structlog.get_logger(__name__)

Role = Literal["ingest", "infer", "publish", "sink", "console"]


class Stop:
    """What the signal handler writes down: the first signal asks for an orderly end, the second ends at once."""

    def __init__(self) -> None:
        self.requested = False
        self._reload = False

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._record)
        signal.signal(signal.SIGHUP, self._ask_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # what came before is heard now

    def take_reload(self) -> bool:
        """Whether SIGHUP asked, since the last call, to read the line file again."""
        asked, self._reload = self._reload, False
        return asked

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            os._exit(ExitCode.INTERRUPTED)
        self.requested = True

    def _ask_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload = True


class Worker(ABC):
    """One process of the line. `step` does what is due and returns within a fraction of a second."""

    role: Role

    def __init__(self, name: str, camera_id: str | None = None) -> None:
        self.name = name
        self.camera_id = camera_id  # of an ingest worker
        self.state = "starting"
        self.detail: str | None = None
        self.progress = 0  # grows with the work done

    @abstractmethod
    def set_up(self) -> None:
        """Acquire what the worker needs. An F2pError here ends the process with the error's exit code."""

    @abstractmethod
    def step(self) -> bool:
        """Do what is due, or wait a little for it. False: there is no more work, the worker is through."""

    @abstractmethod
    def drain(self) -> bool:
        """As `step`, but take on nothing new. False: nothing is in hand any more."""

    @abstractmethod
    def tear_down(self) -> None:
        """Give back what `set_up` acquired."""

    @property
    def is_stuck(self) -> bool:
        """Whether its work does not go on although its loop turns: then it gives no sign of life."""
        return False

    def reload(self) -> None:  # noqa: B027 - an answer that most workers have no use for
        """The line file was changed: apply its cameras."""

    def heartbeat(self) -> Heartbeat:
        """How the worker is; asked for only after `set_up`."""
        return Heartbeat(
            name=self.name,
            role=self.role,
            pid=os.getpid(),
            state=self.state,
            at_ns=time.time_ns(),
            progress=self.progress,
            restarts=int(os.environ.get(RESTARTS_KEY, "0")),
            detail=self.detail,
            camera_id=self.camera_id,
        )


class Hook:
    """Something that is notified of what happens to a worker and must not disturb it. All methods may be left empty."""

    def beat(self, heartbeat: Heartbeat) -> None:
        """Several times a second, from the worker's own loop: it is alive as long as this is called."""


class NotifyHook(Hook):
    """Notifies systemd or our supervisor."""

    def beat(self, heartbeat: Heartbeat) -> None:
        notify(heartbeat)


class PublishHook(Hook):
    """Sends heartbeats to the publish worker, which keeps the workers' table in the store."""

    def __init__(self, publish: Link) -> None:
        self._publish = publish

    def beat(self, heartbeat: Heartbeat) -> None:
        self._publish.send(heartbeat)


class _Hooks:
    """Calls each hook; one that fails is logged and does not stop the line."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = tuple(hooks)
        self._next_ns = 0

    def beat(self, worker: Worker, *, now: bool = False) -> None:
        if not now and time.monotonic_ns() < self._next_ns:
            return
        self._next_ns = time.monotonic_ns() + HEARTBEAT_INTERVAL_NS
        not_set_up = worker.state in ("starting", "failed")
        if not not_set_up and worker.is_stuck:
            return
        heartbeat = Worker.heartbeat(worker) if not_set_up else worker.heartbeat()
        for hook in self._hooks:
            try:
                hook.beat(heartbeat)
            except Exception:
                _log.exception("hook failed", hook=type(hook).__name__, worker=worker.name)


def run_worker(worker: Worker, hooks: Iterable[Hook], drain_s: float) -> None:
    """Run one worker until its work is through or a signal asks it to end.

    First no new work, then what is in hand (for at most `drain_s`), then the sockets: whoever waits for an answer
    gets it.
    """
    stop, around = Stop(), _Hooks(hooks)
    stop.listen()
    around.beat(worker, now=True)
    try:
        worker.set_up()
    except (F2pError, OSError, MemoryError) as error:
        raise _failed(worker, around, error) from error
    worker.state = "running"
    try:
        while not stop.requested and worker.step():
            if stop.take_reload():
                worker.reload()
            around.beat(worker)
        worker.state = "draining"
        give_up_ns = time.monotonic_ns() + int(drain_s * 1e9)
        while worker.drain() and time.monotonic_ns() < give_up_ns:
            around.beat(worker)
        worker.state = "stopped"
        around.beat(worker, now=True)
    except (F2pError, OSError, MemoryError) as error:
        raise _failed(worker, around, error) from error
    finally:
        worker.tear_down()
        end_transport()


def _failed(worker: Worker, around: _Hooks, error: F2pError | OSError | MemoryError) -> Exception:
    """The error to end with. The supervisor is notified, so that it can report why the worker ended."""
    failure: Exception = error
    if isinstance(error, MemoryError):
        failure = OutOfResources(f"worker {worker.name} got no memory: give the machine or container more")
    elif isinstance(error, OSError):
        failure = out_of_resources(f"worker {worker.name} ended", error) or error
    worker.state, worker.detail = "failed", str(failure)
    around.beat(worker, now=True)
    return failure
