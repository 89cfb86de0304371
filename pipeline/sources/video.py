"""A video file as a camera."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from f2pnet.config.sources import VideoSource
from f2pnet.errors import MissingResource
from pipeline.sources.base import BadFrame, Frame, Source, SourceEnded, SourceFault
from pipeline.sources.decoding import pixels_of, reason_of
from pipeline.sources.pacing import Pacer

TAIL_FRAMES = 1.5  # a file whose last picture ends this much before the promised length was cut off


class VideoReader(Source):
    """Frames in the order they are shown. A file that was cut off is a fault after its last whole frame, not an end."""

    def __init__(self, config: VideoSource, start_index: int) -> None:
        self.live = config.live
        self._config = config
        if not config.path.is_file():
            raise MissingResource(f"no video file {config.path}: check the source's path")
        self._container, self._stream = self._open()
        self._frames = self._decoded()
        self._index = 0
        self._skip_to(start_index)
        self._pacer = Pacer(config.fps or self._own_fps())

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        if self._pacer.wait(timeout_s) is None:
            return None
        frame = self._next_frame()
        index, self._index = self._index, self._index + 1
        captured_at_ns = time.time_ns()
        if frame is None:
            return BadFrame(index, "unreadable", "damaged in the file", captured_at_ns, self._config.path.name)
        return Frame(pixels_of(frame), captured_at_ns, index, name=self._config.path.name)

    def close(self) -> None:
        self._frames = iter(())
        self._container.close()

    def _open(self) -> tuple[InputContainer, VideoStream]:
        path = self._config.path
        try:
            container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise SourceFault(f"video {path} can't be read ({reason_of(error)}): is it whole, and a video?") from error
        if not container.streams.video:
            container.close()
            raise SourceFault(f"{path} holds no video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"  # a file may be decoded ahead, unlike a camera
        return container, stream

    def _own_fps(self) -> float:
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise SourceFault(f"video {self._config.path} does not tell its rate: set the source's fps")
        return float(rate)

    def _skip_to(self, start_index: int) -> None:
        """Go on where an earlier reader stopped; laps of a looped file are not decoded again."""
        self._index = start_index
        for skipped in range(start_index):
            if next(self._frames, self) is not self:
                continue
            if self._config.loop and skipped:
                self._rewind()
                for _ in range(start_index % skipped):
                    next(self._frames, None)
            return

    def _next_frame(self) -> av.VideoFrame | None:
        """The next frame, None for a damaged one; raises SourceEnded or SourceFault when there is none."""
        for frame in self._frames:
            return frame
        if not self._config.loop or self._index == 0:
            raise SourceEnded(f"video {self._config.path} is through after {self._index} frames")
        self._rewind()
        return next(self._frames, None)

    def _rewind(self) -> None:
        self._container.close()
        self._container, self._stream = self._open()
        self._frames = self._decoded()

    def _decoded(self) -> Iterator[av.VideoFrame | None]:
        """All frames of one lap; None for a damaged one. Raises SourceFault where the file was cut off."""
        count, end_s, tail_damaged = 0, 0.0, False
        try:
            for packet in self._container.demux(self._stream):
                frames = _decode(packet)
                tail_damaged = None in frames or (
                    tail_damaged and not packet.size
                )  # no size: what the decoder still held
                for frame in frames:
                    yield frame
                    count += 1
                    end_s = max(end_s, (frame and frame.time) or 0.0)
        except (av.FFmpegError, OSError) as error:
            raise SourceFault(f"video {self._config.path} broke after frame {count}: {reason_of(error)}") from error
        self._check_whole(count, end_s, tail_damaged)

    def _check_whole(self, count: int, end_s: float, tail_damaged: bool) -> None:
        """Raise SourceFault when the file promised more than `count` frames that end with the one at `end_s`."""
        promised_s, tail_s = _promised_end_s(self._stream), TAIL_FRAMES / float(self._stream.average_rate or 25)
        if tail_damaged or (promised_s is not None and end_s + tail_s < promised_s):
            whole = "" if promised_s is None else f" of {promised_s:.2f}"
            raise SourceFault(
                f"video {self._config.path} broke off after frame {count}, at {end_s:.2f}{whole} s: "
                "it was cut short; copy or record it anew"
            )


def _decode(packet: av.Packet[VideoStream]) -> list[av.VideoFrame | None]:
    """Frames that `packet` completes; a damaged packet counts as one damaged frame."""
    if packet.is_corrupt:
        return [None]
    try:
        return [None if frame.is_corrupt else frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    except av.error.InvalidDataError:
        return [None]


def _promised_end_s(stream: VideoStream) -> float | None:
    """When the last frame should be over, by the file's own header, in s; None when it does not tell."""
    if stream.duration is not None and stream.time_base is not None:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", ""))  # as Matroska writes it
    if tag is None:
        return None
    hours, minutes, seconds = tag.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
