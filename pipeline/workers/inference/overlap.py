"""Batches in flight: one is resized while another one is in the engine and a third is graded and encoded.

    put -> resizing pool -> engine thread -> grading pool -> take_done
             (from the ring into an engine buffer)   (generation checks after resizing and after encoding)

The worker's own thread puts batches in and takes them out, in the same order. How many there are at once is bounded, by
the engine's buffers and by `most_runs`. Nothing here speaks ZeroMQ.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from f2pnet.backends import Backend
from f2pnet.backends.base import Batch, Outputs
from f2pnet.errors import F2pError
from f2pnet.inspection.judging import Judge
from f2pnet.inspection.result import InspectionResult
from f2pnet.inspection.tiles import Window
from f2pnet.pictures.preprocess import as_frame
from pipeline.frames.ring_memory import StaleFrame
from pipeline.workers.inference.batch_run import BatchRun, Chunk, FrameRun, chunks_of
from pipeline.workers.inference.batch_times import BatchTimes
from pipeline.workers.inference.daemon_pool import DaemonPool
from pipeline.workers.inference.engine_thread import EngineThread
from pipeline.workers.inference.leased_frame import Image, LeasedFrame, Picture

MOST_THREADS = 4  # of each pool: beyond it one engine is not faster than its frames can be brought
SHORTEST_PATIENCE_MS = 1_000.0
PATIENCE = 3  # a batch is overdue after so many times what it was expected to take
CLOSE_S = 2.0

Encode = Callable[[Image, InspectionResult], list[bytes]]
T = TypeVar("T")


class Overlap:
    """The stages of one inference worker. Its methods are for the worker's thread; `wake` is called from others.

    `times_ms`: what a run of the engine takes, by the number of frames. `encode` makes the evidence of a frame.
    """

    def __init__(
        self,
        backend: Backend,
        max_batch: int,
        times_ms: Mapping[int, float],
        encode: Encode,
        wake: Callable[[], None],
        workers: int = 1,
    ) -> None:
        # On the CPU more batches before the engine would only wait; another device takes the next one at once.
        self.most_before_answer = 2 if backend.facts.device == "cpu" else 3
        self.most_runs = 2 * self.most_before_answer - 1
        self.times = BatchTimes(times_ms)
        """What a batch takes from resizing to evidence, without waiting for those before it."""
        self._engine_times = BatchTimes(times_ms)
        self._backend, self._encode, self._wake = backend, encode, wake
        self._most = min(max_batch, backend.facts.max_batch)
        cores = len(os.sched_getaffinity(0))
        # Where nobody looks at pixels there is nothing to share out.
        threads = max(1, min(MOST_THREADS, cores // workers)) if backend.facts.reads_pixels else 0
        self._resizing, self._grading = DaemonPool("resize", threads), DaemonPool("grade", threads)
        self._lock = threading.Lock()
        self._runs: deque[BatchRun] = deque()  # all that were not taken out, in order
        self._unfed: deque[Chunk] = deque()
        self._buffers: list[Batch] = [backend.buffer(self._most) for _ in range(self.most_before_answer)]
        self._failure: Exception | None = None
        self._answered_ns = 0
        self._engine = EngineThread(backend, self._answered, self._fail)

    def __len__(self) -> int:
        """Batches in flight."""
        return len(self._runs)

    @property
    def before_answer(self) -> int:
        """Batches that the engine has not answered."""
        return sum(1 for run in self._runs if not run.answered_ns)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be put in."""
        return len(self._runs) < self.most_runs and self.before_answer < self.most_before_answer

    @property
    def is_overdue(self) -> bool:
        """Whether a batch has been in flight for far too long: a device hangs."""
        return bool(self._runs) and not self._runs[0].done_ns and time.monotonic_ns() > self._runs[0].overdue_ns

    def ahead_ms(self, now_ns: int) -> float:
        """For how long the engine will work on what it has, ms."""
        waiting = [run for run in self._runs if not run.answered_ns]
        if not waiting:
            return 0.0
        needed_ms = sum(self._engine_times.of(len(run.frames)) for run in waiting)
        first = waiting[0]
        running_ms = (now_ns - max(first.taken_ns, self._answered_ns)) / 1e6
        return max(needed_ms - self._engine_times.of(len(first.frames)), needed_ms - running_ms)

    def put(self, judge: Judge, frames: Sequence[tuple[LeasedFrame, Picture]]) -> None:
        """Begin with a batch."""
        now_ns = time.monotonic_ns()
        expected_ms = self.ahead_ms(now_ns) + self.times.of(len(frames))
        runs = [
            FrameRun(frame, picture, judge.plan(picture.pixels.shape[1], picture.pixels.shape[0]))
            for frame, picture in frames
        ]
        run = BatchRun(judge, runs, now_ns, _overdue_ns(now_ns, expected_ms))
        self._runs.append(run)
        self._begin(run)

    def take_done(self) -> list[BatchRun]:
        """The batches that are through, in the order in which they were put in.

        A batch that failed is run once more, frame by frame: a fault that passes costs no verdict, and one frame that
        makes the engine fail costs its own alone. Raises what stopped the engine for good.
        """
        if self._failure is not None:
            raise self._failure
        done: list[BatchRun] = []
        while self._runs and self._runs[0].done_ns:
            run = self._runs.popleft()
            if run.error is not None and not isinstance(run.error, F2pError):
                raise run.error
            if run.error is not None and not run.is_retry:
                self._retry_singly(run)
                continue
            if run.error is None:
                self.times.ran(len(run.frames), run.own_ms)
                self._engine_times.ran(len(run.frames), run.engine_ms)
            done.append(run)
        return done

    def close(self) -> bool:
        """End the threads; False where the engine does not end: it may not be closed then."""
        ended = self._engine.close(CLOSE_S)
        self._resizing.close(CLOSE_S)
        self._grading.close(CLOSE_S)
        return ended

    def _begin(self, run: BatchRun) -> None:
        chunks = chunks_of(run, self._most)
        run.chunks_left = len(chunks)
        if not chunks:  # the recipe looks at nothing of these frames
            self._grade(run)
        with self._lock:
            self._unfed += chunks
            self._feed()

    def _retry_singly(self, failed: BatchRun) -> None:
        """In the place of the batch, so that the order stays."""
        now_ns = time.monotonic_ns()
        overdue_ns = _overdue_ns(now_ns, self.ahead_ms(now_ns) + len(failed.frames) * self.times.of(1))
        singles = [
            BatchRun(failed.judge, [FrameRun(run.frame, run.picture, run.plan)], now_ns, overdue_ns, is_retry=True)
            for run in failed.frames
        ]
        self._runs.extendleft(reversed(singles))
        for single in singles:
            self._begin(single)

    def _feed(self) -> None:
        """Give free buffers to the chunks that wait. The lock is held."""
        while self._unfed and self._buffers:
            chunk, buffer = self._unfed.popleft(), self._buffers.pop()
            chunk.buffer, chunk.fed_ns = buffer, time.monotonic_ns()
            groups = _groups([*enumerate(chunk.pieces)], self._resizing.threads)
            chunk.unfilled = len(groups)
            self._engine.queue(chunk)
            for group in groups:
                self._resizing.submit(partial(self._fill, chunk, buffer, group))

    def _fill(self, chunk: Chunk, buffer: Batch, pieces: Sequence[tuple[int, tuple[FrameRun, Window]]]) -> None:
        for at, (frame, window) in pieces:
            try:
                chunk.run.judge.feed(as_frame(frame.picture.pixels), window, buffer[at])
                frame.picture.check()
            except StaleFrame as error:
                frame.stale = error
            except Exception as error:
                chunk.run.error = error
        with self._lock:
            chunk.unfilled -= 1
            if chunk.unfilled:
                return
            chunk.run.resize_ms += (time.monotonic_ns() - chunk.fed_ns) / 1e6
        self._engine.filled()

    def _answered(self, chunk: Chunk, outputs: Outputs | F2pError, engine_ms: float) -> None:
        """In the engine's thread."""
        run = chunk.run
        run.engine_ms += engine_ms
        if isinstance(outputs, F2pError):
            run.error = outputs
        else:
            views = run.judge.views(outputs, [window for _, window in chunk.pieces])
            for (frame, _), view in zip(chunk.pieces, views, strict=True):
                frame.views.append(view)
        with self._lock:
            assert chunk.buffer is not None  # noqa: S101 - the engine read it
            self._buffers.append(chunk.buffer)
            chunk.buffer = None
            self._feed()
            run.chunks_left -= 1
        if not run.chunks_left:
            self._answered_ns = time.monotonic_ns()
            self._grade(run)

    def _grade(self, run: BatchRun) -> None:
        run.answered_ns = time.monotonic_ns()
        if run.error is not None:
            run.done_ns = run.answered_ns
            self._wake()
            return
        groups = _groups(run.frames, max(1, self._grading.threads))
        run.ungraded = len(groups)
        for group in groups:
            self._grading.submit(partial(self._grade_group, run, group))
        self._wake()  # the engine has room

    def _grade_group(self, run: BatchRun, frames: Sequence[FrameRun]) -> None:
        try:
            for frame in frames:
                self._grade_frame(run, frame)
        except Exception as error:
            run.error = error
        with self._lock:
            run.ungraded -= 1
            if run.ungraded:
                return
        run.done_ns = time.monotonic_ns()
        self._wake()

    def _grade_frame(self, run: BatchRun, frame: FrameRun) -> None:
        if frame.stale is not None:
            return
        started = time.perf_counter()
        found = run.judge.find(frame.views, frame.plan)
        result = run.judge.result(frame.views, found, run.resize_ms + run.engine_ms, started)
        evidence = self._encode(frame.picture.pixels, result)
        try:
            frame.picture.check()
        except StaleFrame as error:
            frame.stale = error
            return
        frame.result, frame.evidence = result, evidence

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._wake()


def _overdue_ns(now_ns: int, expected_ms: float) -> int:
    return now_ns + int(max(SHORTEST_PATIENCE_MS, PATIENCE * expected_ms) * 1e6)


def _groups(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items in at most `most` groups of nearly the same size."""
    count = min(most, len(items))
    return [items[number * len(items) // count : (number + 1) * len(items) // count] for number in range(count)]
