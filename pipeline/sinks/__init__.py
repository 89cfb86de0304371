"""Sinks: how alerts reach other systems. `open_sink` opens the one that a configuration asks for."""

from __future__ import annotations

from f2pnet.config.sinks import JsonlSink, MqttSink, SinkConfig, WebhookSink
from pipeline.sinks.base import Sink


def open_sink(config: SinkConfig, line: str) -> Sink:
    """Raises MissingResource where a secret's file or an optional package is absent."""
    if isinstance(config, JsonlSink):
        from pipeline.sinks.jsonl import JsonlWriter

        return JsonlWriter(config)
    if isinstance(config, WebhookSink):
        from pipeline.sinks.webhook import Webhook

        return Webhook(config, line)
    from pipeline.sinks.mqtt import MqttPublisher

    return MqttPublisher(config, line)


def probe_sink(config: SinkConfig, line: str) -> str:
    """Whether the sink could deliver alerts now. Raises F2pError where it could not."""
    sink = open_sink(config, line)
    try:
        return sink.probe()
    finally:
        sink.close()


def refuse_second_line(config: SinkConfig, line: str) -> None:
    """Raise ConfigError where another line of this name publishes to the same place of a broker.

    A broker that can't be reached is no reason not to start: alerts wait for it.
    """
    if isinstance(config, MqttSink):
        from pipeline.sinks.mqtt_holder import refuse_second_publisher

        refuse_second_publisher(config, line)
