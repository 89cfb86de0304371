"""What every sink is: it takes one alert, or says why it does not."""

from __future__ import annotations

from abc import ABC, abstractmethod

from f2pnet.alerts.subscription import Alert
from f2pnet.errors import F2pError


class SinkAway(F2pError):
    """The receiver can't be reached or has no time; the same alert is offered again for ever."""


class SinkRefused(F2pError):
    """The receiver is there and does not want this alert; after some tries it becomes a dead letter."""


class Sink(ABC):
    """Takes alerts one after another, from one thread. An alert may come twice: `frame_id` identifies it."""

    @abstractmethod
    def deliver(self, alert: Alert) -> None:
        """Return when the receiver has the alert. Raises SinkAway or SinkRefused, within the configured time."""

    @abstractmethod
    def probe(self) -> str:
        """See whether an alert could be delivered, without delivering one; what was found. Raises as `deliver`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the receiver."""
