"""Traces of frames for OpenTelemetry: what the timings of a result say, as spans.

Nothing here may hold up a verdict: spans are sent by a thread of the SDK from a queue that drops when it is full.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from f2pnet.address import Address, without
from f2pnet.config.tracing import TracingConfig
from f2pnet.inspection.result import InspectionResult, Verdict

QUEUE = 2_048
SEND_EVERY_MS = 1_000
EXPORT_S = 5.0
STAGES = ("queued", "engine", "postprocess", "stored")
MS = 1_000_000  # ns
_log = structlog.get_logger(__name__)


class _WithoutSecrets(logging.Handler):
    """What the SDK logs, as lines of our own log: its texts repeat the collector's address."""

    def __init__(self, address: Address) -> None:
        super().__init__(logging.WARNING)
        self._address = address

    def emit(self, record: logging.LogRecord) -> None:
        """One line, without the traceback, whose exceptions repeat the address too."""
        text = without(self._address.secrets, record.getMessage())
        _log.warning("traces", collector=str(self._address), text=text)


class FrameTraces:
    """Call it with each result that was stored."""

    def __init__(self, config: TracingConfig, line: str) -> None:
        self._share = config.share
        resource = Resource.create({"service.name": "f2pnet", "f2p.line": line})
        self._provider = TracerProvider(resource=resource)
        address = config.address
        sdk_log = logging.getLogger("opentelemetry")
        sdk_log.handlers, sdk_log.propagate = [_WithoutSecrets(address)], False
        login = address.basic_auth
        exporter = OTLPSpanExporter(
            endpoint=address.without_login,
            headers=None if login is None else {"Authorization": login},
            timeout=int(EXPORT_S),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE, schedule_delay_millis=SEND_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("f2pnet")

    def __call__(self, result: InspectionResult) -> None:
        if result.verdict is Verdict.OK and random.random() >= self._share:
            return
        end_ns = time.time_ns()
        start_ns = end_ns - round((result.timings_ms.total or 0.0) * MS)
        facts = {
            "f2p.frame_id": result.frame_id or "",
            "f2p.camera": result.camera_id or "",
            "f2p.verdict": result.verdict.value,
            "f2p.reason": result.reason or "",
        }
        frame = self._tracer.start_span("frame", start_time=start_ns, attributes=facts)
        inside = trace.set_span_in_context(frame)
        for name, begin_ns, finish_ns in _stages(result, start_ns):
            self._tracer.start_span(name, context=inside, start_time=begin_ns).end(finish_ns)
        frame.end(end_ns)

    def close(self) -> None:
        """Send what waits, within a few seconds."""
        self._provider.shutdown()


def _stages(result: InspectionResult, start_ns: int) -> Iterator[tuple[str, int, int]]:
    """(name, begin, end) in UTC ns: the stages follow one another."""
    at_ns = start_ns
    for name in STAGES:
        took_ms = getattr(result.timings_ms, name)
        if took_ms is not None:
            yield name, at_ns, at_ns + round(took_ms * MS)
            at_ns += round(took_ms * MS)
