from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.formats.synthetic_frames import probe_frames, synthetic_frames
from export.gate.gate import LIMITS, judge, parity_misses
from export.gate.parity import RememberingBackend
from f2pnet.backends import Backend, open_backend
from f2pnet.backends.base import Batch, Outputs
from f2pnet.engine.bundle import Bundle, Parity, sha256_of, write_bundle
from tests.toy_engine import write_toy_bundle


class Spoilt(Backend):
    """Answers as another backend does, but for pictures brighter than `above`, where it answers `value`."""

    def __init__(self, bundle: Bundle, inner: Backend, above: float, value: float) -> None:
        super().__init__(inner.facts, bundle.manifest.outputs)
        self.inner, self.above, self.value = inner, above, value

    def _run(self, batch: Batch) -> Outputs:
        outputs = self.inner.run(batch)
        if batch.mean() > self.above:
            outputs = {name: np.full_like(values, self.value) for name, values in outputs.items()}
        return outputs


@pytest.mark.parametrize(
    ("value", "reason"), [(float("nan"), "white: .*wanted probabilities"), (0.0, "white mask is off by 1 in the mean")]
)
def test_an_overflow_on_white_is_seen_though_no_image_shows_it(tmp_path: Path, value: float, reason: str) -> None:
    bundle = write_toy_bundle(tmp_path / "toy")
    with open_backend("onnxruntime", bundle, threads=1) as engine:
        spoilt = Spoilt(bundle, engine, 250, value)
        (miss, *_) = judge(bundle, spoilt, engine, {"drawn": synthetic_frames(2)}, LIMITS["fp32"]).misses
    assert re.search(reason, miss), miss


def test_an_engine_that_agrees_is_proven_on_every_set(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "toy")
    sets = {"a": synthetic_frames(2), "b": synthetic_frames(3, seed=1)}
    with open_backend("onnxruntime", bundle, threads=1) as engine:
        judgement = judge(bundle, engine, engine, sets, LIMITS["fp32"])
    assert judgement.misses == []
    assert [(p.dataset, p.images) for p in judgement.proven.parities] == [("a", 2), ("b", 3)]
    assert judgement.proven.parity in judgement.proven.parities


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_every_precision_has_limits_on_masks_scores_and_verdicts(precision: str) -> None:
    bad = Parity(dataset="MT", images=9, mask_iou_mean=0.97, mask_iou_min=0.9, max_abs_diff=0.3, score_max_diff=0.2,
                 verdict_agreement=0.9)  # fmt: skip
    misses = " ".join(parity_misses(bad, LIMITS[precision]))  # type: ignore[index]
    assert all(name in misses for name in ("mask_iou_mean", "score_max_diff", "verdict_agreement"))


def test_drawn_frames_are_the_same_each_time_and_not_all_alike() -> None:
    frames = synthetic_frames(8)
    assert all(np.array_equal(a, b) for a, b in zip(frames, synthetic_frames(8), strict=True))
    assert {frame.ndim for frame in frames} == {2, 3}
    assert len({frame.shape[:2] for frame in frames}) == 4
    assert {"black", "white", "noise", "saturated", "checkerboard 1 px"} <= set(probe_frames(8))


def test_an_image_seen_before_costs_no_run(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "toy")
    batch = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with open_backend("onnxruntime", bundle, threads=1) as engine:
        remembering = RememberingBackend(engine, bundle.manifest.outputs)
        first = remembering.run(batch)
        engine._run = None  # type: ignore[method-assign,assignment] - would raise if called
        again = remembering.run(batch[::-1])
    assert np.array_equal(first["mask"][::-1], again["mask"])


def test_a_file_of_fixed_batch_answers_fewer_images(tmp_path: Path) -> None:
    free = write_toy_bundle(tmp_path / "free")
    model = onnx.load(str(free.path(free.artifact("onnx"))))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, str(tmp_path / "fixed.onnx"))
    facts = {"static_batch": True, "sha256": sha256_of(tmp_path / "fixed.onnx")}
    manifest = free.manifest.model_copy(update={"artifacts": [free.artifact("onnx").model_copy(update=facts)]})
    fixed = write_bundle(tmp_path / "fixed", manifest, {"model.onnx": tmp_path / "fixed.onnx"})
    batch = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with open_backend("onnxruntime", free, threads=1) as wanted, open_backend("onnxruntime", fixed, threads=1) as found:
        assert np.array_equal(found.run(batch)["mask"], wanted.run(batch)["mask"])
