"""Alerts over MQTT 3.1.1, QoS 1."""

from __future__ import annotations

import threading

from f2pnet.alerts import Alert
from f2pnet.config.sinks import MqttSink
from f2pnet.errors import MissingResource
from pipeline.sinks.base import Sink, SinkAway

try:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
except ImportError as error:  # the extra is optional
    raise MissingResource("MQTT needs the package paho-mqtt: pip install 'f2pnet[mqtt]'") from error

KEEP_ALIVE_S = 10
AVAILABLE, GONE = b"online", b"offline"


class MqttPublisher(Sink):
    """Connects when first used and again after a failure. The broker says `offline` for us when we die."""

    def __init__(self, config: MqttSink, line: str) -> None:
        self._config = config
        self._line = line
        self._address = f"mqtt://{config.host}:{config.port}"
        self._password = config.read_password()
        self._client: Client | None = None

    def deliver(self, alert: Alert) -> None:
        topic = f"{self._config.topic}/{self._line}/{alert.camera_id or 'line'}/{alert.verdict.value}"
        try:
            sent = self._connected().publish(topic, alert.data, qos=1)
            sent.wait_for_publish(self._config.timeout_s)
            done = sent.is_published()
        except (OSError, ValueError, RuntimeError) as error:
            self._drop()
            raise SinkAway(f"{self._address}: {error}") from error
        if not done:
            self._drop()
            raise SinkAway(f"{self._address} did not acknowledge within {self._config.timeout_s:.0f} s")

    def close(self) -> None:
        """Say goodbye, as far as the broker listens."""
        if self._client is not None and self._client.is_connected():
            self._client.publish(self._available, GONE, qos=1, retain=True).wait_for_publish(1.0)
        self._drop()

    @property
    def _available(self) -> str:
        return f"{self._config.topic}/{self._line}/available"

    def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self._drop()
        config = self._config
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"f2p-{self._line}-{config.name}")
        client.connect_timeout = config.timeout_s
        client.will_set(self._available, GONE, qos=1, retain=True)
        if config.user is not None:
            client.username_pw_set(config.user, self._password)
        if config.tls:
            client.tls_set(ca_certs=None if config.ca_file is None else str(config.ca_file))
        answered, reasons = threading.Event(), []

        def heard(client: Client, userdata: object, flags: object, reason: object, properties: object) -> None:
            if getattr(reason, "is_failure", False):
                reasons.append(str(reason))
            answered.set()

        client.on_connect = heard
        client.connect(config.host, config.port, KEEP_ALIVE_S)
        self._client = client
        if client.loop_start() != MQTTErrorCode.MQTT_ERR_SUCCESS or not answered.wait(config.timeout_s):
            raise OSError("the broker does not answer")
        if reasons:
            raise OSError(f"the broker does not let us in: {reasons[0]}")
        client.publish(self._available, AVAILABLE, qos=1, retain=True)
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
