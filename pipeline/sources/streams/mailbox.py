"""Hands pictures from a camera's reading thread to the ingest worker; bounded, and silent about nothing."""

from __future__ import annotations

import threading
from collections import deque

from pipeline.sources.base import BadFrame, Frame, SourceFault

MAX_PICTURES = 8  # a reader that is further behind than this loses pictures, oldest first
MAX_WAITING = 4096  # with the markers of lost ones; beyond it the camera counts as lost


class Mailbox:
    """First in, first out. When it is full the oldest picture becomes a BadFrame "overrun": only its pixels go."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lost: deque[BadFrame] = deque()  # older than every picture
        self._waiting: deque[Frame | BadFrame] = deque()
        self._pictures = 0
        self._fault: str | None = None

    def put(self, item: Frame | BadFrame) -> None:
        """Add a picture. Raises SourceFault when nobody has read for so long that not even markers fit."""
        with self._changed:
            self._waiting.append(item)
            self._pictures += isinstance(item, Frame)
            while self._pictures > MAX_PICTURES:
                self._give_up_oldest()
            if len(self._lost) + len(self._waiting) > MAX_WAITING:
                raise SourceFault(f"{MAX_WAITING} pictures came and nobody read them")
            self._changed.notify()

    def fail(self, message: str) -> None:
        """No more pictures will come; readers learn it after the last one that did."""
        with self._changed:
            self._fault = self._fault or message
            self._changed.notify()

    def get(self, timeout_s: float) -> Frame | BadFrame | None:
        """The oldest picture, None after `timeout_s`; raises SourceFault when there is none and none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._lost or self._waiting or self._fault, timeout_s)
            if self._lost:
                return self._lost.popleft()
            if self._waiting:
                item = self._waiting.popleft()
                self._pictures -= isinstance(item, Frame)
                return item
            if self._fault is not None:
                raise SourceFault(self._fault)
            return None

    def _give_up_oldest(self) -> None:
        item = self._waiting.popleft()
        if isinstance(item, Frame):
            self._pictures -= 1
            detail = f"more than {MAX_PICTURES} pictures waited to be read"
            item = BadFrame(item.index, "overrun", detail, item.captured_at_ns, item.file)
        self._lost.append(item)
