"""`f2p why`: every fact behind one verdict, on one page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from f2pnet.commands.terminal import Fitted, cell, plain_console, say_json
from f2pnet.config import load_line
from f2pnet.errors import ExitCode
from f2pnet.frame_id import FrameId
from f2pnet.redis.link import RedisLink
from pipeline.commands.records.foreign_data import report_foreign
from pipeline.store.audit.why import Facts, as_json
from pipeline.store.audit.why import why as gather
from pipeline.store.embedded.line_store import store_of

READ_TIMEOUT_S = 10.0


def why(
    line_file: Annotated[Path, typer.Argument(metavar="LINE.yaml", help="line configuration")],
    frame_id: Annotated[str, typer.Argument(metavar="FRAME_ID", help="<camera>/<run>/<number>, as alerts show it")],
    json_wanted: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show every fact behind the verdict of one frame; exit code 1 where the frame has none."""
    frame, line = FrameId.parse(frame_id), load_line(line_file)
    with store_of(line) as url:
        link = RedisLink(url, timeout_s=READ_TIMEOUT_S)
        try:
            facts = gather(link, line, frame)
        finally:
            link.close()
    if json_wanted:
        say_json(json.loads(as_json(facts)))
    else:
        _show(facts)
    if facts.result is None:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _show(facts: Facts) -> None:
    console = plain_console()
    console.print(cell(facts.frame_id, "bold"))
    console.print(cell(facts.explanation))
    table = Table(show_header=False, box=None)
    for name, value in _rows(facts):
        table.add_row(cell(name), cell(value))
    console.print(Fitted(table))
    if facts.result is not None and facts.result.defects:
        defects = Table("class", "severity", "score", "area", "box x, y, width, height (px)")
        for defect in facts.result.defects:
            area = f"{defect.area_px} px" + (f", {defect.area_mm2:.2f} mm2" if defect.area_mm2 is not None else "")
            box = ", ".join(map(str, defect.bbox_px))
            defects.add_row(cell(defect.class_name), defect.severity, f"{defect.score:.2f}", area, box)
        console.print(Fitted(defects))
    report_foreign(facts.foreign)


def _rows(facts: Facts) -> list[tuple[str, str]]:
    rows = []
    if (result := facts.result) is not None:
        captured = datetime.fromtimestamp((result.captured_at_ns or 0) / 1e9, UTC)
        times = {name: getattr(result.timings_ms, name) for name in result.timings_ms.__struct_fields__}
        waterfall = ", ".join(f"{name} {value:.1f}" for name, value in times.items() if value is not None)
        rows += [
            ("part", result.part_id or "not named"),
            ("file", "none: from a camera" if result.source_ref is None else str(result.source_ref)),
            ("captured", captured.astimezone().isoformat(timespec="milliseconds")),
            ("image score", "none" if result.score is None else f"{result.score:.3f}"),
            ("device", result.device or "none: no engine saw it"),
            ("time, ms", waterfall or "none"),
            ("engine", _beside(facts.engine)),
            ("thresholds", ", ".join(f"{k} {v:g}" for k, v in facts.engine.get("thresholds", {}).items()) or "unknown"),
            ("recipe", _beside(facts.recipe)),
            (
                "evidence",
                str(facts.evidence or (result.evidence and f"{result.evidence} (deleted since)") or "none kept"),
            ),
            ("result", facts.result_entry or ("waits in the spool" if facts.in_spool else "none")),
            ("alert", facts.alert_entry or "none"),
        ]
        rows += [(f"group {name}", state) for name, state in facts.groups.items()]
    counts = ", ".join(f"{name} {count}" for name, count in sorted(facts.ledger.items()))
    return [*rows, ("ledger of its run", counts or "unknown")]


def _beside(facts: dict[str, object]) -> str:
    """What the verdict was made with, and whether the line still uses it."""
    used, now = facts.get("of_verdict") or "none", facts.get("of_line") or "none"
    return f"{used} (the line's own)" if facts.get("same") else f"{used}; the line now: {now}"
