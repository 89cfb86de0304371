"""The frame rings of a line as its supervisor sees them: their ledgers, their runs, and lost rings restored.

The supervisor keeps every ring mapped. So a ring whose file was removed is not lost with its ingest worker: it goes on
in a new file before the worker is replaced.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import structlog

from f2pnet.config import LineConfig
from f2pnet.errors import F2pError, OutOfResources
from pipeline.frames.ledger import Ledger
from pipeline.frames.ring import RingReader
from pipeline.frames.ring_file import put_aside, unlink_ring
from pipeline.frames.ring_memory import RingMissing
from pipeline.frames.ring_moves import continue_ring
from pipeline.wire.messages import Acks
from pipeline.wire.run_id import new_run_id
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link
from pipeline.workers.camera.left_rings import LeftRing
from pipeline.workers.camera.ring import open_left_ring

QUEUE_LIMIT = 64
ACKS_AT_ONCE = 64
_log = structlog.get_logger(__name__)


class LineRings:
    """Of the cameras that the line has or had in this run, and of what earlier runs left."""

    def __init__(self, run_dir: RunDir, run_id: str) -> None:
        self.run_id = run_id
        self._run_dir = run_dir
        self._readers: dict[str, RingReader] = {}
        self._earlier_runs: dict[str, str] = {}  # of rings that were there before this run, by camera
        self._run_ids: dict[str, str] = {}  # by camera, once its worker was started
        self._unread: dict[str, str] = {}  # why a ledger can't be read, as it was logged
        self._departed: list[tuple[LeftRing, Link]] = []
        self._look_at_earlier_runs(run_dir.line)

    def run_id_for(self, camera_id: str) -> tuple[str, str | None]:
        """Which run an ingest worker that starts now goes on with, and what an operator must know of that, if anything.

        Raises OutOfResources when that can't be found out now.
        """
        name = self._run_dir.ring_name(camera_id)
        fault: str | None = None
        try:
            reader = RingReader(name)
        except OutOfResources:
            raise
        except F2pError as error:
            run_id, fault = self._run_id_without_ring(camera_id, error)
        else:
            earlier = reader.run_id == self._earlier_runs.get(camera_id)
            run_id = self.run_id if earlier else reader.run_id
            reader.close()
        self._run_ids[camera_id] = run_id
        return run_id, fault

    def ledger(self, camera_id: str) -> Ledger | None:
        """Of the camera's ring in this run; None while there is none that can be read."""
        reader = self._reader(camera_id)
        if reader is None or reader.run_id == self._earlier_runs.get(camera_id):
            return None
        try:
            return reader.ledger
        except F2pError as error:
            self._report_unread(camera_id, error)
            return None

    def report_departed(self) -> None:
        """Report the frames that cameras left which the line has no more."""
        for left, link in self._departed:
            for message, _ in link.receive(ACKS_AT_ONCE):
                if isinstance(message, Acks):
                    left.settle(message)
            left.report(link)
        for each in [each for each in self._departed if each[0].done]:
            self._departed.remove(each)
            each[1].close()

    def close(self, settled: Iterable[str]) -> None:
        """Let go of all; the rings of the `settled` cameras are removed, the others are for the next run."""
        for left, link in self._departed:
            left.close()
            link.close()
        for reader in self._readers.values():
            reader.close()
        for camera_id in settled:
            unlink_ring(self._run_dir.ring_name(camera_id))

    def _run_id_without_ring(self, camera_id: str, error: F2pError) -> tuple[str, str | None]:
        """The ring has no file, or one that is not ours."""
        mapped = self._readers.get(camera_id)
        if mapped is not None and mapped.run_id != self._earlier_runs.get(camera_id):
            name = self._run_dir.ring_name(camera_id)
            try:
                restored = continue_ring(mapped.memory, name, mapped.memory.geometry)
            except F2pError as problem:
                error = problem
            else:
                held = restored.ledger.in_flight
                restored.close()
                return (
                    mapped.run_id,
                    f"the frame ring of camera {camera_id} was removed; its {held} frames were restored",
                )
        if camera_id not in self._run_ids:
            return self.run_id, None
        run_id = new_run_id()
        return run_id, f"camera {camera_id} begins a new run: what its frame ring held is unknown ({error})"

    def _reader(self, camera_id: str) -> RingReader | None:
        """The camera's ring. One whose file was removed stays mapped until there is another."""
        reader = self._readers.get(camera_id)
        if reader is not None and not reader.is_gone and reader.memory.is_intact:
            return reader
        try:
            fresh = RingReader(self._run_dir.ring_name(camera_id))
        except RingMissing:
            return reader
        except F2pError as error:
            self._report_unread(camera_id, error)
            return reader
        self._unread.pop(camera_id, None)
        if reader is not None:
            reader.close()
        self._readers[camera_id] = fresh
        return fresh

    def _report_unread(self, camera_id: str, error: F2pError) -> None:
        if self._unread.get(camera_id) != str(error):
            self._unread[camera_id] = str(error)
            _log.warning("ledger not read", camera=camera_id, reason=str(error))

    def _look_at_earlier_runs(self, line: LineConfig) -> None:
        """Before any worker runs: whose rings lie there, and which cameras are gone."""
        present = {camera.id for camera in line.cameras}
        for name in self._run_dir.rings():
            if name.left_by is None and name.camera_id in present:
                self._note_earlier_run(name.camera_id, name.file_name)
            elif name.camera_id not in present:
                self._take_departed(name.camera_id, name.file_name, left_by=name.left_by)

    def _note_earlier_run(self, camera_id: str, file_name: str) -> None:
        try:
            reader = RingReader(file_name)
        except F2pError as error:
            aside = f"{file_name}.unreadable-{secrets.token_hex(4)}"
            _log.error("a frame ring can't be read: what it held is unknown", reason=str(error), put_aside_as=aside)
            put_aside(file_name, aside)
            return
        self._earlier_runs[camera_id] = reader.run_id
        reader.close()

    def _take_departed(self, camera_id: str, file_name: str, left_by: str | None) -> None:
        """A ring of a camera that the line has no more: its frames are reported, then it is removed."""
        try:
            run_id = left_by or RingReader(file_name).run_id
            name = self._run_dir.left_ring(camera_id, run_id)
            put_aside(file_name, name.file_name)
            left = open_left_ring(self._run_dir, name)
        except F2pError as error:
            _log.warning("ring of a camera that the line has no more is left alone", ring=file_name, reason=str(error))
            return
        if left is not None:
            link = Link(self._run_dir.publish_address, f"ingest/{camera_id}", QUEUE_LIMIT, self._run_dir.curve)
            self._departed.append((left, link))
