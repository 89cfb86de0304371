"""Live network video: a thread decodes, the ingest worker takes pictures from a bounded mailbox.

The thread is what makes time-outs honest: FFmpeg may sit in a read for as long as its own limits allow, while `read`
answers within the time it was given and a camera that falls silent is lost after `timeout_s`, hung library or not.
Silence is measured on packets: a camera may send for many seconds before the first of them gives a picture.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.stream import Stream

from f2pnet.address import redact_url
from f2pnet.pictures.preprocess import Image
from f2pnet.pictures.video import read_ffmpeg_messages, reason_of
from pipeline.sources.base import BadFrame, BadFrameReason, Frame, Opening, Source, SourceFault
from pipeline.sources.streams.mailbox import Mailbox

HUNG_S = 0.5  # FFmpeg keeps its own time-out; when it is this late the library itself hangs
CLOSING_S = 1.0  # how long `close` waits for the thread; a hung one ends by itself after the time-out

Messages = Sequence[tuple[int, str, str]]
"""FFmpeg's messages: (level, part of FFmpeg, text)."""


@dataclass(frozen=True, eq=False)
class Received:
    """One picture of a stream, or (image None) why there is none; see `BadFrame`."""

    image: Image | None
    captured_at_ns: int
    problem: str = ""
    reason: BadFrameReason = "unreadable"
    follows: bool = False


class StreamReader(Source):
    """Base of the network cameras. Subclasses say how to open the address, and how packets become pictures."""

    live = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        opening: Opening,
        options: dict[str, str],
        container_format: str | None = None,
        name: str | None = None,
    ) -> None:
        """`name`: what messages call the camera; None: its address, without password."""
        self._url = url
        self._name = name or redact_url(url)
        self._timeout_s = timeout_s
        self._index = opening.start_index
        self._max_bytes = opening.max_bytes
        self._options = options
        self._format = container_format
        self._mailbox = Mailbox()
        self._opened = False
        self._tried_to_open = threading.Event()
        self._stopping = threading.Event()
        self._last_arrival_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"camera {self._name}", daemon=True)
        self._thread.start()
        if not self._tried_to_open.wait(timeout_s):
            self._stopping.set()
            raise SourceFault(self._described(self._silent()))
        if not self._opened:
            self._mailbox.get(0)  # raises what went wrong

    @abstractmethod
    def begin(self, container: InputContainer) -> Stream:
        """The stream of `container` to read. Raises SourceFault when it has none."""

    @abstractmethod
    def pictures(self, packet: av.Packet[Stream], arrival_ns: int, messages: Messages) -> Iterator[Received]:
        """What `packet`, arrived at `arrival_ns` (UTC), completes. `messages`: FFmpeg's while it was received."""

    def is_sign_of_life(self, packet: av.Packet[Stream]) -> bool:
        """Whether the packet shows that the camera still sends; asked after `pictures`."""
        return bool(packet.size)

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        item = self._mailbox.get(timeout_s)
        if item is None and self._silence_s() > self._timeout_s + HUNG_S:
            raise SourceFault(self._described(self._silent()))
        return item

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        read_ffmpeg_messages()
        try:
            with av.logging.Capture() as messages:
                container = av.open(self._url, format=self._format, options=self._options, timeout=self._timeout_s)
                with container:
                    self._opened, self._last_arrival_s = True, time.monotonic()
                    self._tried_to_open.set()
                    self._receive(container, messages)
            self._mailbox.fail(self._described("ended its stream"))
        except SourceFault as error:
            self._mailbox.fail(self._described(str(error)))
        except Exception as error:  # whatever ends this thread must not look like a camera that is merely silent
            silent = self._silence_s() >= self._timeout_s
            self._mailbox.fail(self._described(self._silent() if silent else f"is lost: {reason_of(error)}"))
        finally:
            self._tried_to_open.set()

    def _receive(self, container: InputContainer, messages: list[tuple[int, str, str]]) -> None:
        stream = self.begin(container)
        messages.clear()
        for packet in container.demux(stream):
            if self._stopping.is_set():
                return
            silence_s = self._silence_s()
            for picture in self.pictures(packet, time.time_ns(), tuple(messages)):
                self._hand_over(picture)
            messages.clear()
            if silence_s >= self._timeout_s:  # what came now is the last picture, which FFmpeg had held back
                raise SourceFault(self._silent())
            if self.is_sign_of_life(packet):
                self._last_arrival_s = time.monotonic()

    def _hand_over(self, picture: Received) -> None:
        index, self._index = self._index, self._index + 1
        if picture.image is None:
            bad = BadFrame(index, picture.reason, picture.problem, picture.captured_at_ns, follows=picture.follows)
            self._mailbox.put(bad)
        else:
            self._mailbox.put(Frame(picture.image, picture.captured_at_ns, index))

    def _described(self, what: str) -> str:
        """A sentence about this camera; its address stands without password."""
        return f"camera {self._name} {what}"

    def _silent(self) -> str:
        return f"has been silent for {self._timeout_s:g} s; check cable, power and address"

    def _silence_s(self) -> float:
        return time.monotonic() - self._last_arrival_s
