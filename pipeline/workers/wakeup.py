"""Waking a poller from another thread."""

from __future__ import annotations

import os


class Wakeup:
    """Wakes a poller from another thread."""

    def __init__(self) -> None:
        self._file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._file

    def set(self) -> None:
        os.eventfd_write(self._file, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self._file)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self._file)
