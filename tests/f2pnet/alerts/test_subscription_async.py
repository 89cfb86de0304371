"""Subscribers on asyncio, against a real Redis server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from f2pnet import subscribe_async
from pipeline.store.embedded.server import EmbeddedRedis

STREAM = "f2p:{demo}:alerts"
LIMIT_S = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as running:
        yield running


def raise_alert(server: EmbeddedRedis, frame: int) -> None:
    frame_id = f"cam1/r/{frame:06d}"
    data = json.dumps({"frame_id": frame_id, "camera_id": "cam1", "verdict": "NG"})
    fields = {"frame_id": frame_id, "camera_id": "cam1", "part_id": "", "verdict": "NG", "captured_at_ns": 1}
    with redis.Redis.from_url(server.url) as client:
        client.xadd(STREAM, {**fields, "data": data})


def test_the_event_loop_goes_on_while_alerts_are_waited_for(server: EmbeddedRedis) -> None:
    async def consumer() -> tuple[list[str], int]:
        turns, seen = 0, []

        async def other_work() -> None:
            nonlocal turns
            for frame in range(3):
                for _ in range(20):
                    await asyncio.sleep(0.005)
                    turns += 1
                await asyncio.to_thread(raise_alert, server, frame)

        async with subscribe_async(server.url, "demo", group="gate", since="0", block_ms=100) as alerts:
            work = asyncio.create_task(other_work())
            async for alert in alerts:
                seen.append(alert.frame_id)
                await alerts.ack(alert)
                if len(seen) == 3:
                    break
            await work
        return seen, turns

    seen, turns = asyncio.run(asyncio.wait_for(consumer(), LIMIT_S))
    assert seen == [f"cam1/r/{frame:06d}" for frame in range(3)]
    assert turns == 60
    with redis.Redis.from_url(server.url) as client:
        assert client.xpending(STREAM, "gate")["pending"] == 0


def test_a_read_that_is_given_up_loses_no_alert(server: EmbeddedRedis) -> None:
    async def consumer() -> list[str]:
        seen = []
        async with subscribe_async(server.url, "demo", since="0", block_ms=100) as alerts:
            assert await alerts.read(timeout_s=0.05) is None
            reading = asyncio.create_task(alerts.read())
            await asyncio.sleep(0.05)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            for frame in range(4):
                await asyncio.to_thread(raise_alert, server, frame)
            while (alert := await alerts.read(timeout_s=1)) is not None:
                seen.append(alert.frame_id)
        return seen

    seen = asyncio.run(asyncio.wait_for(consumer(), LIMIT_S))
    assert seen == [f"cam1/r/{frame:06d}" for frame in range(4)]
