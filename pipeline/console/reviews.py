"""What people say of verdicts: seen (acknowledged), and whether the verdict was right. Kept in the line's Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from f2pnet.errors import ConfigError
from f2pnet.frame_id import FrameId
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import pairs
from pipeline.console.store import Store

ReviewLabel = Literal["confirmed", "false_reject", "missed"]
REVIEW_LABELS: tuple[ReviewLabel, ...] = get_args(ReviewLabel)
LONGEST_NOTE = 1_000
MOST_REVIEWS = 100_000
MOST_SEEN = 100_000
"""Alerts that are known to be acknowledged; beyond it the tenth that was acknowledged first is forgotten."""


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """One reviewer's word about one frame; the last word stands."""

    frame_id: str
    word: ReviewLabel
    note: str
    by: str
    at_ns: int  # UTC, ns since the epoch


class Reviews:
    """For any thread. Every call may raise StoreAway."""

    def __init__(self, store: Store, line: str) -> None:
        self._store = store
        self._keys = LineKeys(line)

    def say(self, frame_id: str, word: str, note: str, by: str) -> Review:
        """Keep a review. Raises ConfigError for an unknown label, and where no more reviews are kept."""
        if word not in REVIEW_LABELS:
            raise ConfigError(f"review is '{word}', wanted one of: {', '.join(REVIEW_LABELS)}")
        is_known, count = self._store.ask(["HEXISTS", self._keys.reviews, frame_id], ["HLEN", self._keys.reviews])
        if not is_known and count >= MOST_REVIEWS:
            raise ConfigError(
                f"{count} reviews are kept, and no more: write them into a data set with f2p reviews, then delete "
                f"{self._keys.reviews} in Redis"
            )
        review = Review(frame_id=frame_id, word=word, note=note[:LONGEST_NOTE], by=by[:64], at_ns=time.time_ns())
        self._store.ask(["HSET", self._keys.reviews, frame_id, msgspec.json.encode(review)])
        return review

    def withdraw(self, frame_id: str) -> None:
        self._store.ask(["HDEL", self._keys.reviews, frame_id])

    def acknowledge(self, frame_id: str, by: str) -> None:
        """Somebody has seen the alert."""
        said = f"{time.time_ns()} {by[:64]}"
        _, count = self._store.ask(["HSET", self._keys.acknowledged, frame_id, said], ["HLEN", self._keys.acknowledged])
        if count > MOST_SEEN:
            self._forget_seen(count - MOST_SEEN + MOST_SEEN // 10)

    def _forget_seen(self, count: int) -> None:
        """Those that were acknowledged first, and before them what others wrote there."""
        (flat,) = self._store.ask(["HGETALL", self._keys.acknowledged])
        oldest_first = sorted(pairs(flat).items(), key=lambda field: _time_ns(field[1]))
        self._store.ask(["HDEL", self._keys.acknowledged, *(name for name, _ in oldest_first[:count])])

    def of(self, frame_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """For each frame: `acknowledged` and `review`."""
        if not frame_ids:
            return {}
        seen, words = self._store.ask(
            ["HMGET", self._keys.acknowledged, *frame_ids], ["HMGET", self._keys.reviews, *frame_ids]
        )
        return {
            frame_id: {
                "acknowledged": at is not None,
                "review": None if word is None else self._plain(frame_id.encode(errors="replace"), word),
            }
            for frame_id, at, word in zip(frame_ids, seen, words, strict=True)
        }

    def all(self) -> list[Review]:
        """Every review, oldest first."""
        (flat,) = self._store.ask(["HGETALL", self._keys.reviews])
        found = (self._review(name, value) for name, value in pairs(flat).items())
        return sorted((review for review in found if review is not None), key=lambda review: review.at_ns)

    def _plain(self, name: bytes, value: bytes) -> dict[str, Any] | None:
        review = self._review(name, value)
        return None if review is None else msgspec.structs.asdict(review)

    def _review(self, name: bytes, value: bytes) -> Review | None:
        """None for a field of the hash that holds no review of the frame that it is named after."""
        try:
            review = msgspec.json.decode(value, type=Review)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._store.foreign.note(self._keys.reviews, name, f"no review: {error}")
            return None
        if FrameId.parse_or_none(name) is None or review.frame_id.encode(errors="replace") != name:
            self._store.foreign.note(self._keys.reviews, name, "a review of another frame, or of none")
            return None
        return review


def _time_ns(said: bytes) -> int:
    """When an alert was acknowledged; 0 where that can't be read."""
    time_ns = said.partition(b" ")[0]
    return int(time_ns) if time_ns.isdigit() and len(time_ns) < 20 else 0
