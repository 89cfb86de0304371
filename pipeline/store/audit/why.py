"""Every fact behind one verdict, gathered from what stands in the store, the spool and the files of the line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from f2pnet.alerts.stream import ALERT_VERDICTS, RESULT_VERDICTS, StreamEntry, decode, entries, newest, order_of
from f2pnet.config import LineConfig
from f2pnet.engine.bundle import open_bundle
from f2pnet.errors import F2pError
from f2pnet.foreign import ForeignData, clipped
from f2pnet.frame_id import FrameId
from f2pnet.inspection.recipe import load_recipe
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.redis.keys import FRAMES_PER_CHUNK, LineKeys
from f2pnet.redis.link import RedisLink, pairs
from pipeline.store.audit.ledgers import read_run_ledger
from pipeline.store.evidence import kept_picture
from pipeline.store.redis_store import meaning_of
from pipeline.store.spool.spool import waiting_in

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
    foreign: list[str] = field(default_factory=list)  # what others wrote where this was looked for


def why(link: RedisLink, line: LineConfig, frame: FrameId) -> Facts:
    """Gather all of it. Raises StoreAway."""
    keys = LineKeys(line.line)
    passed_over: list[str] = []
    foreign = ForeignData(passed_over.append)
    ledger = read_run_ledger(link, keys, (frame.camera_id, frame.run_id), foreign)
    entry = find_entry(link, keys.results, RESULT_VERDICTS, frame, foreign)
    spooled = _spooled(line, frame) if entry is None else None
    result = entry.result if entry is not None else spooled
    if result is None:
        explanation = _why_without_result(link, keys, frame, ledger)
        return Facts(str(frame), explanation, ledger=ledger, foreign=passed_over)
    facts = Facts(str(frame), explain(result), result, entry.id if entry else None, ledger=ledger, foreign=passed_over)
    facts.in_spool = spooled is not None
    facts.engine, facts.recipe = _engine_facts(line, result), _recipe_facts(line, result)
    facts.evidence = _evidence(line, result)
    alert = find_entry(link, keys.alerts, ALERT_VERDICTS, frame, foreign)
    if alert is not None:
        facts.alert_entry = alert.id
        facts.groups = dict(_groups(link, keys.alerts, alert.id))
    return facts


def _spooled(line: LineConfig, frame: FrameId) -> InspectionResult | None:
    """The result that waits in the spool; a record that holds no result is passed over."""
    for record in waiting_in(line.publish.spool.dir):
        if record.frame_id == str(frame):
            try:
                return InspectionResult.from_json(record.data)
            except msgspec.DecodeError:
                continue
    return None


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


def find_entry(
    link: RedisLink, stream: str, verdicts: Set[Verdict], frame: FrameId, foreign: ForeignData
) -> StreamEntry | None:
    """The entry of a frame; None where the stream does not hold it. Looks first where it should stand.

    The store dates entries by its own clock, which may differ from the line's by any amount. So the place is found by
    the order of the camera's frames; where clocks were set back in between, the whole stream is read.
    """
    (oldest,), newest_id = link.exchange(["XRANGE", stream, "-", "+", "COUNT", 1]), newest(link.exchange, stream)
    if newest_id is None or not oldest:
        return None
    low, high = order_of(oldest[0][0])[0], order_of(newest_id)[0]
    while high - low > OUT_OF_ORDER_MS:
        middle = (low + high) // 2
        (page,) = link.exchange(["XRANGE", stream, middle, "+", "COUNT", PAGE])
        frames = [entry.frame for raw in page if isinstance(entry := decode(raw, verdicts), StreamEntry)]
        of_camera = [other for other in frames if other is not None and other.camera_id == frame.camera_id]
        low, high = (middle, high) if of_camera and min(of_camera) <= frame else (low, middle)
    for first, last in ((max(0, low - OUT_OF_ORDER_MS), high + OUT_OF_ORDER_MS), ("-", "+")):
        for entry in entries(link.exchange, stream, verdicts, first=first, last=last, page=PAGE):
            if not isinstance(entry, StreamEntry):
                foreign.note(stream, entry.id, entry.why)
            elif entry.frame == frame:
                return entry
    return None


def _why_without_result(link: RedisLink, keys: LineKeys, frame: FrameId, ledger: dict[str, int]) -> str:
    """A frame without a result was never captured, was dropped, is under way, or its result was trimmed away."""
    key = keys.seen(frame.camera_id, frame.run_id, frame.seq)
    ((code,),) = link.exchange(["BITFIELD", key, "GET", "u8", f"#{frame.seq % FRAMES_PER_CHUNK}"])
    if code:
        verdict, reason = meaning_of(code)
        said = f"{verdict}{f': {reason}' if reason else ''}"
        if link.exchange(["EXISTS", keys.run_trimmed(frame.camera_id, frame.run_id)]) == [1]:
            return f"{said}; its result was trimmed from the stream since (results_kept)"
        return f"{said}; its result was stored and is gone, not by the line's own trimming: `f2p alerts verify`"
    if not ledger:
        return "unknown: no camera and run of these names in this store (ledgers are kept for a week)"
    captured = ledger.get("captured", 0)
    if frame.seq >= captured:
        return f"never captured: this run of the camera counts {captured} frames, numbered from 0"
    drops = {name.removeprefix("dropped:"): n for name, n in ledger.items() if name.startswith("dropped:") and n}
    described = ", ".join(f"{count} {reason}" for reason, count in drops.items()) or "none"
    return f"no verdict: dropped (the run's drops: {described}) or still in flight ({ledger.get('in_flight', 0)} are)"


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
    evidence = line.publish.evidence
    return None if evidence is None else kept_picture(evidence.dir, result)


def _groups(link: RedisLink, stream: str, entry_id: str) -> Iterator[tuple[str, str]]:
    """What each consumer group did with an alert. Names of groups and consumers are bytes that others chose."""
    (groups,) = link.exchange(["XINFO", "GROUPS", stream])
    for flat in groups:
        group = pairs(flat)
        name = group[b"name"]
        if order_of(group[b"last-delivered-id"]) < order_of(entry_id):
            yield clipped(name), "unread"
            continue
        (pending,) = link.exchange(["XPENDING", stream, name, entry_id, entry_id, 1])
        yield clipped(name), f"pending at {clipped(pending[0][1])}" if pending else "acknowledged"


def as_json(facts: Facts) -> str:
    """For programs; paths are text, results as docs/contract.md has them."""
    return json.dumps(msgspec.to_builtins(facts, enc_hook=str))  # ASCII: fit for any terminal
