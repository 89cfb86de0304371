"""RTSP network cameras."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import cast

import av
from av.stream import Stream
from av.video.stream import VideoStream

from f2pnet.config.sources import RtspSource
from pipeline.sources.base import Opening
from pipeline.sources.streams.stream import Messages, Received
from pipeline.sources.streams.timed_stream import TimedStreamReader

# Little is read ahead to learn what the stream is: it says so itself. (FFmpeg's `nobuffer` would throw away what was
# read ahead, and with it the first keyframe.)
LOW_LATENCY = {"flags": "low_delay", "probesize": "200000", "analyzeduration": "500000"}
# Over TCP packets come in order, and FFmpeg looks for gaps in their numbers only where it has a queue to sort them.
IN_ORDER = {"reorder_queue_size": "2"}
_MISSED = re.compile(r"RTP: missed (\d+) packets")


class RtspReader(TimedStreamReader):
    """One camera over RTSP, H.264 or H.265. A gap in the numbers or times of its packets is a lost picture."""

    def __init__(self, config: RtspSource, opening: Opening) -> None:
        self._times = TimeGaps()
        super().__init__(
            config.url.get_secret_value(),
            timeout_s=config.timeout_s,
            opening=opening,
            options={
                **LOW_LATENCY,
                **(IN_ORDER if config.transport == "tcp" else {}),
                "rtsp_transport": config.transport,
            },
        )

    def pictures(self, packet: av.Packet[Stream], arrival_ns: int, messages: Messages) -> Iterator[Received]:
        missed = sum(int(found[1]) for _, _, text in messages if (found := _MISSED.search(text)))
        lost = f"{missed} packets were lost on the way" if missed else None
        stamp = packet.dts if packet.dts is not None else packet.pts
        gap = None if stamp is None else self._times.gap_before(float(stamp * packet.time_base))
        if gap is not None and lost is None:
            if packet.is_keyframe:  # it needs nothing from before
                yield Received(None, arrival_ns, gap)
            else:
                lost = gap
        for picture in self._decoder.decode(cast("av.Packet[VideoStream]", packet), lost):
            yield self._received(picture, arrival_ns)


class TimeGaps:
    """Notices a stream whose times leap: further than 1.5 times the longest of the last `KEPT` steps, or back.

    So a camera with an uneven rate sets its own measure, and one that turns to a slower rate is reported once.
    """

    KEPT, NEEDED = 32, 8

    def __init__(self) -> None:
        self._steps_s: deque[float] = deque(maxlen=self.KEPT)
        self._last_s: float | None = None

    def gap_before(self, time_s: float) -> str | None:
        """What is wrong with the step to a packet of `time_s`; None: nothing."""
        last_s, self._last_s = self._last_s, time_s
        if last_s is None:
            return None
        step_s = time_s - last_s
        if step_s < 0:
            self._steps_s.clear()
            return f"the stream's time goes back by {-step_s:.3g} s"
        usual_s = max(self._steps_s) if len(self._steps_s) >= self.NEEDED else None
        self._steps_s.append(step_s)
        if usual_s is None or step_s <= 1.5 * usual_s:
            return None
        return f"the stream's time leaps by {step_s:.3g} s where {usual_s:.3g} s are usual: pictures were lost"
