"""Connections to an MQTT broker, for the sink and for a look at what stands there."""

from __future__ import annotations

import threading
from typing import NamedTuple

from f2pnet.config.sinks import MqttSink
from f2pnet.errors import MissingResource
from f2pnet.text import printable

try:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
except ImportError as error:  # the extra is optional
    raise MissingResource("MQTT needs the package paho-mqtt: pip install 'f2pnet[mqtt]'") from error

KEEP_ALIVE_S = 10
__all__ = ["KEEP_ALIVE_S", "Client", "MQTTMessage", "Topics", "connect", "disconnect", "new_client"]


class Topics(NamedTuple):
    """Retained topics of a line below `topic` of the sink."""

    available: str
    holder: str

    @classmethod
    def of(cls, config: MqttSink, line: str) -> Topics:
        return cls(f"{config.topic}/{line}/available", f"{config.topic}/{line}/holder")


def connect(client: Client, config: MqttSink, password: str | None) -> None:
    """Connect within `config.timeout_s` and start the client's thread. Raises OSError, also for a refused login."""
    client.connect_timeout = config.timeout_s
    if config.user is not None:
        client.username_pw_set(config.user, password)
    if config.tls:
        client.tls_set(ca_certs=None if config.ca_file is None else str(config.ca_file))
    answered, reasons = threading.Event(), []

    def heard(client: Client, userdata: object, flags: object, reason: object, properties: object) -> None:
        if getattr(reason, "is_failure", False):
            reasons.append(str(reason))
        answered.set()

    client.on_connect = heard
    client.connect(config.host, config.port, KEEP_ALIVE_S)
    if client.loop_start() != MQTTErrorCode.MQTT_ERR_SUCCESS or not answered.wait(config.timeout_s):
        raise OSError("the broker does not answer")
    if reasons:
        raise OSError(f"the broker does not let us in: {printable(reasons[0])}")


def new_client(client_id: str) -> Client:
    """A client that is not connected yet; an empty id has the broker make one."""
    return Client(CallbackAPIVersion.VERSION2, client_id=client_id)


def disconnect(client: Client) -> None:
    client.disconnect()
    client.loop_stop()
