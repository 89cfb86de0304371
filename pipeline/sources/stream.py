"""Live network video: a thread decodes, the ingest worker takes pictures from a bounded mailbox.

The thread is what makes time-outs honest: FFmpeg may sit in a read for as long as its own limits allow, while `read`
answers within the time it was given and a camera that falls silent is lost after `timeout_s`, hung library or not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import av
from av.container import InputContainer

from f2pnet.config.sources import redact_url
from pipeline.sources.base import BadFrame, Frame, Source, SourceFault
from pipeline.sources.decoding import pixels_of, reason_of
from pipeline.sources.mailbox import Mailbox

# A picture is decoded when its last packet has come, not some pictures later: nothing is held back for smoothness.
LOW_LATENCY = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "200000", "analyzeduration": "500000"}
CLOSING_S = 1.0  # how long `close` waits for the thread; a hung one ends by itself after the time-out


class StreamReader(Source):
    """Base of the network cameras. Subclasses say how to open the address and how to date a picture."""

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
        self._opened = threading.Event()
        self._stopping = threading.Event()
        self._last_arrival_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"camera {self._name}", daemon=True)
        self._thread.start()
        self._wait_until_open()

    def dated(self, frame: av.VideoFrame, arrival_ns: int) -> int:
        """UTC ns at which `frame`, which arrived at `arrival_ns`, was taken."""
        return arrival_ns

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        item = self._mailbox.get(timeout_s)
        if item is None and time.monotonic() - self._last_arrival_s > self._timeout_s:
            raise self._silent()
        return item

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(CLOSING_S)

    def _wait_until_open(self) -> None:
        if not self._opened.wait(self._timeout_s):
            self._stopping.set()
            raise self._silent()
        if not self._thread.is_alive() or self._stopping.is_set():
            self._mailbox.get(0)  # raises what the thread met

    def _silent(self) -> SourceFault:
        return SourceFault(
            f"camera {self._name} has been silent for {self._timeout_s:g} s; check cable, power and address"
        )

    def _run(self) -> None:
        try:
            with av.open(self._url, format=self._format, options=self._options, timeout=self._timeout_s) as container:
                self._decode(container)
            self._mailbox.fail(f"camera {self._name} ended its stream")
        except SourceFault as error:
            self._mailbox.fail(f"camera {self._name}: {error}")
        except (av.FFmpegError, OSError, ValueError) as error:
            self._mailbox.fail(f"camera {self._name}: {reason_of(error)}")
        finally:
            self._opened.set()

    def _decode(self, container: InputContainer) -> None:
        if not container.streams.video:
            raise SourceFault("the stream has no video")
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 1  # frame threads hold pictures back
        self._opened.set()
        for packet in container.demux(stream):
            if self._stopping.is_set():
                return
            arrival_ns = time.time_ns()
            try:
                frames: Iterable[av.VideoFrame] = packet.decode()
            except av.error.InvalidDataError as error:
                self._hand_over_bad(reason_of(error), arrival_ns)
                continue
            for frame in frames:
                self._hand_over(frame, arrival_ns)

    def _hand_over(self, frame: av.VideoFrame, arrival_ns: int) -> None:
        captured_at_ns = self.dated(frame, arrival_ns)
        if frame.is_corrupt:
            self._hand_over_bad("parts of the picture were lost on the way", captured_at_ns)
            return
        self._put(Frame(pixels_of(frame), captured_at_ns, self._index))

    def _hand_over_bad(self, detail: str, captured_at_ns: int) -> None:
        self._put(BadFrame(self._index, "unreadable", detail, captured_at_ns))

    def _put(self, item: Frame | BadFrame) -> None:
        self._index += 1
        self._last_arrival_s = time.monotonic()
        self._mailbox.put(item)
