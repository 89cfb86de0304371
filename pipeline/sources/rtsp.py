"""RTSP network cameras."""

from __future__ import annotations

from f2pnet.config.sources import RtspSource
from pipeline.sources.timed_stream import TimedStreamReader

# Nothing is held back for smoothness, and little is read ahead to learn what the stream is: it says so itself.
LOW_LATENCY = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "200000", "analyzeduration": "500000"}


class RtspReader(TimedStreamReader):
    """One camera over RTSP, H.264 or H.265."""

    def __init__(self, config: RtspSource, start_index: int) -> None:
        super().__init__(
            config.url.get_secret_value(),
            timeout_s=config.timeout_s,
            start_index=start_index,
            options={**LOW_LATENCY, "rtsp_transport": config.transport},
        )
