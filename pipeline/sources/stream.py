"""Live network video: a thread decodes, the ingest worker takes pictures from a bounded mailbox.

The thread is what makes time-outs honest: FFmpeg may sit in a read for as long as its own limits allow, while `read`
answers within the time it was given and a camera that falls silent is lost after `timeout_s`, hung library or not.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from f2pnet.address import redact_url
from pipeline.sources.base import BadFrame, Frame, Source, SourceFault
from pipeline.sources.decoding import Pixels, reason_of
from pipeline.sources.mailbox import Mailbox

HUNG_S = 0.5  # FFmpeg keeps its own time-out; when it is this late the library itself hangs
CLOSING_S = 1.0  # how long `close` waits for the thread; a hung one ends by itself after the time-out


class StreamReader(Source):
    """Base of the network cameras. Subclasses say how to open the address, and how packets become pictures."""

    live = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        start_index: int,
        options: dict[str, str],
        container_format: str | None = None,
    ) -> None:
        self._url = url
        self._name = redact_url(url)
        self._timeout_s = timeout_s
        self._index = start_index
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
            raise SourceFault(self._told(self._silent()))
        if not self._opened:
            self._mailbox.get(0)  # raises what went wrong

    @abstractmethod
    def pictures(self, packet: av.Packet[VideoStream], arrival_ns: int) -> Iterator[tuple[Pixels | str, int]]:
        """What `packet`, arrived at `arrival_ns` (UTC), completes: pixels or what is wrong, and when it was taken."""

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        item = self._mailbox.get(timeout_s)
        if item is None and self._silence_s() > self._timeout_s + HUNG_S:
            raise SourceFault(self._told(self._silent()))
        return item

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        try:
            with av.open(self._url, format=self._format, options=self._options, timeout=self._timeout_s) as container:
                self._opened, self._last_arrival_s = True, time.monotonic()
                self._tried_to_open.set()
                self._decode(container)
            self._mailbox.fail(self._told("ended its stream"))
        except SourceFault as error:
            self._mailbox.fail(self._told(str(error)))
        except Exception as error:  # whatever ends this thread must not look like a camera that is merely silent
            silent = self._silence_s() >= self._timeout_s
            self._mailbox.fail(self._told(self._silent() if silent else f"is lost: {reason_of(error)}"))
        finally:
            self._tried_to_open.set()

    def _decode(self, container: InputContainer) -> None:
        if not container.streams.video:
            raise SourceFault("sends no video")
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 1  # threads by frame hold pictures back
        for packet in container.demux(stream):
            if self._stopping.is_set():
                return
            silence_s = self._silence_s()
            for picture, captured_at_ns in self.pictures(packet, time.time_ns()):
                self._hand_over(picture, captured_at_ns)
            if silence_s >= self._timeout_s:  # what came now is the last picture, which FFmpeg had held back
                raise SourceFault(self._silent())

    def _hand_over(self, picture: Pixels | str, captured_at_ns: int) -> None:
        index, self._index = self._index, self._index + 1
        self._last_arrival_s = time.monotonic()
        if isinstance(picture, str):
            self._mailbox.put(BadFrame(index, "unreadable", picture, captured_at_ns))
        else:
            self._mailbox.put(Frame(picture, captured_at_ns, index))

    def _told(self, what: str) -> str:
        """A sentence about this camera; its address stands without password."""
        return f"camera {self._name} {what}"

    def _silent(self) -> str:
        return f"has been silent for {self._timeout_s:g} s; check cable, power and address"

    def _silence_s(self) -> float:
        return time.monotonic() - self._last_arrival_s
