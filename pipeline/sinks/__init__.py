"""Sinks: how alerts reach other systems. `open_sink` opens the one that a configuration asks for."""

from __future__ import annotations

from f2pnet.config.sinks import JsonlSink, SinkConfig, WebhookSink
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
