"""Traces, received as a collector receives them: OTLP over HTTP."""

from __future__ import annotations

import base64
import gzip
import json
import socket

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.pipeline.harness import LineUnderTest
from tests.pipeline.sinks.receivers import Received, webhook_receiver

USER, PASSWORD, TOKEN = "collector", "eim9/geheim", "tok9en"
LOGIN = f"{USER}:{PASSWORD.replace('/', '%2F')}"
SECRETS = (PASSWORD, PASSWORD.replace("/", "%2F"), TOKEN, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())


def _trace_request(received: Received) -> ExportTraceServiceRequest:
    headers, body = received
    return ExportTraceServiceRequest.FromString(
        gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
    )


def test_each_alert_is_a_trace_whose_spans_add_up(line: LineUnderTest) -> None:
    with webhook_receiver(lambda number, body: 200) as (address, received):
        line.config["tracing"] = {"endpoint": address, "share": 0.000001}
        line.run()
    requests = map(_trace_request, received)
    spans = [
        s for r in requests for resource in r.resource_spans for scope in resource.scope_spans for s in scope.spans
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


@pytest.mark.parametrize("answers", [401, None], ids=["collector refuses the login", "no collector there"])
def test_a_collector_that_fails_is_logged_without_its_password(line: LineUnderTest, answers: int | None) -> None:
    """What the SDK logs of a failure repeats the address, and its exceptions do too."""
    with webhook_receiver(lambda number, body: answers or 200) as (address, received):
        if answers is None:
            with socket.create_server(("127.0.0.1", 0)) as unused:
                address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        endpoint = address.replace("://", f"://{LOGIN}@") + f"?token={TOKEN}"
        line.config["tracing"] = {"endpoint": endpoint, "share": 1.0}
        summary = line.run()

    assert "event=traces" in line.output  # the failure is told
    if answers is not None:
        (wanted,) = {headers["Authorization"] for headers, _ in received}
        assert base64.b64decode(wanted.removeprefix("Basic ")).decode() == f"{USER}:{PASSWORD}"
    shown = [line.output, json.dumps(summary), json.dumps(line.stored("results")), json.dumps(line.stored("alerts"))]
    assert not [secret for secret in SECRETS for text in shown if secret in text]
