"""HTTP cameras that send one JPEG after another (multipart/x-mixed-replace)."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.video.stream import VideoStream

from f2pnet.config.sources import MjpegSource
from pipeline.sources.decoding import Pixels
from pipeline.sources.images import UnreadableImage, decode_image
from pipeline.sources.stream import StreamReader


class MjpegReader(StreamReader):
    """Pictures are dated by their arrival: multipart JPEG carries no times (what FFmpeg shows is made up).

    FFmpeg only parts the stream; each JPEG is decoded like a file, since FFmpeg's decoder fills a torn one with grey.
    """

    def __init__(self, config: MjpegSource, start_index: int) -> None:
        super().__init__(
            config.url.get_secret_value(),
            timeout_s=config.timeout_s,
            start_index=start_index,
            options={"analyzeduration": "0"},  # the first picture is not held back to guess at a rate
            container_format="mpjpeg",
        )

    def pictures(self, packet: av.Packet[VideoStream], arrival_ns: int) -> Iterator[tuple[Pixels | str, int]]:
        if packet.size == 0:
            return  # the end of the stream
        try:
            yield decode_image(bytes(packet)), arrival_ns
        except UnreadableImage as error:
            yield str(error), arrival_ns
