"""Each sink against a real receiver."""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from f2pnet.alerts.subscription import Alert
from f2pnet.config.sinks import JsonlSink, MqttSink, WebhookSink
from f2pnet.errors import ConfigError, MissingResource
from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.processes.holder import Holder
from pipeline.sinks import refuse_second_line
from pipeline.sinks.base import Sink, SinkAway, SinkRefused
from pipeline.sinks.jsonl import JsonlWriter
from pipeline.sinks.mqtt import MqttPublisher
from pipeline.sinks.webhook import Webhook
from tests.pipeline.sinks.receivers import Broker, certificate_for, webhook_receiver


def alert(number: int = 0, verdict: Verdict = Verdict.NG) -> Alert:
    frame_id = f"cam1/run/{number:06d}"
    data = InspectionResult(frame_id=frame_id, camera_id="cam1", verdict=verdict).to_json()
    return Alert(f"1-{number}", frame_id, "cam1", None, verdict, 17, data, lambda name: None)


def numbers_in(path: Path) -> list[int]:
    return [int(json.loads(line)["frame_id"].split("/")[2]) for line in path.read_text().splitlines()]


def offer_until_taken(sink: Sink, what: Alert, limit_s: float = 10.0) -> None:
    until_s = time.monotonic() + limit_s
    while True:
        try:
            return sink.deliver(what)
        except SinkAway:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def test_a_file_gets_a_line_for_each_alert_and_is_put_aside_when_large(tmp_path: Path) -> None:
    path = tmp_path / "logs/alerts.jsonl"
    writer = JsonlWriter(JsonlSink(name="file", path=path, max_mb=1))
    count = 2**20 // len(alert().data) + 40
    for number in range(count):
        writer.deliver(alert(number))
    writer.close()
    (aside,) = path.parent.glob("alerts.jsonl.*Z")
    assert numbers_in(aside) + numbers_in(path) == list(range(count))


def test_half_a_line_of_a_crash_does_not_spoil_the_next_alert(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"frame_id": "cam1/run/0000')
    writer = JsonlWriter(JsonlSink(name="file", path=path))
    writer.deliver(alert(3))
    writer.close()
    assert json.loads(path.read_text().splitlines()[1])["frame_id"] == "cam1/run/000003"


def test_a_file_that_can_not_be_written_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SinkAway, match="file"):
        JsonlWriter(JsonlSink(name="file", path=tmp_path / "file" / "alerts.jsonl")).deliver(alert())


def test_a_webhook_is_signed_over_time_and_body(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a secret of the plant\n")
    with webhook_receiver(lambda number, body: 204) as (url, received):
        sink = Webhook(WebhookSink(name="mes", url=url, secret_file=tmp_path / "key"), "line3")
        sink.deliver(alert(5))
    ((headers, body),) = received
    assert body == alert(5).data
    signed = f"{headers['X-F2p-Timestamp']}.".encode() + body
    assert headers["X-F2p-Signature"] == "sha256=" + hmac.digest(b"a secret of the plant", signed, "sha256").hex()
    assert abs(int(headers["X-F2p-Timestamp"]) - time.time()) < 10
    assert (headers["X-F2p-Delivery"], headers["X-F2p-Line"]) == ("1-5", "line3")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, SinkRefused), (404, SinkRefused), (302, SinkRefused), (429, SinkAway), (500, SinkAway), (503, SinkAway)],
)
def test_what_a_webhook_answers_decides_whether_to_wait_or_to_give_up(status: int, error: type[Exception]) -> None:
    with webhook_receiver(lambda number, body: status) as (url, _), pytest.raises(error, match=str(status)):
        Webhook(WebhookSink(name="mes", url=f"{url}?token=hidden"), "line3").deliver(alert())


def test_a_webhook_that_is_not_there_is_away_and_its_secrets_stay_secret() -> None:
    sink = Webhook(WebhookSink(name="mes", url="http://user:geheim@127.0.0.1:9/x?key=hidden", timeout_s=1), "line3")
    with pytest.raises(SinkAway) as error:
        sink.deliver(alert())
    assert "geheim" not in str(error.value)
    assert "hidden" not in str(error.value)
    assert "geheim" not in repr(WebhookSink(name="mes", url="http://user:geheim@127.0.0.1:9/x"))


def test_user_and_password_of_the_address_are_basic_authentication() -> None:
    with webhook_receiver(lambda number, body: 204) as (url, received):
        address = url.replace("://", "://line%40plant:p%2Fa%3Ass@")
        Webhook(WebhookSink(name="mes", url=f"{address}?token=t"), "line3").deliver(alert())
    ((headers, _),) = received
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"line@plant:p/a:ss").decode()
    assert headers["Host"] == url.split("/")[2]


def test_without_a_user_there_is_no_authentication() -> None:
    with webhook_receiver(lambda number, body: 204) as (url, received):
        Webhook(WebhookSink(name="mes", url=url), "line3").deliver(alert())
    assert received[0][0]["Authorization"] is None


def test_a_webhook_trusts_the_authority_that_it_is_given_and_no_other(tmp_path: Path) -> None:
    authority, context = certificate_for("127.0.0.1", tmp_path)
    with webhook_receiver(lambda number, body: 204, tls=context) as (url, received):
        Webhook(WebhookSink(name="mes", url=url, ca_file=authority), "line3").deliver(alert())
        with pytest.raises(SinkAway, match="certificate verify failed"):
            Webhook(WebhookSink(name="mes", url=url), "line3").deliver(alert())
    assert len(received) == 1


def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    for name in ("ca.pem", "nowhere.pem"):
        with pytest.raises(MissingResource, match=rf"sink mes: ca_file .*{name}"):
            Webhook(WebhookSink(name="mes", url="https://h/x", ca_file=tmp_path / name), "line3")
    with pytest.raises(ValueError, match="ca_file is for https"):
        WebhookSink(name="mes", url="http://h/x", ca_file=tmp_path / "ca.pem")


def test_what_a_server_answers_is_shown_without_secrets_and_escapes() -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(400, f"bad {self.path} \x1b[31m{self.headers['Authorization']}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """A test has its own say."""

    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://me:geheim@127.0.0.1:{server.server_port}/hook/t0ken?key=hidden"
        with pytest.raises(SinkRefused) as error:
            Webhook(WebhookSink(name="mes", url=url), "line3").deliver(alert())
    told = str(error.value)
    assert not {"geheim", "t0ken", "hidden"} & set(re.split(r"[\s/=?]", told))
    assert "\x1b" not in told
    assert base64.b64encode(b"me:geheim").decode() not in told


@pytest.mark.parametrize(("status", "error"), [(204, None), (405, None), (401, SinkRefused), (403, SinkRefused)])
def test_a_probe_of_a_webhook_sends_no_alert(status: int, error: type[Exception] | None) -> None:
    with webhook_receiver(lambda number, body: status) as (url, received):
        sink = Webhook(WebhookSink(name="mes", url=url), "line3")
        if error is None:
            assert url.rpartition("/")[0] in sink.probe()
        else:
            with pytest.raises(error, match=str(status)):
                sink.probe()
    assert received == []
    with pytest.raises(SinkAway, match="can't be reached"):
        Webhook(WebhookSink(name="mes", url="http://127.0.0.1:9/x", timeout_s=1), "line3").probe()


def test_a_probe_of_a_file_leaves_nothing(tmp_path: Path) -> None:
    writer = JsonlWriter(JsonlSink(name="file", path=tmp_path / "logs" / "alerts.jsonl"))
    assert "can be written" in writer.probe()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(ConfigError, match="can't be written"):
        writer.probe()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    running = Broker(tmp_path)
    running.start()
    yield running
    running.stop()


def retained_holder(broker: Broker, holder: Holder, available: bytes = b"online") -> None:
    """As a line on another host has left it."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for topic, payload in (("holder", holder.to_json()), ("available", available)):
        client.publish(f"f2p/line3/{topic}", payload, qos=1, retain=True).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


OTHER_HOST = Holder(host="press-2", boot_id="another", pid_namespace="x", pid=7, start_ticks=1, since="2026-11-26")


def test_a_second_line_of_one_name_is_refused_by_the_broker_s_word(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sinks.mqtt_holder.CUT_OFF_S", 0.5)
    config = MqttSink(name="plant", host="127.0.0.1", port=broker.port, timeout_s=2)
    refuse_second_line(config, "line3")  # nobody is there
    retained_holder(broker, OTHER_HOST)

    with pytest.raises(ConfigError, match=r"line 'line3' publishes already .*host press-2, pid 7"):
        refuse_second_line(config, "line3")
    with pytest.raises(SinkAway, match="press-2"):
        MqttPublisher(config, "line3").deliver(alert())
    assert "press-2" in MqttPublisher(config, "line3").probe()
    refuse_second_line(config, "line4")
    refuse_second_line(config.model_copy(update={"topic": "other"}), "line3")


def test_a_line_that_is_gone_stands_in_nobody_s_way(broker: Broker) -> None:
    config = MqttSink(name="plant", host="127.0.0.1", port=broker.port, timeout_s=2)
    retained_holder(broker, OTHER_HOST, available=b"offline")
    refuse_second_line(config, "line3")
    dead = msgspec.structs.replace(Holder.of_parent(), start_ticks=1)  # this host, but a process that is gone
    retained_holder(broker, dead)
    refuse_second_line(config, "line3")

    sink = MqttPublisher(config, "line3")
    sink.deliver(alert())
    refuse_second_line(config, "line3")  # it is we ourselves
    sink.close()
    refuse_second_line(config.model_copy(update={"port": 9}), "line3")  # alerts wait for a broker that is away


def test_mqtt_delivers_through_a_restart_of_the_broker_and_tells_who_is_there(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    heard: list[tuple[str, bytes]] = []
    listener = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="plant", clean_session=False)
    listener.on_connect = lambda client, *_: client.subscribe("f2p/#", qos=1)
    listener.on_message = lambda client, userdata, message: heard.append((message.topic, message.payload))
    listener.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]  # seconds; fractions work
    listener.connect("127.0.0.1", broker.port)
    listener.loop_start()
    sink = MqttPublisher(MqttSink(name="plant", host="127.0.0.1", port=broker.port, timeout_s=2), "line3")
    try:
        sink.deliver(alert(1))
        broker.stop()
        with pytest.raises(SinkAway, match="mqtt://"):
            sink.deliver(alert(2))
        broker.start()
        _await(listener.is_connected)
        time.sleep(0.3)  # its subscription is sent with the connection
        offer_until_taken(sink, alert(2))
        sink.close()
        _await(lambda: heard[-1:] == [("f2p/line3/available", b"offline")])
    finally:
        sink.close()
        listener.disconnect()
        listener.loop_stop()
        broker.stop()
    alerts = [(topic, payload) for topic, payload in heard if topic.endswith("/NG")]
    assert alerts == [("f2p/line3/cam1/NG", alert(1).data), ("f2p/line3/cam1/NG", alert(2).data)]
    assert ("f2p/line3/available", b"online") in heard


def test_a_password_does_not_travel_in_the_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tls"):
        MqttSink(name="plant", host="192.0.2.7", user="line", password_file=tmp_path / "key")


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"sink mes: .*key"):
        Webhook(WebhookSink(name="mes", url="http://h/x", secret_file=tmp_path / "key"), "line3")
    with pytest.raises(ValueError, match="wanted an address"):
        WebhookSink(name="mes", url="ftp://h/x")


def _await(condition: object, limit_s: float = 10.0) -> None:
    until_s = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s, "not within the time"
        time.sleep(0.02)
