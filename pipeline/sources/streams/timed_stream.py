"""Streams that say when each picture was taken: RTSP cameras, and cameras of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from f2pnet.pictures.video import PacketDecoder, VideoPicture
from pipeline.sources.base import BadFrameReason, SourceFault
from pipeline.sources.stream_clock import StreamClock
from pipeline.sources.streams.stream import Messages, Received, StreamReader


class TimedStreamReader(StreamReader):
    """Pictures are dated by the stream's own presentation times, tied to our clock by their arrival."""

    def __init__(self, url: str, **options: Any) -> None:
        self._clock = StreamClock()  # before the thread starts that reads by it
        super().__init__(url, **options)

    def begin(self, container: InputContainer) -> Stream:
        if not container.streams.video:
            raise SourceFault("sends no video")
        stream = container.streams.video[0]
        self._decoder = PacketDecoder(stream, self._max_bytes)
        return stream

    def pictures(self, packet: av.Packet[Stream], arrival_ns: int, messages: Messages) -> Iterator[Received]:
        for picture in self._decoder.decode(cast("av.Packet[VideoStream]", packet)):
            yield self._received(picture, arrival_ns)

    def _received(self, picture: VideoPicture, arrival_ns: int) -> Received:
        dated_ns = arrival_ns if picture.time_s is None else self._clock.captured_at_ns(picture.time_s, arrival_ns)
        reason: BadFrameReason = "frame_too_large" if picture.too_large else "unreadable"
        return Received(picture.pixels, dated_ns, picture.problem or "", reason, picture.follows)
