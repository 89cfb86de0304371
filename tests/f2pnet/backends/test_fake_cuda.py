"""The code that talks to the CUDA driver, on a driver without a GPU that keeps the real one's rules."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from f2pnet.backends.base import Answer
from f2pnet.backends.cuda_edge import CudaEdge
from f2pnet.backends.two_slots import SLOTS, BufferPlan, TwoSlots
from f2pnet.errors import BackendError, DeviceLost
from tests.f2pnet.backends.fake_cuda import compile_fake_cuda

SIDE = 8
PLAN = BufferPlan("image", SIDE, {"mask": (SIDE, SIDE), "score": ()}, max_batch=6)
LIMIT_S = 60.0


class Gpu:
    """TwoSlots on the fake driver."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.edge = CudaEdge()
        self.runs = 0
        self.may_capture = True
        self.slots = TwoSlots(self.edge, PLAN, self.enqueue, lambda size, stream: self.may_capture)

    def enqueue(self, size: int, addresses: Mapping[str, int], stream: int) -> None:
        self.runs += 1
        arguments = [stream, *(addresses[name] for name in ("image", "mask", "score")), size, SIDE * SIDE]
        if code := self.driver.fake_engine(*map(ctypes.c_void_p, arguments)):
            raise BackendError(f"engine: {code}")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_fake_cuda(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def gpu(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    driver = ctypes.CDLL(str(library))
    monkeypatch.setattr("f2pnet.backends.cuda_edge.library", lambda: driver)
    made = Gpu(driver)
    yield made
    driver.fake_break(0)
    made.edge.close()


def batch_of(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def check(batch: NDArray[np.uint8], outputs: Mapping[str, NDArray[np.float32]]) -> None:
    mask = batch.mean(axis=3) / 255
    np.testing.assert_allclose(outputs["mask"], mask, atol=1e-6)
    np.testing.assert_allclose(outputs["score"], mask.max(axis=(1, 2)), atol=1e-6)


def test_three_hundred_mixed_batches_come_out_exact(gpu: Gpu) -> None:
    counts = np.random.default_rng(1).integers(1, 7, 300)
    batches = [batch_of(int(count), seed) for seed, count in enumerate(counts)]

    for batch, outputs in zip(batches, gpu.slots.run_all(batches), strict=True):
        check(batch, outputs)


def test_buffers_are_filled_again_as_soon_as_their_answer_is_there(gpu: Gpu) -> None:
    """As an inference worker does it: three buffers, two batches under way."""
    free = deque(gpu.slots.buffer(6) for _ in range(3))
    under_way: deque[tuple[NDArray[np.uint8], NDArray[np.uint8], Answer]] = deque()
    for seed in range(60):
        wanted, buffer = batch_of(1 + seed % 6, seed), free.popleft()
        buffer[: len(wanted)] = wanted
        under_way.append((wanted, buffer, gpu.slots.start(buffer[: len(wanted)])))
        if len(under_way) == SLOTS:
            wanted, buffer, answer = under_way.popleft()
            check(wanted, answer())
            buffer[:] = 99
            free.append(buffer)
    while under_way:
        wanted, _, answer = under_way.popleft()
        check(wanted, answer())


def test_every_size_is_captured_for_every_slot_and_then_launched(gpu: Gpu) -> None:
    for seed in range(12):
        batch = batch_of(3, seed)
        check(batch, gpu.slots.run(batch))

    assert gpu.runs == SLOTS * 2  # a first run, and its capture, in each slot


def test_an_engine_that_says_it_cant_be_captured_is_not(gpu: Gpu) -> None:
    gpu.may_capture = False
    for seed in range(5):
        batch = batch_of(2, seed)
        check(batch, gpu.slots.run(batch))

    assert gpu.runs == 5


def test_an_engine_that_waits_while_it_is_captured_runs_without_a_graph(gpu: Gpu) -> None:
    plain = gpu.enqueue

    def waiting(size: int, addresses: Mapping[str, int], stream: int) -> None:
        plain(size, addresses, stream)
        gpu.edge.drain(stream)

    slots = TwoSlots(gpu.edge, PLAN, waiting)
    for seed in range(4):
        batch = batch_of(2, seed)
        check(batch, slots.run(batch))


def test_another_thread_than_the_one_that_opened_it_may_run_it(gpu: Gpu) -> None:
    batch, found = batch_of(4, 0), []
    thread = threading.Thread(target=lambda: found.append(gpu.slots.run(batch)), daemon=True)
    thread.start()
    thread.join(LIMIT_S)

    check(batch, found[0])


def test_waiting_for_the_gpu_takes_no_core(gpu: Gpu) -> None:
    assert gpu.driver.fake_spinning_events() == 0


@pytest.mark.parametrize("code", [214, 700, 719])
def test_an_error_that_stays_loses_the_device(gpu: Gpu, code: int) -> None:
    gpu.slots.run(batch_of(1, 0))
    gpu.driver.fake_break(code)

    for _ in range(2):
        with pytest.raises(DeviceLost, match=rf"error {code} \(CUDA_ERROR_.*this process can't use the GPU"):
            gpu.slots.run(batch_of(1, 0))


def test_an_error_that_may_pass_does_not(gpu: Gpu) -> None:
    gpu.driver.fake_break(2)  # no memory just now
    with pytest.raises(BackendError, match="error 2") as caught:
        gpu.slots.run(batch_of(1, 0))
    gpu.driver.fake_break(0)

    assert not isinstance(caught.value, DeviceLost)
    gpu.slots.run(batch_of(1, 0))


def test_a_lost_device_can_be_closed(gpu: Gpu) -> None:
    gpu.driver.fake_break(700)

    gpu.edge.close()
    gpu.driver.fake_break(0)


def test_everything_is_freed(library: Path, tmp_path: Path) -> None:
    code = """
import ctypes, numpy as np
from f2pnet.backends.cuda_driver import library, probe
from f2pnet.backends.cuda_edge import CudaEdge
print(probe())
edge = CudaEdge()
edge.pinned(10); edge.device(10); edge.stream(); edge.event()
print(library().fake_live())
edge.close()
print(library().fake_live())
"""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )

    assert done.stdout.splitlines() == [
        "DriverFacts(cuda_version='13.0', gpu_name='Fake GPU', compute_capability='9.0')",
        "4",
        "0",
    ]
