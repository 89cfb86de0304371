"""The thread that runs the engine: chunks in the order in which they were fed, several under way where that works."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from f2pnet.backends import Backend
from f2pnet.backends.base import Answer, Outputs
from f2pnet.errors import DeviceLost, F2pError
from pipeline.workers.inference.batch_run import Chunk

OnAnswer = Callable[[Chunk, Outputs | F2pError, float], None]
"""Is notified of a chunk, of the engine's outputs or its error, and for how long the engine worked for it alone, ms."""


EARLY = 0.8  # of what a chunk took the last time: until then its answer need not be waited for


@dataclass
class _UnderWay:
    """A chunk that was started."""

    chunk: Chunk
    answer: Answer
    started_ns: int


class EngineThread:
    """Runs chunks one after another. `on_answer` and `on_loss` are called from its thread."""

    def __init__(self, backend: Backend, on_answer: OnAnswer, on_loss: Callable[[Exception], None]) -> None:
        self._backend = backend
        self._on_answer = on_answer
        self._on_loss = on_loss
        self._changed = threading.Condition()
        self._queue: deque[Chunk] = deque()
        self._ending = False
        self._free_ns = 0  # when the engine was last done with a chunk
        self._last_ms: dict[int, float] = {}  # what so many pieces took the last time
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def queue(self, chunk: Chunk) -> None:
        """Run the chunk after those before it, once it is filled."""
        with self._changed:
            self._queue.append(chunk)
            self._changed.notify()

    def filled(self) -> None:
        """Look again: a chunk is filled."""
        with self._changed:
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """End without running what waits; whether it ended within the time, s."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        under_way: deque[_UnderWay] = deque()
        try:
            while not self._ending:
                chunk = self._next(self._spare_s(under_way[0]) if under_way else None)
                if chunk is not None:
                    under_way.append(_UnderWay(chunk, self._start(chunk), time.monotonic_ns()))
                if under_way and (chunk is None or len(under_way) >= self._backend.facts.depth):
                    self._finish(under_way.popleft())
        except Exception as error:  # a device that is lost, or a bug; the worker's own thread raises it again
            self._on_loss(error)

    def _next(self, timeout_s: float | None) -> Chunk | None:
        """The next chunk, once it is filled; None where that takes longer than `timeout_s`, and at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._has_filled(), timeout_s)
            return self._queue.popleft() if self._has_filled() and not self._ending else None

    def _has_filled(self) -> bool:
        return bool(self._queue) and not self._queue[0].unfilled

    def _start(self, chunk: Chunk) -> Answer:
        assert chunk.buffer is not None  # noqa: S101 - it was filled
        try:
            return self._backend.start(chunk.buffer[: len(chunk.pieces)])
        except DeviceLost:
            raise
        except F2pError as error:
            return _raising(error)

    def _spare_s(self, first: _UnderWay) -> float:
        """For how long the answer of what is under way need not be waited for: until it may be there."""
        begun_ns = max(first.started_ns, self._free_ns)
        due_ms = EARLY * self._last_ms.get(len(first.chunk.pieces), 0.0)
        return max(0.0, due_ms / 1e3 - (time.monotonic_ns() - begun_ns) / 1e9)

    def _finish(self, under_way: _UnderWay) -> None:
        outputs: Outputs | F2pError
        try:
            outputs = under_way.answer()
        except DeviceLost:
            raise
        except F2pError as error:
            outputs = error
        now_ns = time.monotonic_ns()
        engine_ms = (now_ns - max(under_way.started_ns, self._free_ns)) / 1e6
        self._free_ns = now_ns
        self._last_ms[len(under_way.chunk.pieces)] = engine_ms
        self._on_answer(under_way.chunk, outputs, engine_ms)


def _raising(error: F2pError) -> Answer:
    def answer() -> Outputs:
        raise error

    return answer
