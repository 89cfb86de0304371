"""What every backend promises, and the checks that hold for all of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from f2pnet.engine.bundle import OutputSpec
from f2pnet.errors import BackendError, ConfigError

Device = Literal["auto", "cpu", "cuda"]
Batch = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]
Answer = Callable[[], Outputs]
"""Waits for a batch that was started and gives its outputs."""

ROUNDING = 1e-3
"""How far beyond 0..1 a probability may lie: half precision rounds 1 to at most 1.0005."""


def run_size(count: int, max_batch: int, *, static: bool = False) -> int:
    """How many images a GPU is given for `count`: the next power of two up to `max_batch`, so few sizes are set up.

    `static`: the graph takes `max_batch` images and no other number.

    >>> [run_size(count, max_batch=12) for count in (1, 3, 8, 9)]
    [1, 4, 8, 12]
    """
    return max_batch if static else min(1 << (count - 1).bit_length(), max_batch)


def run_sizes(most: int, max_batch: int) -> list[int]:
    """Every number of images that `run_size` gives for up to `most`.

    >>> run_sizes(5, max_batch=12)
    [1, 2, 4, 8]
    """
    return sorted({run_size(count, max_batch) for count in range(1, most + 1)})


@dataclass(frozen=True)
class BackendFacts:
    """What runs, and where."""

    name: str
    device: str  # "cpu" or "cuda:0"
    max_batch: int
    image_size: int  # side of the square input, px
    reads_pixels: bool = True  # False: any batch of the right size gives the same answer
    depth: int = 1  # batches that may be under way at once; 1: it computes where it is called, on the CPU
    precision: str = "fp32"
    why: str | None = None  # why `auto` took it; None: it was asked for by name


class Backend(ABC):
    """An engine that is ready to run. Use as a context manager, or call `close`."""

    def __init__(self, facts: BackendFacts, outputs: list[OutputSpec]) -> None:
        self.facts = facts
        self._outputs = outputs

    def run(self, batch: Batch) -> Outputs:
        """Run (N, S, S, 3) uint8 RGB images, 1 <= N <= max_batch; returns every output of the manifest by name.

        All outputs are float32 probabilities with N in front of the manifest's shape. Raises ConfigError for a batch
        that does not fit, BackendError when the run fails or the answer can't be one, DeviceLost when the device will
        not run again in this process.
        """
        return self.start(batch)()

    def start(self, batch: Batch) -> Answer:
        """Begin with a batch as `run` takes it; the answer is waited for by calling what is returned.

        Up to `facts.depth` batches may be under way; their answers are asked for in the order of their start, and the
        pixels stay as they are until then. Both calls raise what `run` raises. One thread at a time.
        """
        self._check_batch(batch)
        return partial(self._checked, self._start(batch), len(batch))

    def buffer(self, count: int) -> Batch:
        """Memory for `count` images, (count, S, S, 3), from which `start` is fastest."""
        return np.zeros((count, self.facts.image_size, self.facts.image_size, 3), np.uint8)

    def warm_up(self, most: int = 1) -> dict[int, float]:
        """Run every size of batch that the device will be given for up to `most` images, as often as it has slots.

        Returns what each took when it was run once more, ms, by the number of images.
        """
        size = self.facts.image_size
        times_ms: dict[int, float] = {}
        for count in self._sizes(max(1, min(most, self.facts.max_batch))):
            batch = np.full((count, size, size, 3), 128, np.uint8)
            for _ in range(self.facts.depth):
                self.run(batch)
            started = time.perf_counter()
            self.run(batch)
            times_ms[count] = (time.perf_counter() - started) * 1e3
        return times_ms

    def _sizes(self, most: int) -> list[int]:
        """Numbers of images that are set up apart; what a CPU can do with one it can do with several."""
        return [1]

    @abstractmethod
    def _run(self, batch: Batch) -> Outputs:
        """Run a batch that was checked. Raises nothing but F2pError."""

    def _start(self, batch: Batch) -> Answer:
        """Begin with a batch that was checked; for backends of a `depth` above 1. Raises nothing but F2pError."""
        return partial(self._run, batch)

    def _checked(self, answer: Answer, count: int) -> Outputs:
        outputs = answer()
        for spec in self._outputs:
            self._check_output(spec, outputs, count)
        return outputs

    def close(self) -> None:  # noqa: B027 - most engines hold nothing but memory
        """Free what the engine holds; it can't run any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_batch(self, batch: Batch) -> None:
        size, most = self.facts.image_size, self.facts.max_batch
        fits = batch.dtype == np.uint8 and batch.shape[1:] == (size, size, 3) and 1 <= len(batch) <= most
        if not fits:
            raise ConfigError(
                f"backend {self.facts.name} got a batch {batch.shape} {batch.dtype}; "
                f"wanted (1..{most}, {size}, {size}, 3) uint8"
            )

    def _check_output(self, spec: OutputSpec, outputs: Outputs, count: int) -> None:
        """An engine that answers NaN must not look like an engine that sees no defect."""
        values = outputs.get(spec.name)
        if values is None or values.shape != (count, *spec.shape):
            seen = "missing" if values is None else f"{values.shape}"
            raise BackendError(
                f"engine output {spec.name} is {seen}; the manifest says {(count, *spec.shape)}: "
                "export the engine again"
            )
        low, high = float(values.min()), float(values.max())
        if not (low >= -ROUNDING and high <= 1.0 + ROUNDING):  # written so that NaN fails
            raise BackendError(
                f"engine output {spec.name} lies in {low}..{high}, wanted probabilities 0..1: "
                "the engine is damaged or overflows on this device"
            )
