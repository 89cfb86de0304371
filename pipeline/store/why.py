"""Every fact behind one verdict, gathered from what stands in the store, the spool and the files of the line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from f2pnet.bundle import open_bundle
from f2pnet.config import LineConfig
from f2pnet.errors import F2pError
from f2pnet.frame_id import FrameId
from f2pnet.recipe import load_recipe
from f2pnet.redis_keys import FRAMES_PER_CHUNK, LineKeys
from f2pnet.redis_link import RedisLink
from f2pnet.result import InspectionResult
from pipeline.store.redis_store import meaning_of
from pipeline.store.spool import waiting_in

PAGE = 500
OUT_OF_ORDER_MS = 60_000
"""Frames of one camera are stored nearly in their order; a frame that was tried again comes later by at most this."""


@dataclass
class Facts:
    """What is known of a frame. `explanation` says it in a sentence; the rest is the evidence for it."""

    frame_id: str
    explanation: str
    result: InspectionResult | None = None
    result_entry: str | None = None  # id in the results stream
    alert_entry: str | None = None  # id in the alerts stream
    groups: dict[str, str] = field(default_factory=dict)  # consumer group -> "acknowledged", "pending at ...", "unread"
    in_spool: bool = False
    evidence: Path | None = None  # of the picture, where it still lies
    engine: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)  # of the frame's camera and run


def why(link: RedisLink, line: LineConfig, frame: FrameId) -> Facts:
    """Gather all of it. Raises StoreAway."""
    keys = LineKeys(line.line)
    ledger = read_ledger(link, keys, frame)
    entry = find_entry(link, keys.results, frame)
    spooled = next((record for record in waiting_in(line.publish.spool.dir) if record.frame_id == str(frame)), None)
    if entry is None and spooled is None:
        return Facts(str(frame), _why_without_result(link, keys, frame, ledger), ledger=ledger)
    data = entry[1]["data"] if entry is not None else spooled.data if spooled is not None else b""
    result = InspectionResult.from_json(data)
    facts = Facts(str(frame), explain(result), result, entry[0] if entry else None, ledger=ledger)
    facts.in_spool = spooled is not None
    facts.engine, facts.recipe = _engine_facts(line, result), _recipe_facts(line, result)
    facts.evidence = _evidence(line, result)
    alert = find_entry(link, keys.alerts, frame)
    if alert is not None:
        facts.alert_entry = alert[0]
        facts.groups = dict(_groups(link, keys.alerts, alert[0]))
    return facts


def explain(result: InspectionResult) -> str:
    """The verdict in a sentence."""
    if result.reason is not None:
        return f"{result.verdict}: {result.reason}"
    if not result.defects:
        return f"{result.verdict}: the recipe rejects nothing of what the engine found (score {result.score})"
    worst = max(result.defects, key=lambda defect: defect.area_px)
    return (
        f"{result.verdict}: {len(result.defects)} defect(s), the largest {worst.class_name} ({worst.severity}), "
        f"{worst.area_px} px, score {worst.score:.2f}"
    )


def find_entry(link: RedisLink, stream: str, frame: FrameId) -> tuple[str, dict[str, bytes]] | None:
    """(entry id, fields) of a frame; None where the stream does not hold it. Looks first where it should stand."""
    (newest,) = link.exchange(["XREVRANGE", stream, "+", "-", "COUNT", 1])
    if not newest:
        return None
    low, high = _began_ms(frame.run_id), _ms(newest[0][0])
    first_ms = low
    while high - low > OUT_OF_ORDER_MS:
        middle = (low + high) // 2
        (page,) = link.exchange(["XRANGE", stream, middle, "+", "COUNT", PAGE])
        seqs = [other.seq for other in map(_frame_of, page) if other is not None and _same_run(other, frame)]
        low, high = (middle, high) if seqs and min(seqs) <= frame.seq else (low, middle)
    for since_ms in (low - OUT_OF_ORDER_MS, first_ms):
        for entry in _entries(link, stream, max(0, since_ms), None if since_ms == first_ms else high + OUT_OF_ORDER_MS):
            if _frame_of(entry) == frame:
                return entry[0].decode(), _fields(entry)
    return None


def read_ledger(link: RedisLink, keys: LineKeys, frame: FrameId) -> dict[str, int]:
    """Counters of the frame's camera in its run; empty where the run is unknown or older than a week."""
    (flat,) = link.exchange(["HGETALL", keys.run_ledger(frame.camera_id, frame.run_id)])
    return {name: int(value) for name, value in _pairs(flat).items() if name != "run_id"}


def _why_without_result(link: RedisLink, keys: LineKeys, frame: FrameId, ledger: dict[str, int]) -> str:
    """A frame without a result was never captured, was dropped, is under way, or its result was trimmed away."""
    key = keys.seen(frame.camera_id, frame.run_id, frame.seq)
    ((code,),) = link.exchange(["BITFIELD", key, "GET", "u8", f"#{frame.seq % FRAMES_PER_CHUNK}"])
    if code:
        verdict, reason = meaning_of(code)
        return (
            f"{verdict}{f': {reason}' if reason else ''}; its result was trimmed from the stream since (results_kept)"
        )
    if not ledger:
        return "unknown: no camera and run of these names in this store (ledgers are kept for a week)"
    captured = ledger.get("captured", 0)
    if frame.seq >= captured:
        return f"never captured: this run of the camera counts {captured} frames, numbered from 0"
    drops = {name.removeprefix("dropped:"): n for name, n in ledger.items() if name.startswith("dropped:") and n}
    told = ", ".join(f"{count} {reason}" for reason, count in drops.items()) or "none"
    return f"no verdict: dropped (the run's drops: {told}) or still in flight ({ledger.get('in_flight', 0)} are)"


def _engine_facts(line: LineConfig, result: InspectionResult) -> dict[str, Any]:
    """The engine of the verdict beside the one that the line would use now."""
    try:
        bundle = open_bundle(line.engine.bundle)
    except F2pError as error:
        return {"of_verdict": result.engine, "of_line": str(error)}
    limits = bundle.manifest.thresholds.model_dump()
    same = result.engine is not None and bundle.engine_id.startswith(result.engine)
    now = f"{bundle.manifest.name} {bundle.engine_id[:12]}"
    return {"of_verdict": result.engine, "of_line": now, "same": same, "thresholds": limits}


def _recipe_facts(line: LineConfig, result: InspectionResult) -> dict[str, Any]:
    """The recipe of the verdict beside the line's present one."""
    if line.recipe is None:
        return {"of_verdict": result.recipe, "of_line": None}
    try:
        recipe = load_recipe(line.recipe)
    except F2pError as error:
        return {"of_verdict": result.recipe, "of_line": str(error)}
    same = result.recipe is not None and recipe.recipe_id.startswith(result.recipe)
    return {"of_verdict": result.recipe, "of_line": f"{line.recipe.name} {recipe.recipe_id[:12]}", "same": same}


def _evidence(line: LineConfig, result: InspectionResult) -> Path | None:
    if result.evidence is None or line.publish.evidence is None:
        return None
    path = line.publish.evidence.dir.parent / result.evidence
    return path if path.is_file() else None


def _groups(link: RedisLink, stream: str, entry_id: str) -> Iterator[tuple[str, str]]:
    """What each consumer group did with an alert."""
    (groups,) = link.exchange(["XINFO", "GROUPS", stream])
    for group in groups:
        facts = _pairs(group)
        name, delivered = facts["name"].decode(), facts["last-delivered-id"].decode()
        if _order(delivered) < _order(entry_id):
            yield name, "unread"
            continue
        (pending,) = link.exchange(["XPENDING", stream, name, entry_id, entry_id, 1])
        yield name, f"pending at {pending[0][1].decode()}" if pending else "acknowledged"


def _entries(link: RedisLink, stream: str, since_ms: int, until_ms: int | None) -> Iterator[Any]:
    start: str = str(since_ms)
    while True:
        (page,) = link.exchange(["XRANGE", stream, start, "+" if until_ms is None else until_ms, "COUNT", PAGE])
        yield from page
        if len(page) < PAGE:
            return
        start = f"({page[-1][0].decode()}"


def _frame_of(entry: Any) -> FrameId | None:
    """The frame of an entry, None of a fault event and of entries that others wrote."""
    return FrameId.parse_or_none(_fields(entry).get("frame_id"))


def _fields(entry: Any) -> dict[str, bytes]:
    return _pairs(entry[1])


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _same_run(a: FrameId, b: FrameId) -> bool:
    return (a.camera_id, a.run_id) == (b.camera_id, b.run_id)


def _began_ms(run_id: str) -> int:
    """When a run began: a version 7 UUID starts with its time in milliseconds. 0 where it is none."""
    try:
        return uuid.UUID(run_id).int >> 80
    except ValueError:
        return 0


def _ms(entry_id: bytes) -> int:
    return _order(entry_id.decode())[0]


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


def as_json(facts: Facts) -> str:
    """For machines; paths and results as in the contract."""
    return msgspec.json.encode(facts, enc_hook=str).decode()
