"""Workers that a supervisor keeps, as rows of a status table."""

from __future__ import annotations

from pipeline.status.summary import WorkerRow
from pipeline.supervision.supervisor import KeptWorker


def worker_row(worker: KeptWorker) -> WorkerRow:
    """A kept worker as a row; a process that is gone has no pid."""
    last = worker.heartbeat or worker.past
    state = _state(worker)
    page_is_gone = worker.spec.role == "console" and state == "stopped"
    return WorkerRow(
        name=worker.spec.name,
        role=worker.spec.role,
        pid=worker.process.pid if worker.process and worker.running else None,
        state=state,
        device=last.device if last else None,
        restarts=worker.restarts,
        detail=last.detail if last and not page_is_gone else None,
    )


def _state(worker: KeptWorker) -> str:
    if worker.done and not worker.running:
        return "stopped"
    if worker.heartbeat is not None:
        return worker.heartbeat.state
    return "restarting" if worker.restarts else "starting"
