"""Curves as inline SVG; colours come from the page's style, so that they follow its light or dark scheme."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX, MARGIN_PX = 420, 320, 44
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
Line = tuple[NDArray[Any], NDArray[Any]]


def chart(
    title: str,
    x_name: str,
    y_name: str,
    lines: Mapping[str, Line],
    *,
    dot: tuple[float, float] | None = None,
    key: str = "",
) -> str:
    """A figure with one line for each style class (`a`, `b`), both axes 0..1; `key` is HTML below it."""
    body = "".join(_grid()) + "".join(_line(style, line) for style, line in lines.items())
    if dot:
        x, y = _at(*dot)
        body += f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    middle = MARGIN_PX + (HEIGHT_PX - 2 * MARGIN_PX) / 2
    body += f'<text x="{WIDTH_PX / 2}" y="{HEIGHT_PX - 6}" text-anchor="middle">{escape(x_name)}</text>'
    body += f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>'
    return (
        f"<figure><strong>{escape(title)}</strong><br>"
        f'<svg width="{WIDTH_PX}" height="{HEIGHT_PX}" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" '
        f'aria-label="{escape(title)}">{body}</svg><p class="soft">{key}</p></figure>'
    )


def _grid() -> list[str]:
    parts = []
    for tick in TICKS:
        x, y = _at(tick, tick)
        left, bottom = _at(0, 0)
        right, top = _at(1, 1)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{bottom}" y2="{top}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    return parts


def _line(style: str, line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_at(*point) for point in np.column_stack(line)))
    return f'<polyline class="{style}" stroke-width="2" points="{points}"/>'


def _at(x: float, y: float) -> tuple[float, float]:
    """Place of a point of the unit square."""
    return MARGIN_PX + x * (WIDTH_PX - 2 * MARGIN_PX), HEIGHT_PX - MARGIN_PX - y * (HEIGHT_PX - 2 * MARGIN_PX)
