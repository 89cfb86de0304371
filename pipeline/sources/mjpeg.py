"""HTTP cameras that send one JPEG after another."""

from __future__ import annotations

from f2pnet.config.sources import MjpegSource
from pipeline.sources.stream import LOW_LATENCY, StreamReader


class MjpegReader(StreamReader):
    """Pictures are dated by their arrival: multipart JPEG carries no times (what FFmpeg shows is made up)."""

    def __init__(self, config: MjpegSource, start_index: int) -> None:
        super().__init__(
            config.url.get_secret_value(),
            timeout_s=config.timeout_s,
            start_index=start_index,
            options=LOW_LATENCY,
            container_format="mpjpeg",
        )
