"""Reading a camera source in tests, with a limit on every wait."""

from __future__ import annotations

import time

from pipeline.sources import BadFrame, Frame, Source

READ_ALL_TIMEOUT_S = 30


def read_until(source: Source, error: type[Exception]) -> tuple[list[Frame | BadFrame], Exception]:
    """Everything that `source` gives until it raises `error`, and that error."""
    items: list[Frame | BadFrame] = []
    deadline_s = time.monotonic() + READ_ALL_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            item = source.read(0.2)
        except error as raised:
            return items, raised
        if item is not None:
            items.append(item)
    raise TimeoutError(f"no {error.__name__} within {READ_ALL_TIMEOUT_S} s, after {len(items)} frames")


def read_frames(source: Source, count: int, *, passing_over: int = 0) -> list[Frame]:
    """The next `count` frames; more bad ones than `passing_over` are an error.

    A camera that sends its pictures over UDP may lose a packet on a busy machine, and the picture is then bad.
    """
    frames: list[Frame] = []
    bad: list[BadFrame] = []
    deadline_s = time.monotonic() + READ_ALL_TIMEOUT_S
    while len(frames) < count:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{len(frames)} of {count} frames within {READ_ALL_TIMEOUT_S} s")
        item = source.read(0.2)
        if isinstance(item, BadFrame):
            bad.append(item)
            assert len(bad) <= passing_over, bad
        elif item is not None:
            frames.append(item)
    return frames
