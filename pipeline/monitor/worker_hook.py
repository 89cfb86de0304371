"""Metrics and health of one worker, for lines whose workers are kept by systemd or Kubernetes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from f2pnet.config import LineConfig
from f2pnet.config.metrics import MetricsConfig
from pipeline.frames.ledger import Ledger
from pipeline.monitor.server import MonitorServer
from pipeline.monitor.snapshot import Snapshot, WorkerState, ledger_in_memory
from pipeline.wire.messages import Heartbeat
from pipeline.wire.rundir import RunDir
from pipeline.workers.worker import Hook

START_S = 180.0  # as the supervisor: loading a large engine takes its time
STEPS_OF_PATIENCE = 5
_log = structlog.get_logger(__name__)


@contextmanager
def monitored(
    line: LineConfig, line_file: Path, name: str, camera: str | None, port: int | None
) -> Iterator[list[Hook]]:
    """Serve a worker's metrics and health on `port` of the host that the line names; None: no hooks, no server."""
    if port is None:
        yield []
        return
    metrics = line.metrics or MetricsConfig()
    ring = RunDir(line, line_file).ring_name(camera) if camera else None

    def ledgers() -> dict[str, Ledger]:
        ledger = ledger_in_memory(ring) if ring else None
        return {camera: ledger} if camera and ledger else {}

    hook = MonitorHook(line.line, line.timeouts.stall_s, ledgers)
    with MonitorServer(metrics.host, port, hook.snapshot, metrics.read_token()) as server:
        _log.info("metrics are served", worker=name, host=metrics.host, port=server.port)
        yield [hook]


class MonitorHook(Hook):
    """Keeps the worker's last heartbeat and says how old it is. `ledgers` is asked at each snapshot."""

    def __init__(self, line: str, stall_s: float, ledgers: Callable[[], dict[str, Ledger]]) -> None:
        self._line = line
        self._stall_s = stall_s
        self._ledgers = ledgers
        self._last: tuple[Heartbeat, float] | None = None

    def beat(self, heartbeat: Heartbeat) -> None:
        self._last = heartbeat, time.monotonic()

    def snapshot(self) -> Snapshot:
        """The state of the moment; may be called from another thread."""
        last = self._last
        if last is None:
            return Snapshot(self._line, None, [], [], self._ledgers())
        heartbeat, heard_s = last
        starting = heartbeat.state == "starting"
        patience_s = START_S if starting else max(self._stall_s, STEPS_OF_PATIENCE * heartbeat.step_ms / 1e3)
        state = WorkerState(
            name=heartbeat.name,
            role=heartbeat.role,
            state=heartbeat.state,
            makes_progress=time.monotonic() - heard_s <= patience_s,
            restarts=heartbeat.restarts,
            detail=heartbeat.detail,
            device=heartbeat.device,
        )
        return Snapshot(self._line, None, [state], [heartbeat], self._ledgers())
