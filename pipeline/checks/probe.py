"""`f2p check --probe`: open what a line names, and say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from f2pnet.config import CameraConfig, LineConfig
from f2pnet.config.sources import FolderSource
from f2pnet.errors import F2pError
from f2pnet.pictures.folder import list_folder
from f2pnet.pictures.writing import write_picture
from f2pnet.text import printable
from pipeline.checks.machine_checks import Seen, machine_checks, redis_clock
from pipeline.checks.preflight import check_engine, check_recipe, check_store
from pipeline.sinks import probe_sink
from pipeline.sources import open_source
from pipeline.sources.base import BadFrame, Frame, SourceEnded, SourceFault

FIRST_FRAME_S = 10.0
LONGEST_WAIT_S = 30.0  # for the first picture of a camera that sends, and sends keyframes rarely
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
        *((f"sink {sink.name}", lambda sink=sink: probe_sink(sink, line.line)) for sink in line.publish.sinks),
    ]
    findings = [_finding(what, check) for what, check in checks]
    return [*findings, *(_seen(what, check) for what, check in machine_checks(line, frame_bytes))]


def configuration_findings(line: LineConfig) -> list[Finding]:
    """What can be said without opening anything; and, where the store answers, how its clock stands."""
    findings = [Finding("configuration", True, f"{len(line.cameras)} cameras")]
    if not line.publish.is_embedded:
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
    if isinstance(camera.source, FolderSource) and camera.source.watch:
        return _watched(camera.source)
    started_s = time.monotonic()
    until_s = started_s + FIRST_FRAME_S
    first: Frame | None = None
    unreadable: list[str] = []
    arrivals_s: list[float] = []
    with open_source(camera.source, max_bytes=camera.max_frame_mb * 2**20) as source:
        while time.monotonic() < until_s and len(arrivals_s) < FRAMES_TIMED:
            try:
                item = source.read(timeout_s=0.5)
            except SourceEnded:
                break
            if item is None:
                continue
            if isinstance(item, BadFrame):
                unreadable.append(item.detail)  # a camera that is joined between two keyframes begins so
                if first is None:
                    until_s = max(until_s, min(time.monotonic() + FIRST_FRAME_S, started_s + LONGEST_WAIT_S))
                continue
            if first is None:
                first, until_s = item, min(until_s, time.monotonic() + TIMED_S)
            arrivals_s.append(time.monotonic())
    if first is None:
        why = f"; {len(unreadable)} can't be read: {unreadable[0]}" if unreadable else ""
        raise SourceFault(f"camera {camera.id}: no frame within {time.monotonic() - started_s:.0f} s{why}")
    frame_bytes[camera.id] = first.image.nbytes
    height, width = first.image.shape[:2]
    finding = f"{width}x{height}, {'grey' if first.image.ndim == 2 else 'colour'}"
    if len(arrivals_s) > 1 and arrivals_s[-1] > arrivals_s[0]:
        finding += f", {(len(arrivals_s) - 1) / (arrivals_s[-1] - arrivals_s[0]):.1f} frames/s"
    if source.note is not None:
        finding += f"; {source.note}"
    if unreadable:
        finding += f", {len(unreadable)} of the first pictures can't be read ({unreadable[0]})"
    return finding if thumbnails is None else f"{finding}, {_thumbnail(camera.id, first, thumbnails)}"


def _watched(source: FolderSource) -> str:
    """A watched folder may be empty: nothing of it is taken."""
    try:
        listing = list_folder(source.path, subfolders=False, videos=False)
    except OSError as error:
        raise SourceFault(f"folder {printable(source.path)} can't be read: {error.strerror}") from error
    return f"watched folder, {len(listing.files)} pictures there now"


def _thumbnail(camera_id: str, frame: Frame, folder: Path) -> Path:
    height, width = frame.image.shape[:2]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return write_picture(folder / f"{camera_id}.jpg", small)
