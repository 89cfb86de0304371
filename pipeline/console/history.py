"""Alerts and results, newest first, page by page, by camera, verdict, class and time."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from f2pnet.redis_keys import LineKeys
from f2pnet.result import InspectionResult, Verdict
from pipeline.console.reviews import Reviews
from pipeline.console.store import Store, StreamTail

READ_AT_ONCE = 64
PAGE = 50
MOST_READ = 20_000  # entries looked through for one page; a filter that matches less says where it stopped


@dataclass(frozen=True)
class Wanted:
    """What a page of history should show; None: anything. Times in ms since the epoch (UTC)."""

    camera: str | None = None
    verdict: Verdict | None = None
    class_name: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: str | None = None  # stream id of the last one seen
    limit: int = PAGE


def page_of(store: Store, line: str, wanted: Wanted, reviews: Reviews) -> dict[str, Any]:
    """{"items": [...], "next": id or None}. OK verdicts are looked for among the results, all others among alerts."""
    keys = LineKeys(line)
    stream = keys.results if wanted.verdict is Verdict.OK else keys.alerts
    items: list[dict[str, Any]] = []
    read, last = 0, None
    for entry_id, result in _newest_first(store, stream, wanted):
        read, last = read + 1, entry_id
        if _fits(result, wanted):
            items.append(_item(entry_id, result))
        if len(items) >= wanted.limit or read >= MOST_READ:
            break
    else:
        last = None
    words = reviews.of([item["frame_id"] for item in items])
    for item in items:
        item |= words[item["frame_id"]]
    return {"items": items, "next": last}


class NewestAlerts:
    """The newest page of alerts, whatever they are, read on from look to look. For one thread at a time."""

    def __init__(self, store: Store, line: str, reviews: Reviews) -> None:
        self._tail = StreamTail(store, LineKeys(line).alerts, PAGE)
        self._reviews = reviews
        self._items: deque[dict[str, Any]] = deque(maxlen=PAGE)  # newest first

    def page(self) -> dict[str, Any]:
        """As `page_of` gives it. Raises StoreAway."""
        for entry_id, fields in self._tail.news():
            if (result := _result_in(fields)) is not None:
                self._items.appendleft(_item(entry_id, result))
        words = self._reviews.of([item["frame_id"] for item in self._items])
        last = self._items[-1]["id"] if len(self._items) == PAGE else None
        return {"items": [item | words[item["frame_id"]] for item in self._items], "next": last}


def _newest_first(store: Store, stream: str, wanted: Wanted) -> Iterator[tuple[str, InspectionResult]]:
    newest = f"({wanted.before}" if wanted.before else str(wanted.until_ms) if wanted.until_ms is not None else "+"
    oldest = str(wanted.since_ms) if wanted.since_ms is not None else "-"
    while True:
        entries = store.entries(["XREVRANGE", stream, newest, oldest, "COUNT", READ_AT_ONCE])
        for entry_id, fields in entries:
            if (result := _result_in(fields)) is not None:
                yield entry_id, result
        if len(entries) < READ_AT_ONCE:
            return
        newest = f"({entries[-1][0]}"


def _result_in(fields: dict[str, bytes]) -> InspectionResult | None:
    """None for an entry that is not ours."""
    try:
        return InspectionResult.from_json(fields["data"])
    except (msgspec.DecodeError, KeyError):
        return None


def _fits(result: InspectionResult, wanted: Wanted) -> bool:
    if wanted.camera is not None and result.camera_id != wanted.camera:
        return False
    if wanted.verdict is not None and result.verdict is not wanted.verdict:
        return False
    return wanted.class_name is None or any(defect.class_name == wanted.class_name for defect in result.defects)


def _item(entry_id: str, result: InspectionResult) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(result.to_json())
    shown = ("frame_id", "camera_id", "part_id", "captured_at_ns", "verdict", "reason", "score", "evidence")
    return {
        "id": entry_id,
        **{name: plain[name] for name in shown},
        "classes": sorted({defect.class_name for defect in result.defects}),
        "defects": len(result.defects),
        "is_frame": result.verdict is not Verdict.FAULT,
    }
