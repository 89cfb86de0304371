"""Who publishes a line's alerts to a broker: a retained topic beside the one that says whether the line is there.

The broker says `offline` for a publisher that died: at once where its connection broke, and after one and a half
keep-alive times where its host was cut off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from f2pnet.config.sinks import MqttSink
from f2pnet.errors import ConfigError, MissingResource
from pipeline.processes.holder import Holder
from pipeline.sinks.mqtt_connection import KEEP_ALIVE_S, Client, MQTTMessage, Topics, connect, disconnect, new_client

ONLINE = b"online"
RETAINED_S = 0.5  # after the broker's answer to the subscription, retained messages come at once
CUT_OFF_S = 1.5 * KEEP_ALIVE_S + 1.0
LOOK_S = 0.1
START_TIMEOUT_S = 3.0


def refuse_second_publisher(config: MqttSink, line: str) -> None:
    """Raise ConfigError where another line of this name publishes below the sink's topic.

    Waits for at most `CUT_OFF_S` for the broker to say that a publisher on another host is gone. A broker that can't be
    reached is no reason to refuse.
    """
    quick = config.model_copy(update={"timeout_s": min(config.timeout_s, START_TIMEOUT_S)})
    try:
        other = other_publisher(quick, line, wait_s=CUT_OFF_S)
    except (OSError, ValueError, RuntimeError, MissingResource):
        return
    if other is not None:
        raise ConfigError(
            f"line '{line}' publishes already to mqtt://{config.host}:{config.port}, topic {config.topic} ({other}): "
            "stop it there, or give this line or topic another name"
        )


def other_publisher(config: MqttSink, line: str, wait_s: float = 0.0) -> Holder | None:
    """The living line that publishes there and is not this one.

    Where it can't be seen from here whether it lives, the broker has `wait_s` to say that it is offline.
    Raises OSError, ValueError or RuntimeError as paho does.
    """
    topics, seen, subscribed = Topics.of(config, line), dict[str, bytes](), threading.Event()
    client = new_client("")

    def heard(client: Client, userdata: object, message: MQTTMessage) -> None:
        seen[message.topic] = bytes(message.payload)

    client.on_message = heard
    client.on_subscribe = lambda *_: subscribed.set()
    try:
        connect(client, config, config.read_password())
        client.subscribe([(topic, 1) for topic in topics])
        if not subscribed.wait(config.timeout_s):
            raise OSError("the broker does not answer")
        _wait_until(lambda: len(seen) == len(topics), RETAINED_S)
        holder = Holder.from_json(seen.get(topics.holder, b""))
        if holder is None or holder.is_same_process(Holder.of_parent()) or holder.is_gone is True:
            return None
        if holder.is_gone is None:
            _wait_until(lambda: seen.get(topics.available) != ONLINE, wait_s)
        return holder if seen.get(topics.available) == ONLINE else None
    finally:
        disconnect(client)


def _wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    until_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until_s:
        time.sleep(LOOK_S)
