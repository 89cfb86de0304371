"""Alerts and results, newest first, page by page, by camera, verdict, class and time."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

from f2pnet.alerts.stream import ALERT_VERDICTS, RESULT_VERDICTS
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.redis.keys import LineKeys
from pipeline.console.reviews import Reviews
from pipeline.console.store import Store, StreamTail

READ_AT_ONCE = 64
PAGE = 50
MOST_READ = 20_000  # entries looked through for one page; a filter that matches less says where it stopped


@dataclass(frozen=True)
class AlertQuery:
    """What a page of history should show; None: anything. Times in ms since the epoch (UTC)."""

    camera: str | None = None
    verdict: Verdict | None = None
    class_name: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: str | None = None  # stream id of the last one seen
    limit: int = PAGE


def page_of(store: Store, line: str, wanted: AlertQuery, reviews: Reviews) -> dict[str, Any]:
    """{"items": [...], "next": id or None}. OK verdicts are looked for among the results, all others among alerts."""
    keys = LineKeys(line)
    of_results = wanted.verdict is Verdict.OK
    found = store.newest_first(
        keys.results if of_results else keys.alerts,
        RESULT_VERDICTS if of_results else ALERT_VERDICTS,
        first="-" if wanted.since_ms is None else str(wanted.since_ms),
        last=f"({wanted.before}" if wanted.before else "+" if wanted.until_ms is None else str(wanted.until_ms),
        page=READ_AT_ONCE,
    )
    items: list[dict[str, Any]] = []
    read, last = 0, None
    for entry in found:
        read, last = read + 1, entry.id
        if _fits(entry.result, wanted):
            items.append(_item(entry.id, entry.result))
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
        self._tail = StreamTail(store, LineKeys(line).alerts, ALERT_VERDICTS, PAGE)
        self._reviews = reviews
        self._items: deque[dict[str, Any]] = deque(maxlen=PAGE)  # newest first

    def page(self) -> dict[str, Any]:
        """As `page_of` gives it. Raises StoreAway."""
        for entry in self._tail.news():
            self._items.appendleft(_item(entry.id, entry.result))
        words = self._reviews.of([item["frame_id"] for item in self._items])
        last = self._items[-1]["id"] if len(self._items) == PAGE else None
        return {"items": [item | words[item["frame_id"]] for item in self._items], "next": last}


def _fits(result: InspectionResult, wanted: AlertQuery) -> bool:
    if wanted.camera is not None and result.camera_id != wanted.camera:
        return False
    if wanted.verdict is not None and result.verdict is not wanted.verdict:
        return False
    return wanted.class_name is None or any(defect.class_name == wanted.class_name for defect in result.defects)


def _item(entry_id: str, result: InspectionResult) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(result.to_json())
    shown = (
        "frame_id",
        "camera_id",
        "part_id",
        "source_ref",
        "captured_at_ns",
        "verdict",
        "reason",
        "score",
        "evidence",
    )
    return {
        "id": entry_id,
        **{name: plain[name] for name in shown},
        "classes": sorted({defect.class_name for defect in result.defects}),
        "defects": len(result.defects),
        "is_frame": result.verdict is not Verdict.FAULT,
    }
