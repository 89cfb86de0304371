"""Alerts that were delivered again and again and never acknowledged: kept in a stream of their own, for people."""

from __future__ import annotations

from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import Argument

DEAD_LETTERS_KEPT = 10_000


def dead_letter(
    line: str, receiver: str, *, alert_id: str, frame_id: str, data: bytes, reason: str, tries: int
) -> list[Argument]:
    """The Redis command that keeps one. `receiver`: the sink or the consumer group that did not take it."""
    letter: list[Argument] = ["XADD", LineKeys(line).dead_letters, "MAXLEN", "~", DEAD_LETTERS_KEPT, "*"]
    letter += ["sink", receiver, "alert_id", alert_id, "frame_id", frame_id]
    return [*letter, "reason", reason, "tries", tries, "data", data]
