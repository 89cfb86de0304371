"""Batches through a GPU in two slots and two streams: one batch is copied while the other is computed.

Each slot has pinned memory of the host and memory of the GPU for the input and every output. Batches are filled up to
one of few sizes, each of which is captured once as a CUDA graph and then launched by a single call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count as count_from

import numpy as np
from numpy.typing import NDArray

from f2pnet.backends.base import Batch, Outputs, run_size
from f2pnet.backends.cuda_edge import Cuda
from f2pnet.errors import BackendError

log = logging.getLogger(__name__)

SLOTS = 2
FLOAT_BYTES = 4

Enqueue = Callable[[int, Mapping[str, int], int], None]
"""Puts one run into a stream: (images, address of every tensor by name, stream)."""


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
    """Runs batches on the GPU behind `cuda`; `enqueue` is the engine."""

    def __init__(self, cuda: Cuda, plan: BufferPlan, enqueue: Enqueue) -> None:
        self._cuda, self._plan, self._enqueue = cuda, plan, enqueue
        self._copying, self._computing = cuda.stream(), cuda.stream()
        self._slots = [_Slot(cuda, plan, number) for number in range(SLOTS)]
        self._graphs: dict[tuple[int, int], int] = {}  # (slot, images in the run), since addresses are part of a graph
        self._capturable = True

    def run(self, batch: Batch) -> Outputs:
        """One batch; (N, S, S, 3) uint8 with N up to the plan's most."""
        return next(self.run_all([batch]))

    def run_all(self, batches: Iterable[Batch]) -> Iterator[Outputs]:
        """Answers in the order of the batches. While one is computed the next is on its way to the GPU."""
        waiting: _Slot | None = None
        for number, batch in zip(count_from(), batches, strict=False):
            self._cuda.enter()
            slot = self._slots[number % SLOTS]
            self._submit(slot, batch)
            if waiting is not None:
                yield self._collect(waiting)
            waiting = slot
        if waiting is not None:
            yield self._collect(waiting)

    def _submit(self, slot: _Slot, batch: Batch) -> None:
        """Images beyond the batch's own are whatever the slot held before; nobody reads their answers."""
        cuda, size = self._cuda, self._plan.input_bytes(len(batch))
        slot.feed[:size] = batch.reshape(-1)
        slot.count = len(batch)
        address = slot.addresses[self._plan.input_name]
        cuda.upload(address, slot.feed, self._plan.input_bytes(self._plan.run_size(len(batch))), self._copying)
        cuda.record(slot.uploaded, self._copying)
        cuda.wait(self._computing, slot.uploaded)
        self._compute(slot, self._plan.run_size(len(batch)))
        cuda.record(slot.computed, self._computing)

    def _compute(self, slot: _Slot, size: int) -> None:
        """The first run of a size goes without a graph, since engines set themselves up in it; it is captured after."""
        graph = self._graphs.get((slot.number, size))
        if graph is not None:
            self._cuda.launch(graph, self._computing)
            return
        self._enqueue(size, slot.addresses, self._computing)
        if not self._capturable:
            return
        self._cuda.drain(self._computing)
        try:
            self._graphs[slot.number, size] = self._cuda.capture(
                self._computing, lambda: self._enqueue(size, slot.addresses, self._computing)
            )
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
