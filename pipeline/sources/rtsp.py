"""RTSP network cameras."""

from __future__ import annotations

import av

from f2pnet.config.sources import RtspSource
from pipeline.sources.stream import LOW_LATENCY, StreamReader
from pipeline.sources.stream_clock import StreamClock


class RtspReader(StreamReader):
    """Pictures are dated by the stream's own presentation times, tied to our clock by their arrival."""

    def __init__(self, config: RtspSource, start_index: int) -> None:
        self._clock = StreamClock()
        super().__init__(
            config.url.get_secret_value(),
            timeout_s=config.timeout_s,
            start_index=start_index,
            options={**LOW_LATENCY, "rtsp_transport": config.transport},
        )

    def dated(self, frame: av.VideoFrame, arrival_ns: int) -> int:
        return arrival_ns if frame.time is None else self._clock.captured_at_ns(frame.time, arrival_ns)
