"""Traces, received as a collector receives them: OTLP over HTTP."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.pipeline.harness import LineUnderTest


def test_each_alert_is_a_trace_whose_spans_add_up(line: LineUnderTest) -> None:
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """A test has its own say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        line.config["tracing"] = {"endpoint": f"http://127.0.0.1:{server.server_port}/v1/traces", "share": 0.000001}
        line.run()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    spans = [
        s for r in received for resource in r.resource_spans for scope in resource.scope_spans for s in scope.spans
    ]
    frames = {span.trace_id: span for span in spans if span.name == "frame"}
    told = {a.value.string_value for span in frames.values() for a in span.attributes if a.key == "f2p.frame_id"}
    assert told == {entry["frame_id"] for entry in line.stored("alerts")}
    for trace_id, frame in frames.items():
        stages = [span for span in spans if span.trace_id == trace_id and span.name != "frame"]
        assert {span.name for span in stages} == {"queued", "engine", "postprocess", "stored"}
        assert all(span.parent_span_id == frame.span_id for span in stages)
        total_ns = frame.end_time_unix_nano - frame.start_time_unix_nano
        assert 0 < sum(s.end_time_unix_nano - s.start_time_unix_nano for s in stages) <= total_ns * 1.2
