"""The sink worker: carries alerts from the store to one receiver, in order, each until the receiver has it.

Its place in the stream is a consumer group of its own, so that a slow or absent receiver delays nobody else and misses
nothing. An alert that the receiver refuses `tries` times becomes a dead letter: kept, counted, never silently gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import structlog

from f2pnet.alerts.dead_letters import dead_letter
from f2pnet.alerts.subscription import Alert, subscribe
from f2pnet.backoff import Backoff
from f2pnet.config.sinks import SinkConfig
from f2pnet.errors import StoreAway
from f2pnet.redis.link import RedisLink
from pipeline.sinks import open_sink
from pipeline.sinks.base import SinkAway, SinkRefused
from pipeline.wire.messages import Heartbeat
from pipeline.workers.worker import Role, Worker

READ_S = 0.2
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 30.0
_log = structlog.get_logger(__name__)


class SinkWorker(Worker):
    """Delivers the alerts of `line` in the store that `store_url` names at start."""

    role: Role = "sink"

    def __init__(self, name: str, line: str, config: SinkConfig, store_url: Callable[[], str]) -> None:
        super().__init__(name)
        self._line = line
        self._config = config
        self._store_url = store_url
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._alert: Alert | None = None  # in hand: neither delivered nor given up
        self._refusals = 0
        self._try_at_s = 0.0
        self._counters = {"delivered": 0, "dead_letters": 0, "retries": 0}

    def set_up(self) -> None:
        url = self._store_url()
        self._sink = open_sink(self._config, self._line)
        self._dead_letters = RedisLink(url)
        self._alerts = subscribe(
            url, self._line, group=f"sink-{self._config.name}", consumer="sink", block_ms=int(READ_S * 1000)
        )

    def step(self) -> bool:
        self._turn()
        return True

    def drain(self) -> bool:
        """What is in the store, as far as the receiver takes it; the rest is carried by the next run."""
        self._turn()
        return self._alert is not None and self.state != "waiting"

    def tear_down(self) -> None:
        self._sink.close()
        self._alerts.close()
        self._dead_letters.close()

    def heartbeat(self) -> Heartbeat:
        """It may be silent while the receiver takes its time."""
        beat = super().heartbeat()
        return msgspec.structs.replace(beat, counters=dict(self._counters), step_ms=self._config.timeout_s * 1e3)

    def _turn(self) -> None:
        if self._alert is None:
            self._alert = self._alerts.read(timeout_s=READ_S)
        elif time.monotonic() < self._try_at_s:
            time.sleep(min(READ_S, self._try_at_s - time.monotonic()))
            return
        if self._alert is not None:
            self._offer(self._alert)

    def _offer(self, alert: Alert) -> None:
        try:
            self._sink.deliver(alert)
        except SinkRefused as error:
            self._refusals += 1
            if self._refusals >= self._config.tries:
                self._bury(alert, error)
            else:
                self._later(error)
        except SinkAway as error:
            self._later(error)
        else:
            self._counters["delivered"] += 1
            self._done(alert)

    def _later(self, error: SinkAway | SinkRefused) -> None:
        if self.state != "waiting":
            _log.warning("alert waits for its receiver", sink=self._config.name, reason=str(error))
        self.state, self.detail = "waiting", str(error)
        self._counters["retries"] += 1
        self._try_at_s = time.monotonic() + self._backoff.next_delay()

    def _bury(self, alert: Alert, error: SinkRefused) -> None:
        """First kept, then acknowledged: a death in between keeps it twice, never not at all."""
        letter = dead_letter(
            self._line,
            self._config.name,
            alert_id=alert.id,
            frame_id=alert.frame_id,
            data=alert.data,
            reason=str(error),
            tries=self._refusals,
        )
        try:
            self._dead_letters.exchange(letter)
        except StoreAway as away:
            self._later(SinkRefused(f"{error}; and the store is away: {away}"))
            return
        _log.error("dead letter", sink=self._config.name, frame_id=alert.frame_id, reason=str(error))
        self._counters["dead_letters"] += 1
        self._done(alert)

    def _done(self, alert: Alert) -> None:
        alert.ack()
        self._alert, self._refusals, self.progress = None, 0, self.progress + 1
        self._backoff.reset()
        if self.state == "waiting":
            self.state, self.detail = "running", None
