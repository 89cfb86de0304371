from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training.loop.curves import _smooth, draw_curves
from training.report.page_charts import chart


def log(steps: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        lines.append({"kind": "step", "step": step, "mask": 1 / step, "pixel": 2 / step})
        if step % 5 == 0:
            sheet = {"spots": {"iou": step / 100, "image_auroc": 0.5}}
            lines.append({"kind": "validation", "step": step, "datasets": sheet})
    return lines


def test_curves_are_drawn_from_any_state_of_a_log(tmp_path: Path) -> None:
    for name, lines in {"none": [], "first": log(1), "long": log(60)}.items():
        draw_curves(lines, tmp_path / f"{name}.png")
        picture = cv2.imread(str(tmp_path / f"{name}.png"))
        assert picture is not None
        assert min(picture.shape[:2]) > 500
    drawn = cv2.imread(str(tmp_path / "long.png"))
    assert drawn is not None
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50


def test_a_loss_is_a_mean_of_the_steps_up_to_it() -> None:
    assert _smooth([(1, 1.0), (2, 3.0)]) == [(1, 1.0), (2, 2.0)]


def test_a_chart_of_the_page_takes_its_colours_from_the_page_and_escapes_names() -> None:
    line = (np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    text = chart("a < b", "x & y", "y", {"one": line, "two": line}, dot=(0.5, 0.5))
    assert text.startswith("<svg")
    assert all(colour in text for colour in ("var(--a)", "var(--b)", "var(--ink)", "var(--soft)"))
    assert "a &lt; b" in text
    assert "x &amp; y" in text
    assert "#0102" not in text
