"""`f2p check --probe`: open what a line names, and say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from f2pnet.config import CameraConfig, LineConfig
from f2pnet.errors import F2pError
from pipeline.preflight import check_engine, check_recipe, check_store
from pipeline.sources import open_source
from pipeline.sources.base import BadFrame, Frame, SourceFault

FIRST_FRAME_S = 10.0


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def probe_line(line: LineConfig) -> list[Finding]:
    """Engine, recipe, store and each camera; a failure never hides the others."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("engine", lambda: check_engine(line)),
        ("recipe", lambda: check_recipe(line)),
        ("store", lambda: check_store(line)),
        *((f"camera {camera.id}", lambda camera=camera: _first_frame(camera)) for camera in line.cameras),
    ]
    return [_finding(what, check) for what, check in checks]


def _finding(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except F2pError as error:
        return Finding(what, False, str(error))


def _first_frame(camera: CameraConfig) -> str:
    until_s = time.monotonic() + FIRST_FRAME_S
    with open_source(camera.source) as source:
        while time.monotonic() < until_s:
            match source.read(timeout_s=0.5):
                case Frame(image=image):
                    channels = image.shape[2] if image.ndim == 3 else 1
                    return f"{image.shape[1]}x{image.shape[0]}, {'grey' if channels == 1 else 'colour'}"
                case BadFrame(name=name, detail=detail):
                    return f"first picture can't be read ({name}: {detail})"
    raise SourceFault(f"camera {camera.id}: no frame within {FIRST_FRAME_S:.0f} s")
