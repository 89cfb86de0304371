"""A video file as a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator

import structlog

from f2pnet.config.sources import VideoSource
from f2pnet.errors import MissingResource
from f2pnet.pictures.video import UnreadableVideo, VideoFile, VideoPicture
from f2pnet.text import printable
from pipeline.frames.file_ref import FileRef
from pipeline.sources.base import BadFrame, BadFrameReason, Frame, Opening, Source, SourceEnded, SourceFault
from pipeline.sources.pacing import Pacer

_log = structlog.get_logger(__name__)


class VideoReader(Source):
    """Frames in the order they are shown. A file that was cut off is a fault after its last whole frame, not an end."""

    def __init__(self, config: VideoSource, opening: Opening) -> None:
        self.live = config.live
        self._config = config
        self._max_bytes = opening.max_bytes
        self._shown = printable(config.path)
        if not config.path.is_file():
            raise MissingResource(f"no video file {self._shown}: check the source's path")
        self._open()
        self._index = opening.start_index
        self._skip_to(opening.start_index)
        self._pacer = Pacer(config.fps or self._own_fps())

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        if self._pacer.wait(timeout_s) is None:
            return None
        picture = self._next_picture()
        index, self._index = self._index, self._index + 1
        captured_at_ns = time.time_ns()
        file = FileRef(self._config.path.name, self._position - 1)
        if picture.pixels is None:
            reason: BadFrameReason = "frame_too_large" if picture.too_large else "unreadable"
            return BadFrame(index, reason, picture.problem or "", captured_at_ns, file, picture.follows)
        return Frame(picture.pixels, captured_at_ns, index, file=file)

    def close(self) -> None:
        self._video.close()

    def _open(self) -> None:
        try:
            self._video = VideoFile(self._config.path, self._max_bytes)
        except UnreadableVideo as error:
            raise SourceFault(self._described(error)) from error
        self._pictures: Iterator[VideoPicture] = self._video.pictures()
        self._position = 0

    def _own_fps(self) -> float:
        if self._video.fps is None:
            raise SourceFault(f"video {self._shown} does not state its rate: set the source's fps")
        return self._video.fps

    def _skip_to(self, start_index: int) -> None:
        """Go on where an earlier reader stopped; laps of a looped file are not decoded again."""
        for skipped in range(start_index):
            if self._take() is not None:
                continue
            if self._config.loop and skipped:
                self._rewind()
                for _ in range(start_index % skipped):
                    self._take()
            return

    def _next_picture(self) -> VideoPicture:
        """The next picture; raises SourceEnded or SourceFault when there is none."""
        picture = self._take()
        if picture is None and self._config.loop and self._index:
            self._rewind()
            picture = self._take()
        if picture is None:
            raise SourceEnded(f"video {self._shown} is through after {self._index} frames")
        return picture

    def _take(self) -> VideoPicture | None:
        """The next picture of this lap, None after the last one."""
        try:
            picture = next(self._pictures, None)
        except UnreadableVideo as error:
            raise SourceFault(self._described(error)) from error
        self._position += picture is not None
        self._report_note()
        return picture

    def _report_note(self) -> None:
        if self.note is None and self._video.note is not None:
            self.note = self._video.note
            _log.warning("video", file=self._shown, text=self.note)

    def _rewind(self) -> None:
        self._video.close()
        self._open()

    def _described(self, error: UnreadableVideo) -> str:
        return f"video {self._shown}: {error}"
