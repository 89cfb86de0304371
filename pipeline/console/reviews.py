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

Word = Literal["confirmed", "false_reject", "missed"]
WORDS: tuple[Word, ...] = get_args(Word)
LONGEST_NOTE = 1_000


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """One reviewer's word about one frame; the last word stands."""

    frame_id: str
    word: Word
    note: str
    by: str
    at_ns: int  # UTC, ns since the epoch


class Reviews:
    """For any thread. Every call may raise StoreAway."""

    def __init__(self, store: Store, line: str) -> None:
        self._store = store
        self._keys = LineKeys(line)

    def say(self, frame_id: str, word: str, note: str, by: str) -> Review:
        """Keep a review. Raises ConfigError for a word that is none."""
        if word not in WORDS:
            raise ConfigError(f"review is '{word}', wanted one of: {', '.join(WORDS)}")
        review = Review(frame_id=frame_id, word=word, note=note[:LONGEST_NOTE], by=by[:64], at_ns=time.time_ns())
        self._store.ask(["HSET", self._keys.reviews, frame_id, msgspec.json.encode(review)])
        return review

    def withdraw(self, frame_id: str) -> None:
        self._store.ask(["HDEL", self._keys.reviews, frame_id])

    def acknowledge(self, frame_id: str, by: str) -> None:
        """Somebody has seen the alert."""
        self._store.ask(["HSET", self._keys.acknowledged, frame_id, f"{time.time_ns()} {by[:64]}"])

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
