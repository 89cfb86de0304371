"""Every verdict of a run as lines of a file, written while the line runs: for lines that keep no store of their own."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import structlog

from f2pnet.alerts.stream import RESULT_VERDICTS, StreamEntry, entries
from f2pnet.errors import F2pError
from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from f2pnet.text import printable
from pipeline.store.spool.spool import waiting_in

LOOK_S = 0.5
PAGE = 500
NG_KEPT = 5
TIMEOUT_S = 10.0
_log = structlog.get_logger(__name__)


class ResultsNotWritten(F2pError):
    """The disk refused results; the message names the file."""


class ResultsFile:
    """Copies a line's results from its store into `path`, from `with` to `finish`, in the order of the store.

    `store_url` says where the store is now; it raises MissingResource while the store does not run.
    """

    def __init__(self, path: Path, line: str, store_url: Callable[[], str]) -> None:
        self.path = path
        self.written = 0
        self.last_ng: deque[bytes] = deque(maxlen=NG_KEPT)  # JSON of results, oldest first
        self._results = LineKeys(line).results
        self._store_url = store_url
        self._after = "0-0"
        self._file: BinaryIO | None = None
        self._failed: OSError | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="results file", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")
        except OSError as error:
            raise self._refused(error) from error
        self._thread.start()
        return self

    def finish(self, store_url: str, spool: Path) -> None:
        """Write what is still missing, when nothing new comes any more. Raises ResultsNotWritten or StoreAway."""
        self._ending.set()
        self._thread.join(TIMEOUT_S)
        self._copy(store_url)
        for record in waiting_in(spool):
            if not record.is_fault:
                self._write([record.data])
        if self._failed is not None:
            raise self._refused(self._failed) from self._failed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(TIMEOUT_S)
        if self._file is not None:
            self._file.close()
            if not self.written:
                self.path.unlink(missing_ok=True)

    def _follow(self) -> None:
        while not self._ending.wait(LOOK_S):
            with contextlib.suppress(F2pError):  # the store starts, or is away: what it takes meanwhile is read later
                self._copy(self._store_url())

    def _copy(self, url: str) -> None:
        link = RedisLink(url, timeout_s=TIMEOUT_S)
        try:
            found = entries(link.exchange, self._results, RESULT_VERDICTS, first=f"({self._after}", page=PAGE)
            while page := list(islice(found, PAGE)):
                results = [entry for entry in page if isinstance(entry, StreamEntry)]
                self._write([entry.data for entry in results])
                self.last_ng.extend(entry.data for entry in results if entry.verdict is Verdict.NG)
                self._after = page[-1].id
        finally:
            link.close()

    def _write(self, lines: list[bytes]) -> None:
        if self._file is None or self._failed is not None:
            return
        try:
            self._file.write(b"".join(line + b"\n" for line in lines))
            self._file.flush()
            self.written += len(lines)
        except OSError as error:
            self._failed = error
            _log.error("results not written", file=printable(self.path), reason=error.strerror)

    def _refused(self, error: OSError) -> ResultsNotWritten:
        return ResultsNotWritten(
            f"results can't be written to {printable(self.path)}: {error.strerror}; free the disk, or run where you "
            "may write"
        )
