from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from export.gate.gate import LIMITS, parity_misses
from export.gate.parity import mask_iou, measure
from f2pnet.backends import open_backend
from f2pnet.engine.bundle import Parity
from tests.toy_engine import SIDE, write_toy_bundle

PICTURES = [np.random.default_rng(n).integers(0, 256, (SIDE, SIDE), np.uint8) for n in range(6)]


def test_an_engine_agrees_with_itself(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "toy")
    with open_backend("onnxruntime", bundle, threads=1) as engine:
        parity = measure(bundle, engine, engine, PICTURES, "noise").parity
    assert (parity.mask_iou_mean, parity.max_abs_diff, parity.verdict_agreement) == (1.0, 0.0, 1.0)
    assert parity_misses(parity, LIMITS["fp32"]) == []


def test_an_engine_that_answers_darker_is_measured_and_refused(tmp_path: Path) -> None:
    bundle, darker = write_toy_bundle(tmp_path / "toy"), write_toy_bundle(tmp_path / "darker", poison=0.9)
    with open_backend("onnxruntime", bundle, threads=1) as engine, open_backend("onnxruntime", darker) as other:
        parity = measure(bundle, other, engine, PICTURES, "noise").parity
    brightness = np.stack(PICTURES) / 255
    kept, all_ = (brightness * 0.9 >= 0.5).sum((1, 2)), (brightness >= 0.5).sum((1, 2))
    assert parity.mask_iou_mean == pytest.approx(np.mean(kept / all_), abs=1e-3)
    assert parity.max_abs_diff == pytest.approx(0.1 * brightness.max(), abs=1e-3)
    misses = "; ".join(parity_misses(parity, LIMITS["fp32"]))
    assert re.search(r"mask_iou_mean is 0\..* max_abs_diff is 0\.1", misses)


def test_the_message_names_only_what_misses() -> None:
    parity = Parity(dataset="MT", images=3, mask_iou_mean=1, mask_iou_min=1, max_abs_diff=0, verdict_agreement=0.5)
    assert parity_misses(parity, LIMITS["fp32"]) == [
        "on 3 images of MT verdict_agreement is 0.5000, wanted at least 1.0"
    ]


def mask_of(count: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask.flat[:count] = True
    return mask


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (0, 0, 1.0),
        (2, 2, 1.0),
        (2, 1, 1 - 1 / 16),  # one pixel on the threshold is not half of an engine's answer
        (16, 0, 0.0),
        (20, 40, 20 / 40),  # of sixteen pixels and more: intersection over union
    ],
)
def test_masks_of_a_few_pixels_do_not_weigh_like_large_ones(a: int, b: int, wanted: float) -> None:
    assert mask_iou(mask_of(a), mask_of(b)) == pytest.approx(wanted)
