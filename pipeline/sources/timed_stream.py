"""Streams that tell when each picture was taken: RTSP cameras, and cameras of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
from av.video.stream import VideoStream

from pipeline.sources.decoding import Pixels, pixels_of, reason_of
from pipeline.sources.stream import StreamReader
from pipeline.sources.stream_clock import StreamClock


class TimedStreamReader(StreamReader):
    """Pictures are dated by the stream's own presentation times, tied to our clock by their arrival."""

    def __init__(self, url: str, **options: Any) -> None:
        self._clock = StreamClock()  # before the thread starts that reads by it
        super().__init__(url, **options)

    def pictures(self, packet: av.Packet[VideoStream], arrival_ns: int) -> Iterator[tuple[Pixels | str, int]]:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            yield reason_of(error), arrival_ns
            return
        for frame in frames:
            captured_at_ns = self._dated(frame, arrival_ns)
            yield "parts of the picture were lost on the way" if frame.is_corrupt else pixels_of(frame), captured_at_ns

    def _dated(self, frame: av.VideoFrame, arrival_ns: int) -> int:
        return arrival_ns if frame.time is None else self._clock.captured_at_ns(frame.time, arrival_ns)
