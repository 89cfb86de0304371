"""Alerts for programs on asyncio: the subscription of `subscription.py`, read by a thread beside the event loop.

async with subscribe_async("line3.yaml", group="reject-gate") as alerts:
    async for alert in alerts:
        await open_gate(alert.part_id)
        await alerts.ack(alert)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from f2pnet.alerts.subscription import Alert, Subscription, subscribe

CLOSE_S = 10.0  # no wait is without limit, not even for a thread whose own waits are limited


class AsyncSubscription:
    """As `Subscription`; for one task at a time. A cancelled `read` loses nothing: the next one gets the alert."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._reading: asyncio.Future[Alert | None] | None = None

    async def read(self, timeout_s: float | None = None) -> Alert | None:
        """The next alert; None when none came within `timeout_s` seconds (None: no limit) or after `close`.

        Raises StoreRefused when Redis does not let us in; waits while it is away.
        """
        if self._reading is None:
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._subscription.read))
        done, _ = await asyncio.wait([self._reading], timeout=timeout_s)
        if not done:
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    async def ack(self, alert: Alert) -> None:
        """Done: do not deliver it to this group again."""
        await asyncio.to_thread(alert.ack)

    async def __aiter__(self) -> AsyncIterator[Alert]:
        while (alert := await self.read()) is not None:
            yield alert

    async def close(self) -> None:
        """End the subscription; a `read` under way ends within `block_ms`, or is left behind after `CLOSE_S`."""
        self._subscription.close()
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=CLOSE_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def subscribe_async(
    url: str | Path,
    line: str | None = None,
    group: str | None = None,
    consumer: str | None = None,
    since: str | datetime | None = None,
    camera: str | None = None,
    block_ms: int = 1000,
    reclaim_idle_ms: int = 30_000,
    max_deliveries: int | None = None,
) -> AsyncSubscription:
    """As `subscribe`, with the same options and errors, for `async for`."""
    return AsyncSubscription(
        subscribe(
            url,
            line,
            group,
            consumer,
            since,
            camera,
            block_ms=block_ms,
            reclaim_idle_ms=reclaim_idle_ms,
            max_deliveries=max_deliveries,
        )
    )
