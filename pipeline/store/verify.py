"""Proof, from what stands in Redis, that no verdict and no alert is missing or double.

For each camera and run: every frame has one entry in the results, unless the ledger says that it was dropped or is in
flight, or it waits in the spool. The alerts are exactly the results that are not OK, each once; a fault is told once.
Entries that a stream's trimming took away are not held against anyone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from f2pnet.redis_keys import LineKeys
from f2pnet.redis_link import RedisLink
from f2pnet.result import Verdict
from pipeline.store.records import Record

PAGE = 1000
EXAMPLES = 5

Counters = dict[str, int]
RunKey = tuple[str, str]
"""Camera and run."""


@dataclass
class RunCheck:
    """One camera in one run."""

    camera_id: str
    run_id: str
    verdicts: int = 0  # frames with a verdict, in the store or in the spool
    in_spool: int = 0
    dropped: int = 0
    in_flight: int = 0
    unexplained: int = 0  # frames that have no verdict, and that nothing accounts for
    missing_seqs: list[int] = field(default_factory=list)  # some of the frames without verdict
    doubled: list[str] = field(default_factory=list)  # frame ids with more than one entry

    @property
    def holds(self) -> bool:
        return not self.unexplained and not self.doubled


@dataclass
class Verification:
    """Everything that was found; `holds` is the verdict."""

    line: str
    runs: list[RunCheck] = field(default_factory=list)
    alerts: int = 0
    faults: int = 0
    alerts_missing: list[str] = field(default_factory=list)
    alerts_doubled: list[str] = field(default_factory=list)
    alerts_without_result: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(run.holds for run in self.runs) and not (
            self.alerts_missing or self.alerts_doubled or self.alerts_without_result
        )


@dataclass(frozen=True)
class _Seen:
    """One entry of a stream."""

    at_ms: int
    frame_id: str
    verdict: Verdict


def verify(
    link: RedisLink, line: str, spooled: Iterable[Record], *, results_kept: int, alerts_kept: int
) -> Verification:
    """Check the streams of `line`. `spooled`: what waits in its spool, as read before this call. Raises StoreAway."""
    keys = LineKeys(line)
    waiting = [record for record in spooled if not record.is_fault]
    last_result, last_alert, results_trimmed, alerts_trimmed = _snapshot(link, keys, results_kept, alerts_kept)
    ledgers_before: dict[RunKey, Counters] = {}
    seqs: dict[RunKey, Counter[int]] = {}
    expected: dict[str, int] = {}  # frame id of each result that is not OK -> when it was stored
    first_result_ms: int | None = None
    for key in _runs_with_a_ledger(link, keys):
        ledgers_before[key] = _ledger(link, keys, key)
        seqs[key] = Counter()
    for entry in _entries(link, keys.results, last_result):
        first_result_ms = entry.at_ms if first_result_ms is None else first_result_ms
        camera_id, run_id, seq = entry.frame_id.split("/")
        seqs.setdefault((camera_id, run_id), Counter())[int(seq)] += 1
        if entry.verdict != Verdict.OK:
            expected[entry.frame_id] = entry.at_ms

    report = Verification(line)
    for key in sorted(seqs):
        in_spool = {record.seq for record in waiting if (record.camera_id, record.run_id) == key}
        before, after = ledgers_before.get(key, {}), _ledger(link, keys, key)
        report.runs.append(_check_run(key, seqs[key], in_spool, before, after, trimmed=results_trimmed))
    alerts = list(_entries(link, keys.alerts, last_alert))
    if results_trimmed and first_result_ms is not None:
        alerts = [alert for alert in alerts if alert.at_ms > first_result_ms]
    if alerts_trimmed and alerts:
        expected = {frame_id: at_ms for frame_id, at_ms in expected.items() if at_ms > alerts[0].at_ms}
        alerts = [alert for alert in alerts if alert.at_ms > alerts[0].at_ms]
    _check_alerts(report, alerts, set(expected))
    return report


def _check_run(
    key: RunKey,
    entries: Counter[int],
    in_spool: set[int | None],
    before: Counters,
    after: Counters,
    *,
    trimmed: bool,
) -> RunCheck:
    """`before` and `after`: the run's ledger as stated before and after its results were read; a line may be running."""
    camera_id, run_id = key
    seqs = set(entries) | {seq for seq in in_spool if seq is not None}
    check = RunCheck(camera_id, run_id, verdicts=len(seqs), in_spool=len(in_spool))
    check.doubled = [f"{camera_id}/{run_id}/{seq:06d}" for seq, count in sorted(entries.items()) if count > 1]
    check.dropped = _dropped(after)
    check.in_flight = max(before.get("in_flight", 0), after.get("in_flight", 0))
    first = min(seqs) if trimmed and seqs else 0
    holes = [seq for seq in range(first, max(seqs, default=-1) + 1) if seq not in seqs]
    check.missing_seqs = holes[:EXAMPLES]
    check.unexplained = max(0, len(holes) - check.dropped - check.in_flight)
    if before and not trimmed:
        settled = before["captured"] - _dropped(before) - before.get("in_flight", 0)
        check.unexplained = max(check.unexplained, settled - len(seqs))
    return check


def _check_alerts(report: Verification, alerts: list[_Seen], expected: set[str]) -> None:
    found = Counter(alert.frame_id for alert in alerts if alert.verdict != Verdict.FAULT)
    faults = Counter(alert.frame_id for alert in alerts if alert.verdict == Verdict.FAULT)
    report.alerts, report.faults = found.total(), faults.total()
    report.alerts_missing = sorted(expected - set(found))
    report.alerts_without_result = sorted(set(found) - expected)
    report.alerts_doubled = sorted(name for name, count in (found + faults).items() if count > 1)


def _dropped(ledger: Counters) -> int:
    return sum(count for name, count in ledger.items() if name.startswith("dropped:"))


def _snapshot(link: RedisLink, keys: LineKeys, results_kept: int, alerts_kept: int) -> tuple[str, str, bool, bool]:
    """Newest id of both streams at one moment (each write adds to both at once), and whether they were trimmed."""
    newest = ("+", "-", "COUNT", 1)
    *_, (results, alerts, results_length, alerts_length) = link.exchange(
        ["MULTI"],
        ["XREVRANGE", keys.results, *newest],
        ["XREVRANGE", keys.alerts, *newest],
        ["XLEN", keys.results],
        ["XLEN", keys.alerts],
        ["EXEC"],
    )
    return _first_id(results), _first_id(alerts), results_length >= results_kept, alerts_length >= alerts_kept


def _first_id(entries: Any) -> str:
    return entries[0][0].decode() if entries else "0-0"


def _runs_with_a_ledger(link: RedisLink, keys: LineKeys) -> list[RunKey]:
    prefix = keys.run_ledger("", "").removesuffix(":")
    found: set[RunKey] = set()
    cursor = "0"
    while True:
        (reply,) = link.exchange(["SCAN", cursor, "MATCH", _literally(prefix) + "*:*", "COUNT", PAGE])
        for name in reply[1]:
            camera_id, run_id = name.decode().removeprefix(prefix).split(":")
            found.add((camera_id, run_id))
        cursor = reply[0].decode()
        if cursor == "0":
            return sorted(found)


def _literally(text: str) -> str:
    return "".join("\\" + letter if letter in "[]*?\\^-" else letter for letter in text)


def _ledger(link: RedisLink, keys: LineKeys, key: RunKey) -> Counters:
    (flat,) = link.exchange(["HGETALL", keys.run_ledger(*key)])
    pairs = iter(flat)
    named = {name.decode(): value for name, value in zip(pairs, pairs, strict=True)}
    return {name: int(value) for name, value in named.items() if name != "run_id"}


def _entries(link: RedisLink, stream: str, last: str) -> Iterator[_Seen]:
    start = "-"
    while True:
        (page,) = link.exchange(["XRANGE", stream, start, last, "COUNT", PAGE])
        for name, flat in page:
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            at_ms = int(name.partition(b"-")[0])
            yield _Seen(at_ms, fields[b"frame_id"].decode(), Verdict(fields[b"verdict"].decode()))
        if len(page) < PAGE:
            return
        start = "(" + page[-1][0].decode()
