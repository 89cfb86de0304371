"""Cameras that gave no frame although they had to: a run that inspected nothing must not end as a success."""

from __future__ import annotations

from itertools import islice

from f2pnet.alerts.stream import ALERT_VERDICTS, StreamEntry, entries
from f2pnet.config import LineConfig
from f2pnet.config.sources import described_source
from f2pnet.errors import StoreAway
from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from f2pnet.text import printable
from pipeline.status.summary import LineStatus

FAULTS_READ = 200
TIMEOUT_S = 5.0


def cameras_without_frames(
    status: LineStatus, line: LineConfig, duration_s: float | None, store_url: str
) -> dict[str, str]:
    """Sources with an end that gave nothing, and all cameras of a run of a fixed duration where none gave anything.

    Camera id -> its source, and the last fault that its worker reported.
    """
    idle = [camera for camera in line.cameras if (ledger := status.cameras.get(camera.id)) and not ledger.captured]
    if duration_s is None or len(idle) < len(line.cameras):
        idle = [camera for camera in idle if camera.source.finite]
    if not idle:
        return {}
    faults = _last_faults(line, store_url)
    return {
        camera.id: "; ".join(filter(None, (described_source(camera.source), faults.get(camera.id)))) for camera in idle
    }


def _last_faults(line: LineConfig, store_url: str) -> dict[str, str]:
    """Camera id -> text of its newest fault. Empty where the store does not answer: it only explains."""
    link = RedisLink(store_url, timeout_s=TIMEOUT_S)
    try:
        alerts = LineKeys(line.line).alerts
        newest = entries(link.exchange, alerts, ALERT_VERDICTS, newest_first=True, page=FAULTS_READ)
        faults = [each for each in islice(newest, FAULTS_READ) if isinstance(each, StreamEntry)]
    except StoreAway:
        return {}
    finally:
        link.close()
    found: dict[str, str] = {}
    for entry in faults:
        if entry.verdict is Verdict.FAULT:
            found.setdefault(entry.camera_id, printable(entry.result.reason or ""))
    return found
