"""Alerts over MQTT 3.1.1, QoS 1."""

from __future__ import annotations

from f2pnet.alerts.subscription import Alert
from f2pnet.config.sinks import MqttSink
from pipeline.processes.holder import Holder
from pipeline.sinks.base import Sink, SinkAway
from pipeline.sinks.mqtt_connection import Client, Topics, connect, disconnect, new_client
from pipeline.sinks.mqtt_holder import ONLINE, other_publisher

OFFLINE = b"offline"


class MqttPublisher(Sink):
    """Connects when first used and again after a failure. The broker says `offline` for us when we die."""

    def __init__(self, config: MqttSink, line: str) -> None:
        self._config = config
        self._line = line
        self._address = f"mqtt://{config.host}:{config.port}"
        self._password = config.read_password()
        self._topics = Topics.of(config, line)
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

    def probe(self) -> str:
        try:
            other = other_publisher(self._config, self._line)
        except (OSError, ValueError, RuntimeError) as error:
            raise SinkAway(f"{self._address}: {error}") from error
        described = "" if other is None else f"; a line of this name publishes there now ({other})"
        return f"{self._address} lets us in{described}"

    def close(self) -> None:
        """Say goodbye, as far as the broker listens."""
        if self._client is not None and self._client.is_connected():
            self._client.publish(self._topics.available, OFFLINE, qos=1, retain=True).wait_for_publish(1.0)
        self._drop()

    def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self._drop()
        config = self._config
        if (other := other_publisher(config, self._line)) is not None:
            # With the same client id we would throw each other out for ever.
            raise OSError(f"another line '{self._line}' publishes there ({other}): give one of them another name")
        client = new_client(f"f2p-{self._line}-{config.name}")
        client.will_set(self._topics.available, OFFLINE, qos=1, retain=True)
        self._client = client
        connect(client, config, self._password)
        client.publish(self._topics.holder, Holder.of_parent().to_json(), qos=1, retain=True)
        client.publish(self._topics.available, ONLINE, qos=1, retain=True)
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            disconnect(client)
