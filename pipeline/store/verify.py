"""Proof, from what stands in Redis, that no verdict and no alert is missing or double.

For each camera and run: every frame has one entry in the results, unless the ledger says that it was dropped or is in
flight, or it waits in the spool. The alerts are exactly the results that are not OK, each once; a fault is told once.
Entries that a stream's trimming took away are not held against anyone.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from f2pnet.frame_id import FrameId
from f2pnet.redis_keys import LineKeys
from f2pnet.redis_link import RedisLink
from f2pnet.result import Verdict
from pipeline.store.records import Record

TRANSACTION_MS = 100  # longer than any transaction of a batch takes
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


@dataclass(frozen=True)
class _Ends:
    """Where both streams ended when the check began, and whether their beginnings are gone."""

    last_result: str
    last_alert: str
    results_trimmed: bool
    alerts_trimmed: bool


@dataclass
class _Results:
    """What the results stream holds."""

    seqs: defaultdict[RunKey, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    not_ok: dict[str, int] = field(default_factory=dict)  # frame id -> when it was stored, ms
    first_ms: float = math.inf  # when the oldest entry was stored


def verify(
    link: RedisLink, line: str, spooled: Iterable[Record], *, results_kept: int, alerts_kept: int
) -> Verification:
    """Check the streams of `line`. `spooled`: what waits in its spool, as read before this call. Raises StoreAway."""
    keys = LineKeys(line)
    in_spool = _by_run(spooled)
    # The line may be running: what its ledger said before must be in the results; what it says after explains holes.
    before = {key: _ledger(link, keys, key) for key in _runs_with_a_ledger(link, keys)}
    end = _ends_of_streams(link, keys, results_kept, alerts_kept)
    results = _read_results(link, keys, end.last_result)
    report = Verification(line)
    for key in sorted(set(before) | set(results.seqs) | set(in_spool)):
        ledgers = before.get(key, {}), _ledger(link, keys, key)
        report.runs.append(_check_run(key, results.seqs[key], in_spool[key], ledgers, trimmed=end.results_trimmed))
    alerts, expected = list(_entries(link, keys.alerts, end.last_alert)), results.not_ok
    # Where streams were trimmed, their first entries have no counterpart. Both entries of a frame are written in one
    # transaction, but may carry different milliseconds.
    if end.results_trimmed:
        since_ms = results.first_ms + TRANSACTION_MS
        alerts = [alert for alert in alerts if alert.at_ms > since_ms or alert.frame_id in expected]
    if end.alerts_trimmed and alerts:
        kept_since_ms, told = alerts[0].at_ms, {alert.frame_id for alert in alerts}
        expected = {name: at_ms for name, at_ms in expected.items() if at_ms > kept_since_ms or name in told}
    _check_alerts(report, alerts, set(expected))
    return report


def _by_run(spooled: Iterable[Record]) -> defaultdict[RunKey, set[int]]:
    seqs: defaultdict[RunKey, set[int]] = defaultdict(set)
    for record in spooled:
        if record.seq is not None:
            seqs[record.camera_id, record.run_id].add(record.seq)
    return seqs


def _read_results(link: RedisLink, keys: LineKeys, last: str) -> _Results:
    results = _Results()
    for entry in _entries(link, keys.results, last):
        frame = FrameId.parse(entry.frame_id)
        results.seqs[frame.camera_id, frame.run_id][frame.seq] += 1
        results.first_ms = min(results.first_ms, entry.at_ms)
        if entry.verdict != Verdict.OK:
            results.not_ok[entry.frame_id] = entry.at_ms
    return results


def _check_run(
    key: RunKey,
    entries: Counter[int],
    in_spool: set[int],
    ledgers: tuple[Counters, Counters],
    *,
    trimmed: bool,
) -> RunCheck:
    """`ledgers`: what the run's ledger said before and after its results were read."""
    camera_id, run_id = key
    before, after = ledgers
    seqs = set(entries) | in_spool
    check = RunCheck(camera_id, run_id, verdicts=len(seqs), in_spool=len(in_spool))
    check.doubled = [str(FrameId(camera_id, run_id, seq)) for seq, count in sorted(entries.items()) if count > 1]
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


def _ends_of_streams(link: RedisLink, keys: LineKeys, results_kept: int, alerts_kept: int) -> _Ends:
    """Both ends at one moment, since each write adds to both streams at once."""
    newest = ("+", "-", "COUNT", 1)
    *_, (results, alerts, results_length, alerts_length) = link.exchange(
        ["MULTI"],
        ["XREVRANGE", keys.results, *newest],
        ["XREVRANGE", keys.alerts, *newest],
        ["XLEN", keys.results],
        ["XLEN", keys.alerts],
        ["EXEC"],
    )
    return _Ends(
        last_result=results[0][0].decode() if results else "0-0",
        last_alert=alerts[0][0].decode() if alerts else "0-0",
        results_trimmed=results_length >= results_kept,
        alerts_trimmed=alerts_length >= alerts_kept,
    )


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
