"""What the processes of one worker did, added up over its restarts in bounded memory."""

from __future__ import annotations

from collections import Counter

import msgspec

from pipeline.wire.messages import Heartbeat
from pipeline.workers.latency import LatencyHistogram


def added_up(earlier: Heartbeat | None, last: Heartbeat) -> Heartbeat:
    """The state of `last`, with the counters and latencies of both."""
    if earlier is None:
        return last
    latency = {}
    for stage in {**earlier.latency, **last.latency}:
        histogram = LatencyHistogram()
        for heartbeat in (earlier, last):
            if stage in heartbeat.latency:
                histogram.add(heartbeat.latency[stage])
        latency[stage] = histogram.counts()
    counters = Counter(earlier.counters)
    counters.update(last.counters)
    return msgspec.structs.replace(last, counters=dict(counters), latency=latency)
