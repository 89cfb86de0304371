"""Checks of command-line values that several commands share."""

from __future__ import annotations

import math

import typer


def share(value: float) -> float:
    """A number from 0 to 1; `nan` is none."""
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"{value:g} is not a number from 0 to 1")
    return value


def positive(value: float | None) -> float | None:
    """A number above zero, such as a duration; `nan` and `inf` are none."""
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"{value:g} is not a number above 0")
    return value
