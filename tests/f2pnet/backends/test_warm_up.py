"""Before the first part comes, every size of batch has run on every slot, and its time is a warm one."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from f2pnet.backends.base import Backend, BackendFacts, Batch, Outputs, run_sizes
from f2pnet.backends.onnx_runtime import OnnxRuntimeBackend
from f2pnet.engine.bundle import Bundle
from tests.toy_engine import SIDE, write_toy_bundle

COLD_S = 0.1


class Cold(Backend):
    """Takes long for a size that it has not seen in as many runs as it has slots."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(BackendFacts("cold", "cuda:0", 6, SIDE, depth=2), bundle.manifest.outputs)
        self.seen: list[int] = []

    def _sizes(self, most: int) -> list[int]:
        return run_sizes(most, self.facts.max_batch)

    def _run(self, batch: Batch) -> Outputs:
        count = len(batch)
        time.sleep(COLD_S if self.seen.count(count) < self.facts.depth else 0)
        self.seen.append(count)
        return {spec.name: np.zeros((count, *spec.shape), np.float32) for spec in self._outputs}


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / "toy", max_batch=6)


def test_every_size_runs_on_every_slot_and_the_warm_run_is_timed(toy: Bundle) -> None:
    with Cold(toy) as backend:
        times_ms = backend.warm_up(5)

    assert [*times_ms] == [1, 2, 4, 6]  # five images are filled up to six
    assert max(times_ms.values()) < 1e3 * COLD_S
    assert all(backend.seen.count(size) == 3 for size in times_ms)


def test_no_more_is_warmed_up_than_the_engine_takes(toy: Bundle) -> None:
    with Cold(toy) as backend:
        assert [*backend.warm_up(100)] == [1, 2, 4, 6]


def test_a_cpu_is_warm_after_one_image(toy: Bundle) -> None:
    with OnnxRuntimeBackend(toy, threads=1) as backend:
        assert [*backend.warm_up(6)] == [1]
