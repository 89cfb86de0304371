"""Consumer groups that do not keep up: trimming the alert stream will overtake them, or has.

Memory is bounded, so a stream is trimmed whoever still wants to read it. A group that is overtaken loses alerts, which
must not go unnoticed: it is reported beforehand, and when it happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from f2pnet.alerts.stream import order_of
from f2pnet.foreign import clipped
from f2pnet.redis.link import Command, RedisLink, pairs

NEARLY_FULL = 0.8  # share of what is kept, below which nobody is at risk
LAST_PART = 0.2  # a group that is still in this part of what is kept, counted in time, is far behind

MOST_GROUPS = 256  # other programs make groups; looking at them must not hold up the verdicts

Id = tuple[int, int]
"""Stream id: ms since the epoch (UTC), and a number."""

NOTHING_READ: Id = (0, 0)  # a new group: it begins with what is kept


@dataclass(frozen=True)
class LaggingGroup:
    """A group and the oldest alert that it has not finished, in ms since the epoch (UTC)."""

    group: str
    """Its name as it may be shown: other programs choose it, and it may be any bytes."""
    unfinished_ms: int
    overtaken: bool  # alerts were trimmed before it had finished them


def lagging_groups(link: RedisLink, stream: str, kept: int, *, trimmed: bool) -> list[LaggingGroup]:
    """Groups of a stream that is trimmed to about `kept` entries; `trimmed`: it has happened. Raises StoreAway."""
    length, first, last = link.exchange(
        ["XLEN", stream], ["XRANGE", stream, "-", "+", "COUNT", 1], ["XREVRANGE", stream, "+", "-", "COUNT", 1]
    )
    if length < NEARLY_FULL * kept or not first or not last:
        return []
    first_id, last_id = order_of(first[0][0]), order_of(last[0][0])
    edge_ms = first_id[0] + LAST_PART * (last_id[0] - first_id[0])
    found = []
    for name, unfinished in _unfinished(link, stream, last_id):
        overtaken = trimmed and NOTHING_READ < unfinished < first_id
        if overtaken or unfinished[0] < edge_ms:
            found.append(LaggingGroup(clipped(name), unfinished[0], overtaken))
    return found


def _unfinished(link: RedisLink, stream: str, last_id: Id) -> list[tuple[bytes, Id]]:
    """Groups that have something to do, and where: their oldest unacknowledged entry, or the last one they read."""
    (replies,) = link.exchange(["XINFO", "GROUPS", stream])
    groups = [pairs(flat) for flat in replies[:MOST_GROUPS]]
    behind = [group for group in groups if group[b"pending"] or order_of(group[b"last-delivered-id"]) < last_id]
    if not behind:
        return []
    questions: list[Command] = [["XPENDING", stream, group[b"name"]] for group in behind]
    return [
        (group[b"name"], min([order_of(group[b"last-delivered-id"]), *_oldest_pending(summary)]))
        for group, summary in zip(behind, link.exchange(*questions), strict=True)
    ]


def _oldest_pending(summary: Sequence[Any]) -> list[Id]:
    return [order_of(summary[1])] if summary[0] else []  # acknowledged since
