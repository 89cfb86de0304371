"""HTTP cameras that send one JPEG after another (multipart/x-mixed-replace)."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.container import InputContainer
from av.stream import Stream

from f2pnet.config.sources import MjpegSource
from f2pnet.pictures.decode import decode_picture
from f2pnet.pictures.header import PictureTooLarge, UnreadablePicture
from pipeline.sources.base import Opening, SourceFault
from pipeline.sources.streams.jpeg_parts import JpegParts
from pipeline.sources.streams.stream import Messages, Received, StreamReader


class MjpegReader(StreamReader):
    """Pictures are dated by their arrival: multipart JPEG carries no times.

    FFmpeg speaks HTTP and hands over the bytes as they come; the pictures are found by their own markers, since cameras
    spell the headers between them in every way.
    """

    def __init__(self, config: MjpegSource, opening: Opening) -> None:
        self._parts = JpegParts(opening.max_bytes)  # before the thread starts that reads by it
        self._gave_any = False
        super().__init__(
            config.url.get_secret_value(),
            timeout_s=config.timeout_s,
            opening=opening,
            options={"raw_packet_size": "65536"},
            container_format="data",
        )

    def begin(self, container: InputContainer) -> Stream:
        return container.streams[0]

    def pictures(self, packet: av.Packet[Stream], arrival_ns: int, messages: Messages) -> Iterator[Received]:
        self._gave_any = False
        try:
            for part in self._parts.feed(bytes(packet)) if packet.size else self._parts.end():
                self._gave_any = True
                yield self._received(part, arrival_ns)
        except ValueError as error:
            raise SourceFault(str(error)) from error

    def is_sign_of_life(self, packet: av.Packet[Stream]) -> bool:
        """Bytes between pictures are none: a camera that sends nothing else has no picture to give."""
        return bool(packet.size) and (self._parts.in_jpeg or self._gave_any)

    def _received(self, part: bytes | str, arrival_ns: int) -> Received:
        if isinstance(part, str):
            return Received(None, arrival_ns, part)
        try:
            return Received(decode_picture(part, max_bytes=self._max_bytes), arrival_ns)
        except PictureTooLarge as error:
            return Received(None, arrival_ns, str(error), "frame_too_large")
        except UnreadablePicture as error:
            return Received(None, arrival_ns, str(error))
