"""Health that means it: alive is progress, ready is work being done, the store reached, and a balanced ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.monitor.metrics import is_ready
from pipeline.monitor.snapshot import Snapshot


@dataclass(frozen=True)
class Health:
    """`problems` is empty when all is well; each is a line for people."""

    problems: list[str]

    @property
    def ok(self) -> bool:
        return not self.problems


def alive(snapshot: Snapshot) -> Health:
    """For a liveness probe: every worker's loop turns. Whoever fails it should be started again."""
    return Health([_of(worker.name, "makes no progress") for worker in snapshot.workers if not worker.makes_progress])


def ready(snapshot: Snapshot) -> Health:
    """For a readiness probe: every worker does its work, engines have proven their device, no frame is unaccounted for.

    A worker that starts or waits (camera away, store away, engine loading) is alive and not ready.
    """
    return Health([*_not_ready(snapshot)])


def _not_ready(snapshot: Snapshot) -> Iterator[str]:
    if not snapshot.workers:
        yield "no worker was heard of yet"
    for worker in snapshot.workers:
        if not is_ready(worker):
            state = worker.state if worker.makes_progress else f"{worker.state}, makes no progress"
            yield _of(worker.name, state if worker.detail is None else f"{state}: {worker.detail}")
        elif worker.role == "infer" and worker.device is None:
            yield _of(worker.name, "its engine has not run yet")
    for camera, ledger in snapshot.ledgers.items():
        if not ledger.balanced:
            yield _of(camera, f"ledger: {ledger.captured} captured, {ledger.accounted} accounted for")


def _of(name: str, text: str) -> str:
    return f"{name}: {text}"
