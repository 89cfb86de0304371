"""`curves.png`: losses and validation figures of a run by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SMOOTHING = 15
"""Logged steps in a mean: single steps jump with what their few images show."""
LOSSES = ("mask", "pixel", "image", "prompted", "classes")
FIGURES = {"iou": "IoU", "image_auroc": "image AUROC"}
CLIPPED = 98
"""Percentile of the losses that the axis reaches: one early spike would flatten all the rest."""

Curve = list[tuple[float, float]]


def draw_curves(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """The lines of a log as a PNG: losses above, each a mean over SMOOTHING logged steps; validations below."""
    figure = Figure(figsize=(10, 8), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, sharex=True)
    losses = _losses(lines)
    for name, curve in losses.items():
        above.plot(*zip(*_smooth(curve), strict=True), label=f"{name}, now {_smooth(curve)[-1][1]:.3f}")
    _label(above, f"loss (mean over {SMOOTHING} logged steps)")
    if values := [y for curve in losses.values() for _, y in _smooth(curve)]:
        above.set_ylim(0, max(float(np.percentile(values, CLIPPED)), 1e-6) * 1.05)
    for name, curve in _validations(lines):
        below.plot(*zip(*curve, strict=True), marker="o", markersize=3, label=f"{name}, now {curve[-1][1]:.3f}")
    _label(below, "validation, 0 to 1")
    below.set_ylim(0, 1)
    below.set_xlabel("step")
    figure.savefig(path, format="png")


def _label(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.grid(visible=True, alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize="small")


def _losses(lines: Sequence[dict[str, Any]]) -> dict[str, Curve]:
    losses: dict[str, Curve] = {}
    for line in lines:
        if line["kind"] == "step":
            for name in LOSSES:
                if name in line:
                    losses.setdefault(name, []).append((line["step"], line[name]))
    return losses


def _validations(lines: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Curve]]:
    curves: dict[str, Curve] = {}
    for line in lines:
        if line["kind"] == "validation":
            for name, values in line["datasets"].items():
                for key, title in FIGURES.items():
                    if key in values:
                        curves.setdefault(f"{name}: {title}", []).append((line["step"], values[key]))
    yield from curves.items()


def _smooth(curve: Curve) -> Curve:
    values = [y for _, y in curve]
    return [(x, float(np.mean(values[max(0, at - SMOOTHING + 1) : at + 1]))) for at, (x, _) in enumerate(curve)]
