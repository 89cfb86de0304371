"""Alerts as lines of a file."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import BinaryIO

from f2pnet.alerts.subscription import Alert
from f2pnet.commands.output_places import try_file, try_folder
from f2pnet.config.sinks import JsonlSink
from pipeline.sinks.base import Sink, SinkAway


class JsonlWriter(Sink):
    """Each alert is on disk when `deliver` returns. A half line that a crash left is ended before the next one."""

    def __init__(self, config: JsonlSink) -> None:
        self._path = config.path
        self._limit_bytes = config.max_mb * 2**20
        self._file: BinaryIO | None = None

    def deliver(self, alert: Alert) -> None:
        try:
            file = self._opened()
            file.write(alert.data + b"\n")
            file.flush()
            os.fdatasync(file.fileno())
        except OSError as error:
            self.close()
            raise SinkAway(f"{self._path}: {error.strerror}; free the disk, or name another file") from error

    def probe(self) -> str:
        try_folder(self._path.parent, "folder", keep=False)
        if self._path.parent.is_dir():
            try_file(self._path, "path")
        return f"{self._path} can be written"

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:  # what could not be flushed was never reported as delivered
                return

    def _opened(self) -> BinaryIO:
        if self._file is not None and self._file.tell() >= self._limit_bytes:
            self.close()
            aside = f"{self._path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
            self._path.rename(self._path.with_name(aside))
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
            if self._ends_open():
                self._file.write(b"\n")
        return self._file

    def _ends_open(self) -> bool:
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
