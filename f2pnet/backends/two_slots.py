"""Batches through a GPU in two slots and two streams: one batch is copied while the other is computed.

Each slot has pinned memory of the host and memory of the GPU for the input and every output. Batches are filled up to
one of few sizes, each of which is captured once as a CUDA graph and then launched by a single call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f2pnet.backends.base import Answer, Batch, Outputs, run_size
from f2pnet.backends.cuda_edge import Cuda
from f2pnet.errors import BackendError, DeviceLost

log = logging.getLogger(__name__)

SLOTS = 2
FLOAT_BYTES = 4

Enqueue = Callable[[int, Mapping[str, int], int], None]
"""Puts one run into a stream: (images, address of every tensor by name, stream)."""

CanCapture = Callable[[int, int], bool]
"""Whether a run of so many images may be captured from a stream."""


@dataclass(frozen=True)
class BufferPlan:
    """What one slot holds. All outputs are float32."""

    input_name: str
    image_size: int  # side of the square uint8 input, px
    outputs: Mapping[str, tuple[int, ...]]  # shape without the batch, by name
    max_batch: int
    static_batch: bool = False

    def input_bytes(self, count: int) -> int:
        """Size of `count` images."""
        return count * self.image_size * self.image_size * 3

    def output_bytes(self, name: str, count: int) -> int:
        """Size of one output for `count` images."""
        return count * int(np.prod(self.outputs[name], dtype=np.int64)) * FLOAT_BYTES

    def run_size(self, count: int) -> int:
        """How many images the GPU is given for `count`."""
        return run_size(count, self.max_batch, static=self.static_batch)


class _Slot:
    """Memory and events of one batch under way."""

    def __init__(self, cuda: Cuda, plan: BufferPlan, number: int) -> None:
        most = plan.max_batch
        self.number = number
        self.feed = cuda.pinned(plan.input_bytes(most))
        self.feed[:] = 0
        self.results = {name: cuda.pinned(plan.output_bytes(name, most)) for name in plan.outputs}
        self.addresses = {name: cuda.device(plan.output_bytes(name, most)) for name in plan.outputs}
        self.addresses[plan.input_name] = cuda.device(plan.input_bytes(most))
        self.uploaded, self.computed, self.downloaded = cuda.event(), cuda.event(), cuda.event()
        self.count = 0  # images of the batch under way


class TwoSlots:
    """Runs batches on the GPU behind `cuda`; `enqueue` is the engine. One thread at a time."""

    def __init__(
        self, cuda: Cuda, plan: BufferPlan, enqueue: Enqueue, can_capture: CanCapture = lambda size, stream: True
    ) -> None:
        self._cuda, self._plan, self._enqueue, self._can_capture = cuda, plan, enqueue, can_capture
        self._copying, self._computing = cuda.stream(), cuda.stream()
        self._slots = [_Slot(cuda, plan, number) for number in range(SLOTS)]
        self._graphs: dict[tuple[int, int], int] = {}  # (slot, images in the run), since addresses are part of a graph
        self._capturable = True
        self._turn = 0
        self._pinned: list[NDArray[np.uint8]] = []

    def buffer(self, count: int) -> Batch:
        """Pinned memory for `count` images: the GPU copies from it by itself."""
        side = self._plan.image_size
        memory = self._cuda.pinned(self._plan.input_bytes(self._plan.run_size(count)))
        memory[:] = 0
        self._pinned.append(memory)
        return memory[: self._plan.input_bytes(count)].reshape(count, side, side, 3)

    def run(self, batch: Batch) -> Outputs:
        """One batch; (N, S, S, 3) uint8 with N up to the plan's most."""
        return self.start(batch)()

    def start(self, batch: Batch) -> Answer:
        """Put a batch on its way, of at most SLOTS at once; its answer is asked for in the order of the starts.

        A batch in a `buffer` stays as it is until then; any other one is copied here.
        """
        self._cuda.enter()
        slot = self._slots[self._turn % SLOTS]
        self._turn += 1
        self._submit(slot, batch)
        return lambda: self._collect(slot)

    def run_all(self, batches: Iterable[Batch]) -> Iterator[Outputs]:
        """Answers in the order of the batches. While one is computed the next is on its way to the GPU."""
        waiting: Answer | None = None
        for batch in batches:
            answer = self.start(batch)
            if waiting is not None:
                yield waiting()
            waiting = answer
        if waiting is not None:
            yield waiting()

    def _submit(self, slot: _Slot, batch: Batch) -> None:
        """Images beyond the batch's own are whatever the memory held before; nobody reads their answers."""
        cuda, run_size = self._cuda, self._plan.run_size(len(batch))
        source = self._pinned_behind(batch, self._plan.input_bytes(run_size))
        if source is None:
            source = slot.feed
            source[: self._plan.input_bytes(len(batch))] = batch.reshape(-1)
        slot.count = len(batch)
        address = slot.addresses[self._plan.input_name]
        cuda.upload(address, source, self._plan.input_bytes(run_size), self._copying)
        cuda.record(slot.uploaded, self._copying)
        cuda.wait(self._computing, slot.uploaded)
        self._compute(slot, run_size)
        cuda.record(slot.computed, self._computing)

    def _pinned_behind(self, batch: Batch, size_bytes: int) -> NDArray[np.uint8] | None:
        """The buffer at whose beginning a batch lies, where that is long enough for a whole run."""
        for memory in self._pinned:
            if memory.ctypes.data == batch.ctypes.data and memory.nbytes >= size_bytes and batch.flags.c_contiguous:
                return memory
        return None

    def _compute(self, slot: _Slot, size: int) -> None:
        """The first run of a size goes without a graph, since engines set themselves up in it; it is captured after."""
        graph = self._graphs.get((slot.number, size))
        if graph is not None:
            self._cuda.launch(graph, self._computing)
            return
        self._enqueue(size, slot.addresses, self._computing)
        if not self._capturable or not self._can_capture(size, self._computing):
            return
        self._cuda.drain(self._computing)
        try:
            self._graphs[slot.number, size] = self._cuda.capture(
                self._computing, lambda: self._enqueue(size, slot.addresses, self._computing)
            )
        except DeviceLost:
            raise
        except BackendError as error:
            self._capturable = False
            log.warning("the engine can't be captured as a CUDA graph and runs without: %s", error)

    def _collect(self, slot: _Slot) -> Outputs:
        cuda = self._cuda
        cuda.wait(self._copying, slot.computed)
        for name in self._plan.outputs:
            size = self._plan.output_bytes(name, slot.count)
            cuda.download(slot.results[name], slot.addresses[name], size, self._copying)
        cuda.record(slot.downloaded, self._copying)
        cuda.synchronize(slot.downloaded)
        return {name: self._answer(slot, name) for name in self._plan.outputs}

    def _answer(self, slot: _Slot, name: str) -> NDArray[np.float32]:
        held = slot.results[name][: self._plan.output_bytes(name, slot.count)]
        return held.view(np.float32).reshape(slot.count, *self._plan.outputs[name]).copy()  # the slot is used again
