"""Batches in flight: they overlap, come out in order, and what goes wrong with one costs no other its verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from f2pnet.backends.base import Answer, Backend, BackendFacts, Batch, Outputs
from f2pnet.backends.onnx_runtime import OnnxRuntimeBackend
from f2pnet.engine.bundle import Bundle
from f2pnet.errors import BackendError, DeviceLost
from f2pnet.inspection.judging import Judge
from f2pnet.inspection.recipe import Recipe
from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.frames.ring_memory import StaleFrame
from pipeline.wire.messages import Lease
from pipeline.workers.inference.batch_run import BatchRun
from pipeline.workers.inference.leased_frame import Image, LeasedFrame, Picture
from pipeline.workers.inference.overlap import Overlap
from tests.toy_engine import SIDE, write_toy_bundle

LIMIT_S = 60.0
POISON = 77


class HeldEngine(Backend):
    """The toy engine as an accelerator: answers when it is let go; fails at an image whose first pixel is POISON."""

    def __init__(self, bundle: Bundle) -> None:
        facts = BackendFacts("held", "held", 4, SIDE, depth=2)
        super().__init__(facts, bundle.manifest.outputs)
        self.engine = OnnxRuntimeBackend(bundle, threads=1)
        self.free = threading.Event()
        self.free.set()
        self.under_way = 0
        self.most_under_way = 0
        self.takes_s = 0.0
        self.lost = False

    def _run(self, batch: Batch) -> Outputs:
        return self._start(batch)()

    def _start(self, batch: Batch) -> Answer:
        if self.lost:
            raise DeviceLost("gone")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        return partial(self._answer, batch)

    def _answer(self, batch: Batch) -> Outputs:
        assert self.free.wait(LIMIT_S)
        time.sleep(self.takes_s)
        self.under_way -= 1
        if POISON in batch[:, 0, 0, 0]:
            raise BackendError("poisoned")
        return self.engine.run(batch)


class Bench:
    """An Overlap on a HeldEngine, and what it is given."""

    def __init__(self, bundle: Bundle) -> None:
        self.engine = HeldEngine(bundle)
        self.news = threading.Event()
        self.encoded = 0
        self.judge = Judge(bundle, self.engine.facts, Recipe())
        self.overlap = Overlap(self.engine, 4, {1: 1.0}, self._encode, self.news.set)
        self._seq = 0

    def _encode(self, image: Image, result: InspectionResult) -> list[bytes]:
        self.encoded += 1
        return [image[:1, :1].tobytes()]

    def frame(self, value: int, check: Callable[[], None] = lambda: None) -> tuple[LeasedFrame, Picture]:
        """A grey frame of that brightness; its sequence number counts up."""
        lease = Lease(
            epoch="e",
            number=self._seq + 1,
            camera_id="cam",
            frame_id=f"cam/run/{self._seq}",
            seq=self._seq,
            part_id=None,
            ring="",
            ring_id="",
            slot=0,
            generation=0,
            shape=[SIDE, SIDE],
            captured_at_ns=0,
            captured_mono_ns=0,
            deadline_mono_ns=None,
        )
        self._seq += 1
        return LeasedFrame(lease, None), Picture(np.full((SIDE, SIDE), value, np.uint8), check)

    def put(self, *values: int) -> None:
        self.overlap.put(self.judge, [self.frame(value) for value in values])

    def done(self, batches: int) -> list[BatchRun]:
        """So many batches that are through, once they are."""
        found: list[BatchRun] = []
        until_s = time.monotonic() + LIMIT_S
        while len(found) < batches:
            assert time.monotonic() < until_s, f"{len(found)} of {batches} are through"
            self.news.wait(0.1)
            self.news.clear()
            found += self.overlap.take_done()
        return found

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < until_s
            time.sleep(0.005)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_toy_bundle(tmp_path_factory.mktemp("engines") / "toy", max_batch=4)


@pytest.fixture
def bench(toy: Bundle) -> Iterator[Bench]:
    made = Bench(toy)
    yield made
    made.engine.free.set()
    assert made.overlap.close()


def verdicts(runs: list[BatchRun]) -> list[tuple[int, Verdict]]:
    return [(f.frame.lease.seq, f.result.verdict) for run in runs for f in run.frames if f.result is not None]


def test_batches_come_out_in_order_each_with_the_verdicts_of_its_own_frames(bench: Bench) -> None:
    values = np.random.default_rng(0).choice([10, 250], 90)
    given, found = [*values], []
    while len(found) < len(values):
        while given and bench.overlap.has_room:
            count = min(len(given), 1 + len(given) % 4)
            bench.put(*given[:count])
            del given[:count]
        found += verdicts(bench.done(1))

    assert found == [(n, Verdict.NG if value == 250 else Verdict.OK) for n, value in enumerate(values)]


def test_room_is_bounded_by_what_is_in_flight(bench: Bench) -> None:
    bench.engine.free.clear()
    batches = 0
    while bench.overlap.has_room:
        bench.put(10)
        batches += 1

    assert batches == bench.overlap.most_before_answer == 3
    bench.engine.free.set()
    bench.done(3)
    assert bench.overlap.has_room
    assert len(bench.overlap) == 0


def test_a_batch_is_handed_to_the_engine_while_the_one_before_it_runs(bench: Bench) -> None:
    bench.engine.takes_s = 1.0
    bench.put(10)
    bench.done(1)
    bench.put(10)
    bench.wait_for(lambda: bench.engine.under_way == 1)
    bench.put(10)
    bench.done(2)

    assert bench.engine.most_under_way == 2


def test_what_is_ahead_counts_every_batch_that_the_engine_has_not_answered(bench: Bench) -> None:
    assert bench.overlap.ahead_ms(time.monotonic_ns()) == 0
    bench.engine.free.clear()
    for _ in range(3):
        bench.put(10)

    now_ns = time.monotonic_ns()
    assert 2.0 <= bench.overlap.ahead_ms(now_ns) <= 3.0  # 1 ms each, and some of the first one's is over
    bench.engine.free.set()
    bench.done(3)


def test_a_batch_that_fails_gives_the_others_of_it_their_verdict_in_the_same_order(bench: Bench) -> None:
    bench.put(10, POISON, 250)
    bench.put(250)
    runs = bench.done(4)

    assert [[f.frame.lease.seq for f in run.frames] for run in runs] == [[0], [1], [2], [3]]
    assert [type(run.error) for run in runs] == [type(None), BackendError, type(None), type(None)]
    assert verdicts(runs) == [(0, Verdict.OK), (2, Verdict.NG), (3, Verdict.NG)]


@pytest.mark.parametrize("looks_before_it_is_stale", [0, 1])
def test_a_picture_that_changes_while_it_is_looked_at_has_no_verdict(
    bench: Bench, looks_before_it_is_stale: int
) -> None:
    looks = iter([None] * looks_before_it_is_stale)

    def check() -> None:
        try:
            next(looks)
        except StopIteration:
            raise StaleFrame("overwritten") from None

    bench.overlap.put(bench.judge, [bench.frame(250), bench.frame(250, check), bench.frame(10)])
    (run,) = bench.done(1)

    assert [frame.stale is not None for frame in run.frames] == [False, True, False]
    assert verdicts([run]) == [(0, Verdict.NG), (2, Verdict.OK)]
    assert bench.encoded == 2 + looks_before_it_is_stale  # one that is stale after resizing is not encoded


def test_a_recipe_counts_from_the_batch_at_whose_taking_it_was_in_force(bench: Bench, toy: Bundle) -> None:
    lenient = Judge(toy, bench.engine.facts, Recipe.model_validate({"min_area": {"px": SIDE * SIDE + 1}}))
    bench.engine.free.clear()
    bench.put(250)
    bench.overlap.put(lenient, [bench.frame(250)])
    bench.engine.free.set()

    assert [verdict for _, verdict in verdicts(bench.done(2))] == [Verdict.NG, Verdict.OK]


def test_an_engine_that_hangs_is_overdue_and_one_that_answers_is_not(bench: Bench) -> None:
    bench.put(10)
    bench.done(1)
    assert not bench.overlap.is_overdue
    bench.engine.free.clear()
    bench.put(10)
    assert not bench.overlap.is_overdue

    bench.wait_for(lambda: bench.overlap.is_overdue)
    bench.engine.free.set()
    bench.done(1)
    assert not bench.overlap.is_overdue


def test_a_device_that_is_lost_is_raised_in_the_workers_thread(bench: Bench) -> None:
    bench.engine.lost = True
    bench.put(10)

    with pytest.raises(DeviceLost, match="gone"):
        bench.done(1)


def test_an_engine_that_does_not_answer_keeps_nobody_from_ending(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.workers.inference.overlap.CLOSE_S", 0.1)
    bench = Bench(toy)
    bench.engine.free.clear()
    bench.put(10)
    bench.wait_for(lambda: bench.engine.under_way == 1)

    assert not bench.overlap.close()
    bench.engine.free.set()


def test_frames_in_tiles_go_through_more_runs_than_there_are_buffers(toy: Bundle, bench: Bench, tmp_path: Path) -> None:
    tiles = Recipe.model_validate({"tiles": {"size_px": 16, "overlap_px": 0}})  # 16 windows, 4 at once
    judge = Judge(toy, bench.engine.facts, tiles)
    frame, picture = bench.frame(10)
    picture.pixels[40:56, 40:56] = 250
    bench.overlap.put(judge, [(frame, picture)])
    (run,) = bench.done(1)

    (defect,) = run.frames[0].result.defects  # type: ignore[union-attr]
    x, y, width, height = defect.bbox_px
    assert (abs(x - 40) <= 2, abs(y - 40) <= 2, abs(width - 16) <= 4, abs(height - 16) <= 4) == (True,) * 4
