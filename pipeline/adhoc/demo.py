"""The demo: two cameras over simulated belts whose defects are known, and the score against that truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from f2pnet.alerts.stream import RESULT_VERDICTS, StreamEntry, entries
from f2pnet.config import LineConfig, load_line
from f2pnet.config.line import EvidenceConfig, SpoolConfig
from f2pnet.config.sources import SyntheticSource
from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from pipeline.adhoc.configuration import page_on_free_port, shipped_config
from pipeline.sources.conveyor import Conveyor

PAGE = 1_000
TIMEOUT_S = 10.0


def demo_line(folder: Path) -> LineConfig:
    """`configs/lines/demo.yaml`, with what it writes going to `folder`."""
    line = load_line(shipped_config("lines", "demo.yaml"))
    publish = line.publish.model_copy(
        update={"spool": SpoolConfig(dir=folder / "spool"), "evidence": EvidenceConfig(dir=folder / "evidence")}
    )
    return line.model_copy(update={"publish": publish, "console": page_on_free_port()})


def score(line: LineConfig, run_id: str, redis_url: str) -> dict[str, Any]:
    """Precision and recall of the verdict NG over the inspected frames of one run, against the belts' truth."""
    belts = {
        camera.id: Conveyor(camera.source) for camera in line.cameras if isinstance(camera.source, SyntheticSource)
    }
    counts = {(truth, verdict): 0 for truth in (True, False) for verdict in (True, False)}
    for frame, verdict in _verdicts(line.line, redis_url):
        if frame.run_id == run_id and frame.camera_id in belts and verdict in (Verdict.OK, Verdict.NG):
            counts[belts[frame.camera_id].defective(frame.seq), verdict == Verdict.NG] += 1
    hits = counts[True, True]
    return {
        "precision": round(_share(hits, counts[False, True]), 4),
        "recall": round(_share(hits, counts[True, False]), 4),
        "frames": sum(counts.values()),
        "defective": hits + counts[True, False],
    }


def _share(hits: int, others: int) -> float:
    """1 where nothing was to be found or nothing was claimed: there is no error either."""
    return hits / (hits + others) if hits + others else 1.0


def _verdicts(line: str, redis_url: str) -> list[tuple[FrameId, Verdict]]:
    """(frame, verdict) of all results in the store."""
    link = RedisLink(redis_url, timeout_s=TIMEOUT_S)
    try:
        found = entries(link.exchange, LineKeys(line).results, RESULT_VERDICTS)
        return [(one.frame, one.verdict) for one in found if isinstance(one, StreamEntry) and one.frame is not None]
    finally:
        link.close()
