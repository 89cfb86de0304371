"""Groups that trimming overtakes, on a real server; streams are made by redis-py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from f2pnet.redis.link import RedisLink
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.lagging_groups import LaggingGroup, lagging_groups

STREAM = "f2p:{demo}:alerts"
KEPT = 100


@pytest.fixture
def link(server: EmbeddedRedis) -> Iterator[RedisLink]:
    link = RedisLink(server.url)
    yield link
    link.close()


def fill(reader: redis.Redis, ms: range) -> None:
    for at in ms:
        reader.xadd(STREAM, {"data": "{}"}, id=f"{at}-0")


def read(reader: redis.Redis, group: str, count: int, *, ack: bool) -> None:
    ((_, entries),) = reader.xreadgroup(group, "one", {STREAM: ">"}, count=count)
    assert len(entries) == count
    if ack:
        reader.xack(STREAM, group, *(name for name, _ in entries))


def test_no_stream_and_no_group_are_no_trouble(link: RedisLink, reader: redis.Redis) -> None:
    assert lagging_groups(link, STREAM, KEPT, trimmed=False) == []
    fill(reader, range(1, 101))
    assert lagging_groups(link, STREAM, KEPT, trimmed=False) == []


def test_a_group_in_the_oldest_part_is_told_and_one_that_keeps_up_is_not(link: RedisLink, reader: redis.Redis) -> None:
    fill(reader, range(1, 91))
    for group in ("asleep", "slow", "quick", "through"):
        reader.xgroup_create(STREAM, group, id="0")
    read(reader, "slow", 10, ack=True)
    read(reader, "quick", 40, ack=True)
    read(reader, "through", 90, ack=True)
    assert lagging_groups(link, STREAM, KEPT, trimmed=False) == [
        LaggingGroup("asleep", 0, False),
        LaggingGroup("slow", 10, False),
    ]


def test_what_was_read_and_never_acknowledged_counts_as_unfinished(link: RedisLink, reader: redis.Redis) -> None:
    fill(reader, range(1, 91))
    reader.xgroup_create(STREAM, "forgetful", id="0")
    read(reader, "forgetful", 5, ack=True)
    read(reader, "forgetful", 85, ack=False)
    assert lagging_groups(link, STREAM, KEPT, trimmed=False) == [LaggingGroup("forgetful", 6, False)]


def test_nobody_is_at_risk_while_the_stream_has_room(link: RedisLink, reader: redis.Redis) -> None:
    fill(reader, range(1, 80))
    reader.xgroup_create(STREAM, "asleep", id="0")
    assert lagging_groups(link, STREAM, KEPT, trimmed=False) == []


def test_a_group_that_was_overtaken_is_told(link: RedisLink, reader: redis.Redis) -> None:
    fill(reader, range(1, 51))
    for group in ("unread", "unacknowledged", "through"):
        reader.xgroup_create(STREAM, group, id="0")
    read(reader, "unread", 20, ack=True)
    read(reader, "unacknowledged", 50, ack=False)
    fill(reader, range(51, 151))
    read(reader, "unacknowledged", 100, ack=False)
    read(reader, "through", 150, ack=True)
    reader.xtrim(STREAM, maxlen=KEPT, approximate=False)
    reader.xgroup_create(STREAM, "new", id="0")
    found = lagging_groups(link, STREAM, KEPT, trimmed=True)
    assert found == [
        LaggingGroup("new", 0, False),
        LaggingGroup("unacknowledged", 1, True),
        LaggingGroup("unread", 20, True),
    ]
