"""Curves as inline SVG; colours come from the page's style, so that they follow its light or dark scheme."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

SIZE_INCHES = (4.4, 3.3)
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
STAND_INS = {"#010203": "var(--soft)", "#010204": "var(--line)", "#010205": "var(--ink)"} | {
    "#010206": "var(--a)",
    "#010207": "var(--b)",
}
"""Colours that are drawn, and what the page's style puts in their place."""
SOFT, LINE, INK, A, B = STAND_INS
Line = tuple[NDArray[Any], NDArray[Any]]


def chart(
    title: str,
    x_name: str,
    y_name: str,
    lines: Mapping[str, Line],
    *,
    dot: tuple[float, float] | None = None,
) -> Markup:
    """SVG of up to two labelled lines, both axes 0..1, and of a dot for the engine as it ships."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        for (name, (x, y)), colour in zip(lines.items(), (A, B), strict=False):
            axes.plot(x, y, color=colour, label=name)
        if dot is not None:
            axes.plot(*dot, "o", color=INK, markersize=5, label="as shipped", linestyle="none")
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=TICKS, yticks=TICKS)
        axes.set_xlabel(x_name, color=SOFT)
        axes.set_ylabel(y_name, color=SOFT)
        axes.set_title(title, color=INK, fontsize="medium")
        axes.grid(visible=True, color=LINE, linewidth=0.6)
        axes.tick_params(colors=SOFT)
        for spine in axes.spines.values():
            spine.set_color(LINE)
        if len(lines) > 1:
            axes.legend(labelcolor=SOFT, framealpha=0, fontsize="small")
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    for drawn, wanted in STAND_INS.items():
        text = text.replace(drawn, wanted)
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL))  # noqa: S704 - matplotlib escapes it
