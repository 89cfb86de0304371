"""Batches overlap, sizes are few, and graphs are captured once; on a fake GPU whose memory is the host's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from f2pnet.backends.two_slots import BufferPlan, TwoSlots
from f2pnet.errors import BackendError

SIDE = 4
PLAN = BufferPlan("image", SIDE, {"mask": (SIDE, SIDE), "score": ()}, max_batch=6)


class FakeGpu:
    """Does everything at once, and writes down what it was asked for."""

    def __init__(self, *, capturable: bool = True) -> None:
        self.log: list[str] = []
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.graphs: dict[int, Callable[[], None]] = {}
        self.capturable = capturable
        self._next = 1000

    def new(self) -> int:
        self._next += 1
        return self._next

    def enter(self) -> None: ...

    def pinned(self, size_bytes: int) -> NDArray[np.uint8]:
        return np.full(size_bytes, 99, np.uint8)

    def device(self, size_bytes: int) -> int:
        address = self.new()
        self.memory[address] = np.full(size_bytes, 77, np.uint8)
        return address

    def stream(self) -> int:
        return self.new()

    def event(self) -> int:
        return self.new()

    def upload(self, target: int, source: NDArray[np.uint8], size_bytes: int, stream: int) -> None:
        self.log.append("upload")
        self.memory[target][:size_bytes] = source[:size_bytes]

    def download(self, target: NDArray[np.uint8], source: int, size_bytes: int, stream: int) -> None:
        self.log.append("download")
        target[:size_bytes] = self.memory[source][:size_bytes]

    def record(self, event: int, stream: int) -> None: ...
    def wait(self, stream: int, event: int) -> None: ...
    def synchronize(self, event: int) -> None: ...
    def drain(self, stream: int) -> None: ...
    def close(self) -> None: ...

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        if not self.capturable:
            raise BackendError("no graph for you")
        graph = self.new()
        self.graphs[graph] = work
        self.log.append("capture")
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.log.append("launch")
        self.graphs[graph]()

    def brightness(self, size: int, addresses: Mapping[str, int], stream: int) -> None:
        """The engine: a pixel's brightness is its probability."""
        self.log.append(f"run {size}")
        images = self.memory[addresses["image"]][: PLAN.input_bytes(size)].reshape(size, SIDE, SIDE, 3)
        mask = (images.mean(axis=3) / 255).astype(np.float32)
        for name, values in (("mask", mask), ("score", mask.max(axis=(1, 2)))):
            self.memory[addresses[name]][: values.nbytes] = np.ascontiguousarray(values).view(np.uint8).reshape(-1)


def batches(*counts: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8) for count in counts]


def test_answers_come_in_order_whatever_the_sizes_and_however_often_a_slot_is_used() -> None:
    gpu = FakeGpu()
    given = batches(3, 1, 6, 2, 2, 5, 1)

    found = list(TwoSlots(gpu, PLAN, gpu.brightness).run_all(given))

    assert len(found) == len(given)
    for batch, outputs in zip(given, found, strict=True):
        np.testing.assert_allclose(outputs["mask"], batch.mean(axis=3) / 255, atol=1e-6)
        np.testing.assert_allclose(outputs["score"], (batch.mean(axis=3) / 255).max(axis=(1, 2)), atol=1e-6)


def test_the_next_batch_goes_up_before_the_last_ones_answer_comes_down() -> None:
    gpu = FakeGpu()

    list(TwoSlots(gpu, PLAN, gpu.brightness).run_all(batches(1, 1, 1)))

    copies = [line for line in gpu.log if line in ("upload", "download")]
    outputs = len(PLAN.outputs)
    assert copies == ["upload", "upload", *["download"] * outputs, "upload", *["download"] * outputs * 2]


def test_an_answer_stays_as_it_was_when_its_slot_is_used_again() -> None:
    gpu = FakeGpu()
    slots = TwoSlots(gpu, PLAN, gpu.brightness)
    first = slots.run(np.full((1, SIDE, SIDE, 3), 255, np.uint8))

    slots.run(np.zeros((1, SIDE, SIDE, 3), np.uint8))

    assert first["score"] == [1.0]


def test_a_size_is_captured_once_for_each_slot_and_launched_from_then_on() -> None:
    gpu = FakeGpu()
    slots = TwoSlots(gpu, PLAN, gpu.brightness)

    for batch in batches(3, 4, 3, 4, 3):
        slots.run(batch)

    assert gpu.log.count("capture") == 2
    assert gpu.log.count("launch") == 3
    assert {line for line in gpu.log if line.startswith("run")} == {"run 4"}


def test_an_engine_that_cant_be_captured_runs_without_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    gpu = FakeGpu(capturable=False)
    slots = TwoSlots(gpu, PLAN, gpu.brightness)

    for batch in batches(1, 1, 2):
        np.testing.assert_allclose(slots.run(batch)["mask"], batch.mean(axis=3) / 255, atol=1e-6)

    assert caplog.text.count("runs without") == 1


def test_an_engine_of_fixed_batch_is_always_given_that_many() -> None:
    gpu = FakeGpu()
    fixed = BufferPlan("image", SIDE, PLAN.outputs, max_batch=6, static_batch=True)

    found = TwoSlots(gpu, fixed, gpu.brightness).run(batches(2)[0])

    assert found["mask"].shape == (2, SIDE, SIDE)
    assert "run 6" in gpu.log


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6)])
def test_runs_have_powers_of_two_or_the_most_images(count: int, size: int) -> None:
    assert PLAN.run_size(count) == size
