"""A folder that others put pictures into: each is inspected once, in the order in which it came.

The folder is listed again and again: network shares report no changes that other hosts make, and one way for all is one
way to test. A file is taken when its size and times have not changed between two looks and it is a whole picture; one
that is not whole gets time until it is called unreadable.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from f2pnet.config.sources import FolderSource
from f2pnet.errors import MissingResource
from f2pnet.pictures.folder import PassedOver, describe, list_folder, natural_key
from f2pnet.text import printable
from pipeline.frames.file_ref import FileRef
from pipeline.processes.periodic import Periodic
from pipeline.sources.base import BadFrame, Frame, Opening, Source, SourceFault
from pipeline.sources.files.folder import read_frame
from pipeline.sources.files.hot_folder_journal import Journal, Stamp, move_into, stamp_of
from pipeline.sources.pacing import Pacer

LOOK_INTERVAL_S = 0.2
UNFINISHED_S = 5.0
"""How long a file that is no whole picture may stay unchanged before it is called unreadable."""
_log = structlog.get_logger(__name__)


class _Candidate(NamedTuple):
    """A file that is there, and for how long it has looked like this."""

    stamp: Stamp
    since_s: float


class HotFolderReader(Source):
    """Watches one folder. Pictures that are there when it is opened, and were not inspected before, come first."""

    def __init__(self, config: FolderSource, opening: Opening) -> None:
        self.live = config.live
        self._folder, self._done_dir = config.path, config.done_dir
        self._bit_depth, self._max_bytes = config.bit_depth, opening.max_bytes
        self._index = opening.start_index
        self._pacer = Pacer(config.fps)
        if not self._folder.is_dir():
            raise MissingResource(f"no folder {printable(self._folder)}: check the source's path")
        journal = config.journal or self._folder / f".{opening.owner}.inspected"
        self._journal = Journal(journal, self._done_dir)
        self._own = {path for path in (journal, self._done_dir) if path is not None}
        self._taken: dict[str, deque[Stamp]] = defaultdict(deque)  # captured, verdict not durable yet; oldest first
        for name in opening.in_flight:
            if (stamp := stamp_of(self._folder / name)) is not None:
                self._taken[name].append(stamp)
        self._candidates: dict[str, _Candidate] = {}
        self._ready: deque[str] = deque()
        self._looking = Periodic(LOOK_INTERVAL_S)
        self._passed_over = ""

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            if self._looking.due():
                self._look()
            if (item := self._next_ready()) is not None:
                return item
            now_s = time.monotonic()
            if now_s >= deadline_s:
                return None
            time.sleep(min(self._looking.in_s, deadline_s - now_s))

    def close(self) -> None:
        self._journal.close()

    def settled(self, file: FileRef) -> None:
        taken, path = self._taken[file.name], self._folder / file.name
        stamp = taken[0] if taken else stamp_of(path)
        if stamp is None:
            return  # it was taken away meanwhile
        self._journal.add(file.name, stamp)
        if self._done_dir is not None and stamp_of(path) == stamp:
            move_into(self._done_dir, path)
        if taken:
            taken.popleft()

    def _look(self) -> None:
        """List the folder; a file that did not change since the last look may be taken."""
        now_s = time.monotonic()
        try:
            listing = list_folder(self._folder, subfolders=False, videos=False)
        except OSError as error:
            raise SourceFault(f"folder {printable(self._folder)} can't be read: {error.strerror}") from error
        self._report_passed_over([each for each in listing.passed_over if each.path not in self._own])
        seen: dict[str, _Candidate] = {}
        for path in listing.files:
            stamp = stamp_of(path)
            if stamp is None or self._is_done(path.name, stamp):
                continue
            before = self._candidates.get(path.name)
            unchanged = before is not None and before.stamp == stamp
            seen[path.name] = before if before is not None and unchanged else _Candidate(stamp, now_s)
        fresh = [name for name, candidate in seen.items() if candidate.since_s < now_s and name not in self._ready]
        self._ready.extend(sorted(fresh, key=lambda name: (seen[name].stamp.arrived_ns, natural_key(name))))
        self._candidates = seen
        self._journal.forget_all_but({path.name for path in listing.files})

    def _is_done(self, name: str, stamp: Stamp) -> bool:
        return stamp in self._taken[name] or self._journal.holds(name, stamp)

    def _next_ready(self) -> Frame | BadFrame | None:
        """The next file that is a picture, or has been given up."""
        while self._ready:
            name = self._ready[0]
            candidate = self._candidates.get(name)
            if candidate is None:
                self._ready.popleft()  # taken away, or being written again
                continue
            if self._pacer.wait(0.0) is None:
                return None
            self._ready.popleft()
            path = self._folder / name
            frame = read_frame(path, self._index, self._max_bytes, self._bit_depth)
            changed = stamp_of(path) != candidate.stamp
            is_young = time.monotonic() - candidate.since_s < UNFINISHED_S
            if changed or (isinstance(frame, BadFrame) and frame.reason == "unreadable" and is_young):
                continue  # still being written: the next look says more
            self._index += 1
            self._taken[name].append(candidate.stamp)
            del self._candidates[name]
            return frame
        return None

    def _report_passed_over(self, passed_over: Sequence[PassedOver]) -> None:
        described = describe(passed_over) if passed_over else ""
        if described and described != self._passed_over:
            _log.warning("not everything in the folder is read", folder=printable(self._folder), what=described)
        self._passed_over = described
