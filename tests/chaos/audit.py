"""What stands in the store after a campaign, held against what the cameras showed. Reads Redis with redis-py alone."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.chaos.line import CAMERAS, LIVE
from tests.chaos.numbered import NUMBERS, is_poisoned, number_in, shows
from tests.chaos.strangers import MARK

EXAMPLES = 5
_REPLACED = re.compile(r'event="worker replaced" worker=(\S+) .*restarts=(\d+)')
_RESTART_EVENT = re.compile(r"^[^/\n]+/([^/\n]+)/restart-(\d+)-\w+$", re.MULTILINE)


@dataclass
class Audit:
    """Counts of what must not be; `holds` when all of them are 0."""

    frames: int = 0
    alerts: int = 0
    runs: int = 0
    engine_failures: int = 0  # pictures on which the engine failed, each NOT_INSPECTED
    given_up: int = 0  # good pictures whose leases ended three times while nothing could be stored: NOT_INSPECTED too
    verdicts: Counter[str] = field(default_factory=Counter)
    frames_unaccounted: int = 0
    frames_doubled: int = 0
    wrong_pictures: int = 0
    alerts_lost: int = 0
    alerts_doubled: int = 0
    alerts_not_delivered: int = 0
    restarts: int = 0  # of workers, as the line's log has them: each is a FAULT alert
    faults_lost: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not any(
            (
                self.frames_unaccounted,
                self.frames_doubled,
                self.wrong_pictures,
                self.alerts_lost,
                self.alerts_doubled,
                self.alerts_not_delivered,
                self.faults_lost,
            )
        )

    def as_dict(self) -> dict[str, Any]:
        return {"holds": self.holds, **vars(self)}

    def _report(self, text: str) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)


def audit(url: str, line: str, delivered: Counter[str], log: Path) -> Audit:
    """Read both streams and the ledgers of all runs. `delivered`: what the subscriber got, by frame or event id."""
    store = redis.Redis.from_url(url)
    found = Audit()
    results, alerts = (
        [fields for _, fields in store.xrange(f"f2p:{{{line}}}:{stream}") if MARK.encode() not in fields]
        for stream in ("results", "alerts")
    )
    by_run: dict[tuple[str, str], dict[int, bytes]] = defaultdict(dict)
    for fields in results:
        camera, run, seq = fields[b"frame_id"].decode().split("/")
        found.verdicts[fields[b"verdict"].decode()] += 1
        if int(seq) in by_run[camera, run]:
            found.frames_doubled += 1
            found._report(f"double: {camera}/{run}/{seq}")
        by_run[camera, run][int(seq)] = fields[b"data"]
    found.frames, found.runs = len(results), len({run for _, run in by_run})
    for (camera, run), frames in by_run.items():
        ledger = store.hgetall(f"f2p:{{{line}}}:ledger:{camera}:{run}")
        _check_run(found, camera, run, frames, ledger)
    _check_alerts(found, results, alerts, delivered)
    _check_restarts(found, alerts, log)
    return found


def _check_run(found: Audit, camera: str, run: str, frames: dict[int, bytes], ledger: dict[bytes, bytes]) -> None:
    """Every frame has its verdict, and the verdict is that of its picture."""
    if camera in CAMERAS:  # these cameras never drop: every number up to the last one
        missing = set(range(max(frames) + 1)) - set(frames)
        dropped = 0
    else:
        captured = int(ledger[b"captured"])
        dropped = sum(int(count) for name, count in ledger.items() if name.startswith(b"dropped"))
        missing = set(range(max(captured, max(frames) + 1))) - set(frames)
    found.frames_unaccounted += max(0, len(missing) - dropped)
    if len(missing) > dropped:
        found._report(f"{camera}/{run} has no verdict for {sorted(missing)[:5]}, dropped {dropped}")
    if camera == LIVE:
        _check_order(found, frames)
        return
    for seq, data in frames.items():
        number = seq % NUMBERS if camera in CAMERAS else _number_of_file(data)
        failed = b'"engine_fault"' in data
        found.engine_failures += failed and is_poisoned(number)
        found.given_up += failed and not is_poisoned(number)
        if not shows(data, number):
            found.wrong_pictures += 1
            found._report(f"{camera}/{run}/{seq} shows another picture: {data[:300].decode()}")


def _number_of_file(data: bytes) -> int:
    """The number of the picture that the result says it is of; a camera's source may have changed in between."""
    return int(Path(json.loads(data)["source_ref"]["file"]).stem)


def _check_order(found: Audit, frames: dict[int, bytes]) -> None:
    """A live camera's numbers go on, whatever was lost between it and the line."""
    last: int | None = None
    for seq in sorted(frames):
        result = json.loads(frames[seq])
        number = number_in(result) if result["verdict"] == "NG" else None
        if number is None:
            continue
        if last is not None and not 0 < (number - last) % NUMBERS < NUMBERS // 2:
            found.wrong_pictures += 1
            found._report(f"{LIVE} {seq}: picture {number} behind {last}")
        last = number


def _check_alerts(
    found: Audit, results: list[dict[bytes, bytes]], alerts: list[dict[bytes, bytes]], delivered: Counter[str]
) -> None:
    told = Counter(fields[b"frame_id"].decode() for fields in alerts)
    due = {fields[b"frame_id"].decode() for fields in results if fields[b"verdict"] != b"OK"}
    found.alerts = len(alerts)
    found.alerts_lost = len(due - set(told))
    found.alerts_doubled = sum(count > 1 for count in told.values())
    found.alerts_not_delivered = len(set(told) - set(delivered))
    for text, names in (("lost", due - set(told)), ("not delivered", set(told) - set(delivered))):
        for name in sorted(names)[:3]:
            found._report(f"alert {text}: {name}")


def _check_restarts(found: Audit, alerts: list[dict[bytes, bytes]], log: Path) -> None:
    """Each worker that the line's log says was replaced has its FAULT alert."""
    replaced = Counter(_REPLACED.findall(log.read_text(errors="replace")))
    told = Counter(_RESTART_EVENT.findall("\n".join(fields[b"frame_id"].decode() for fields in alerts)))
    lost = replaced - told
    found.restarts, found.faults_lost = replaced.total(), lost.total()
    for worker, number in sorted(lost)[:3]:
        found._report(f"no FAULT alert of restart {number} of {worker}")
