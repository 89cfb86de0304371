"""`f2p check --probe`: open what a line names, and say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from f2pnet.config import CameraConfig, LineConfig
from f2pnet.errors import F2pError
from f2pnet.picture_writing import write_picture
from pipeline.machine_checks import Seen, machine_checks, redis_clock
from pipeline.preflight import check_engine, check_recipe, check_store
from pipeline.sources import open_source
from pipeline.sources.base import BadFrame, Frame, SourceEnded, SourceFault

FIRST_FRAME_S = 10.0
FRAMES_TIMED = 20
TIMED_S = 2.0
THUMBNAIL_PX = 320


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    advice: str | None = None  # it works, and will hurt one day


def probe_line(line: LineConfig, thumbnails: Path | None = None) -> list[Finding]:
    """Engine, recipe, store and each camera; a failure never hides the others.

    `thumbnails`: folder for a small picture of each camera.
    """
    frame_bytes: dict[str, int] = {}
    checks: list[tuple[str, Callable[[], str]]] = [
        ("engine", lambda: check_engine(line)),
        ("recipe", lambda: check_recipe(line)),
        ("store", lambda: check_store(line)),
        *(
            (f"camera {camera.id}", lambda camera=camera: _looked_at(camera, thumbnails, frame_bytes))
            for camera in line.cameras
        ),
    ]
    findings = [_finding(what, check) for what, check in checks]
    return [*findings, *(_seen(what, check) for what, check in machine_checks(line, frame_bytes))]


def configuration_findings(line: LineConfig) -> list[Finding]:
    """What can be said without opening anything; and, where the store answers, how its clock stands."""
    findings = [Finding("configuration", True, f"{len(line.cameras)} cameras")]
    if line.publish.redis != "embedded":
        clock = _seen("clock of Redis", lambda: redis_clock(line.publish.redis))
        findings += [clock] if clock.advice else []
    return findings


def _seen(what: str, check: Callable[[], Seen]) -> Finding:
    try:
        detail, advice = check()
    except F2pError as error:
        return Finding(what, False, str(error))
    return Finding(what, True, detail, advice)


def _finding(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except F2pError as error:
        return Finding(what, False, str(error))


def _looked_at(camera: CameraConfig, thumbnails: Path | None, frame_bytes: dict[str, int]) -> str:
    """Size, colour and rate of what the camera sends in its first moments."""
    until_s = time.monotonic() + FIRST_FRAME_S
    first: Frame | None = None
    arrivals_s: list[float] = []
    with open_source(camera.source, max_bytes=camera.max_frame_mb * 2**20) as source:
        while time.monotonic() < until_s and len(arrivals_s) < FRAMES_TIMED:
            try:
                item = source.read(timeout_s=0.5)
            except SourceEnded:
                break
            if isinstance(item, BadFrame):
                return f"first picture can't be read ({item.detail})"
            if item is None:
                continue
            if first is None:
                first, until_s = item, min(until_s, time.monotonic() + TIMED_S)
            arrivals_s.append(time.monotonic())
    if first is None:
        raise SourceFault(f"camera {camera.id}: no frame within {FIRST_FRAME_S:.0f} s")
    frame_bytes[camera.id] = first.image.nbytes
    height, width = first.image.shape[:2]
    told = f"{width}x{height}, {'grey' if first.image.ndim == 2 else 'colour'}"
    if len(arrivals_s) > 1 and arrivals_s[-1] > arrivals_s[0]:
        told += f", {(len(arrivals_s) - 1) / (arrivals_s[-1] - arrivals_s[0]):.1f} frames/s"
    return told if thumbnails is None else f"{told}, {_thumbnail(camera.id, first, thumbnails)}"


def _thumbnail(camera_id: str, frame: Frame, folder: Path) -> Path:
    height, width = frame.image.shape[:2]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return write_picture(folder / f"{camera_id}.jpg", small)
