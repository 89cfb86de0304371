"""Proof, from what stands in Redis, that no verdict and no alert is missing, doubled or changed.

For each camera and run: every frame has one entry in the results, unless the ledger says that it was dropped, or is in
flight of a run that goes on, or it waits in the spool, or retention took it away, which is noted by number. The alerts
are exactly the results that are not OK, each once, in the same order and with the same content; faults are not doubled.
With a hash chain (`publish.chain`) the results are those that the line wrote, in that order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

from f2pnet.alerts.stream import ALERT_VERDICTS, RESULT_VERDICTS, StreamEntry, encode, entries, order_of
from f2pnet.errors import StoreAway
from f2pnet.foreign import ForeignData
from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink, pairs
from pipeline.store.audit.ledgers import read_hashes, read_run_ledger, runs_with_a_ledger
from pipeline.store.audit.liveness import line_works
from pipeline.store.chain import ChainCheck, ChainHead
from pipeline.store.records import Record

TRANSACTION_MS = 100  # longer than any transaction of a batch takes
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
    trimmed: int = 0  # entries that retention took away
    in_flight: int = 0
    is_over: bool = False  # nothing of it can be in flight any more
    unexplained: int = 0  # frames that have no verdict, and that nothing accounts for
    missing_seqs: list[int] = field(default_factory=list)  # some of the frames without verdict
    doubled: list[str] = field(default_factory=list)  # frame ids with more than one entry
    miscounted: str | None = None  # where the ledger counted other verdicts than the store holds

    @property
    def holds(self) -> bool:
        return not self.unexplained and not self.doubled and self.miscounted is None


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
    alerts_changed: list[str] = field(default_factory=list)
    alerts_out_of_order: list[str] = field(default_factory=list)
    chain_length: int | None = None  # None: the line keeps no chain
    chain_newest: str | None = None
    chain_broken: int = 0
    chain_problems: list[str] = field(default_factory=list)  # some of them
    foreign: list[str] = field(default_factory=list)  # what others wrote there; it was passed over

    @property
    def holds(self) -> bool:
        return all(run.holds for run in self.runs) and not (
            self.alerts_missing
            or self.alerts_doubled
            or self.alerts_without_result
            or self.alerts_changed
            or self.alerts_out_of_order
            or self.chain_broken
        )


@dataclass(frozen=True)
class _Ends:
    """Where both streams, and the chain, ended at one moment."""

    last_result: str
    last_alert: str
    chain: dict[bytes, bytes]


@dataclass
class _Results:
    """What the results stream holds."""

    seqs: defaultdict[RunKey, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    verdicts: defaultdict[RunKey, Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))
    not_ok: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Frame id -> when it was stored (ms) and a hash of its content, in the order of the stream."""


@dataclass(frozen=True)
class _Trimmed:
    """What retention noted. `until`: by stream, the id of the first entry that it left."""

    until: dict[bytes, bytes]
    by_run: dict[RunKey, dict[bytes, bytes]]

    def count(self, key: RunKey, name: str) -> int:
        text = self.by_run.get(key, {}).get(name.encode(), b"")
        return int(text) if text.isdigit() else 0

    def until_ms(self, stream: str) -> int:
        """Entries stored before that are gone; -1: none is."""
        try:
            return order_of(self.until[stream.encode()])[0]
        except (KeyError, ValueError):
            return -1


def verify(
    link: RedisLink,
    line: str,
    spooled: Iterable[Record],
    *,
    chain: bool = False,
    works: Callable[[RedisLink, LineKeys], bool] = line_works,
) -> Verification:
    """Check the streams of `line`. `spooled`: what waits in its spool, as read before this call. Raises StoreAway.

    `works`: whether the line runs; asked only where a ledger speaks of frames in flight.
    """
    return _Check(link, LineKeys(line), works).run(spooled, chain=chain)


class _Check:
    """One verification."""

    def __init__(self, link: RedisLink, keys: LineKeys, works: Callable[[RedisLink, LineKeys], bool]) -> None:
        self._link = link
        self._keys = keys
        self._works = works
        self._report = Verification(keys.line)
        self._foreign = ForeignData(self._report.foreign.append)

    def run(self, spooled: Iterable[Record], *, chain: bool) -> Verification:
        in_spool = _by_run(spooled)
        # The line may be running: what a ledger said before must be in the results; what it says after explains holes.
        before = {key: self._ledger(key) for key in runs_with_a_ledger(self._link, self._keys, self._foreign)}
        until = self._trimmed_until()
        end = self._ends()
        following = self._chain_check(end.chain, until) if chain else None
        results = self._read_results(end.last_result, following)
        runs = sorted(set(before) | set(results.seqs) | set(in_spool))
        after = {key: self._ledger(key) for key in runs}
        going_on = self._runs_that_go_on(after)
        alerts = list(self._alerts(end.last_alert))
        trimmed = self._trimmed(runs)
        for key in runs:
            ledgers = before.get(key, {}), after[key]
            self._report.runs.append(_check_run(key, results, in_spool[key], ledgers, trimmed, key in going_on))
        _check_alerts(self._report, alerts, results, trimmed, exact=trimmed.until == until)
        if following is not None:
            self._end_chain(following, end.chain)
        return self._report

    def _ledger(self, key: RunKey) -> Counters:
        return read_run_ledger(self._link, self._keys, key, self._foreign)

    def _trimmed_until(self) -> dict[bytes, bytes]:
        return read_hashes(self._link, [self._keys.trimmed], self._foreign)[0]

    def _trimmed(self, runs: list[RunKey]) -> _Trimmed:
        names = [self._keys.run_trimmed(*key) for key in runs]
        notes = read_hashes(self._link, names, self._foreign) if names else []
        return _Trimmed(self._trimmed_until(), dict(zip(runs, notes, strict=True)))

    def _ends(self) -> _Ends:
        """At one moment, since each write adds to both streams and to the chain at once."""
        newest = ("+", "-", "COUNT", 1)
        *_, (results, alerts, chain) = self._link.exchange(
            ["MULTI"],
            ["XREVRANGE", self._keys.results, *newest],
            ["XREVRANGE", self._keys.alerts, *newest],
            ["HGETALL", self._keys.chain],
            ["EXEC"],
        )
        for reply in (results, alerts):
            if isinstance(reply, Exception):
                raise StoreAway(f"Redis at {self._link.address}: results and alerts are not both streams: {reply}")
        return _Ends(
            last_result=results[0][0].decode() if results else "0-0",
            last_alert=alerts[0][0].decode() if alerts else "0-0",
            chain={} if isinstance(chain, Exception) else pairs(chain),
        )

    def _read_results(self, last: str, following: ChainCheck | None) -> _Results:
        results = _Results()
        for entry in self._ours(entries(self._link.exchange, self._keys.results, RESULT_VERDICTS, last=last)):
            if entry.frame is None:
                continue
            if following is not None:
                following.follow(entry, order_of(entry.id), _sealed_fields(entry))
            key = entry.frame.camera_id, entry.frame.run_id
            results.seqs[key][entry.frame.seq] += 1
            results.verdicts[key][entry.verdict] += 1
            if entry.verdict is not Verdict.OK:
                results.not_ok.setdefault(entry.frame_id, (entry.at_ms, _content(entry)))
        return results

    def _alerts(self, last: str) -> Iterator[StreamEntry]:
        return self._ours(entries(self._link.exchange, self._keys.alerts, ALERT_VERDICTS, last=last), self._keys.alerts)

    def _ours(self, found: Iterable[StreamEntry | object], stream: str = "") -> Iterator[StreamEntry]:
        for entry in found:
            if isinstance(entry, StreamEntry):
                yield entry
            else:
                where, _, why = str(entry).partition(": ")
                self._foreign.note(stream or self._keys.results, where, why)

    def _runs_that_go_on(self, ledgers: dict[RunKey, Counters]) -> set[RunKey]:
        """Runs whose frames may still be in flight: a camera's present one, while the line works."""
        open_runs = {key for key, ledger in ledgers.items() if ledger.get("in_flight", 0)}
        if not open_runs or not self._works(self._link, self._keys):
            return set()
        return {key for key in open_runs if self._present_run(key[0]) == key[1].encode()}

    def _present_run(self, camera_id: str) -> bytes | None:
        (run_id,) = self._link.exchange(["HGET", self._keys.ledger(camera_id), "run_id"])
        return run_id if isinstance(run_id, bytes) else None

    def _chain_check(self, noted: dict[bytes, bytes], until: dict[bytes, bytes]) -> ChainCheck:
        try:
            begun_behind = order_of(noted.get(b"begun_behind", b"0-0"))
        except ValueError:
            begun_behind = (0, 0)
        return ChainCheck(ChainHead.parse(until.get(b"chain")) or ChainHead(), begun_behind)

    def _end_chain(self, following: ChainCheck, noted: dict[bytes, bytes]) -> None:
        newest = ChainHead.parse(noted.get(b"head")) or ChainHead()
        following.end(newest)
        self._report.chain_length, self._report.chain_newest = following.length, newest.as_text()
        self._report.chain_broken, self._report.chain_problems = following.broken, following.problems


def _by_run(spooled: Iterable[Record]) -> defaultdict[RunKey, dict[int, Verdict]]:
    waiting: defaultdict[RunKey, dict[int, Verdict]] = defaultdict(dict)
    for record in spooled:
        if record.seq is not None:
            waiting[record.camera_id, record.run_id].setdefault(record.seq, record.verdict)
    return waiting


def _sealed_fields(entry: StreamEntry) -> list[str | bytes | int | float]:
    return encode(
        frame_id=entry.frame_id,
        camera_id=entry.camera_id,
        part_id=entry.part_id,
        verdict=entry.verdict,
        captured_at_ns=entry.captured_at_ns,
        data=entry.data,
    )


def _content(entry: StreamEntry) -> bytes:
    return blake2b(
        repr((entry.part_id, entry.verdict.value, entry.captured_at_ns)).encode() + entry.data, digest_size=12
    ).digest()


def _check_run(
    key: RunKey,
    results: _Results,
    in_spool: dict[int, Verdict],
    ledgers: tuple[Counters, Counters],
    trimmed: _Trimmed,
    goes_on: bool,
) -> RunCheck:
    """`ledgers`: what the run's ledger said before and after its results were read."""
    camera_id, run_id = key
    before, after = ledgers
    seen = results.seqs[key]
    seqs = set(seen) | set(in_spool)
    check = RunCheck(camera_id, run_id, verdicts=len(seqs), in_spool=len(in_spool), is_over=not goes_on)
    check.doubled = [str(FrameId(*key, seq)) for seq, count in sorted(seen.items()) if count > 1]
    check.dropped, check.trimmed = _dropped(after), trimmed.count(key, "results")
    check.in_flight = max(before.get("in_flight", 0), after.get("in_flight", 0))
    excused = check.dropped + check.trimmed + (check.in_flight if goes_on else 0)
    length = max(seqs, default=-1) + 1
    check.unexplained = max(0, length - len(seqs) - excused)
    if before:
        in_flight = before.get("in_flight", 0) if goes_on else 0
        settled = before["captured"] - _dropped(before) - in_flight
        check.unexplained = max(check.unexplained, settled - len(seqs) - check.trimmed)
    holes = (seq for seq in range(length) if seq not in seqs)
    check.missing_seqs = list(islice(holes, check.trimmed, check.trimmed + EXAMPLES))
    if check.holds and before == after:
        check.miscounted = _miscounted(after, results.verdicts[key], in_spool, seen, trimmed, key)
    return check


def _miscounted(
    ledger: Counters,
    stored: Counter[Verdict],
    in_spool: dict[int, Verdict],
    seen: Counter[int],
    trimmed: _Trimmed,
    key: RunKey,
) -> str | None:
    """Where ledger and store speak of equally many verdicts, they must be of the same kinds."""
    if not {"ok", "ng"} <= set(ledger):
        return None
    found = stored + Counter(verdict for seq, verdict in in_spool.items() if seq not in seen)
    rejected, gone = trimmed.count(key, "not_ok"), trimmed.count(key, "results")
    counted = ledger["ok"], ledger["captured"] - _dropped(ledger) - ledger.get("in_flight", 0) - ledger["ok"]
    held = found[Verdict.OK] + gone - rejected, found.total() - found[Verdict.OK] + rejected
    if sum(counted) != sum(held) or counted == held:
        return None
    return f"the ledger counts {counted[0]} OK and {counted[1]} others, the store {held[0]} and {held[1]}"


def _check_alerts(
    report: Verification, alerts: list[StreamEntry], results: _Results, trimmed: _Trimmed, *, exact: bool
) -> None:
    """`exact`: nothing was trimmed while the streams were read, so that counts can be compared."""
    of_frames = [alert for alert in alerts if alert.frame is not None]
    found = Counter(alert.frame_id for alert in of_frames)
    faults = Counter(alert.frame_id for alert in alerts if alert.frame is None)
    report.alerts, report.faults = found.total(), faults.total()
    report.alerts_doubled = sorted(name for name, count in (found + faults).items() if count > 1)
    # Where a stream was trimmed, the first entries of the other one have no counterpart. Both entries of a frame are
    # written in one transaction, but may carry different milliseconds.
    alerts_until_ms, results_until_ms = trimmed.until_ms("alerts"), trimmed.until_ms("results")
    missing = [name for name in results.not_ok if name not in found]
    unfounded = [alert for alert in of_frames if alert.frame_id not in results.not_ok]
    certain = [name for name in missing if results.not_ok[name][0] > alerts_until_ms + TRANSACTION_MS]
    report.alerts_missing = sorted(certain)
    report.alerts_without_result = sorted(
        {alert.frame_id for alert in unfounded if alert.at_ms > results_until_ms + TRANSACTION_MS}
    )
    if exact and not report.alerts_doubled:
        for key, excess in _excess_of_alerts(of_frames, results, trimmed).items():
            of_run = FrameId(*key, 0)
            if excess < 0 and not certain:
                early = [name for name in missing if _is_of(name, key)]
                report.alerts_missing += sorted(early)[excess:] or [f"{-excess} of {of_run.camera_id}/{of_run.run_id}"]
            elif excess > 0 and not report.alerts_without_result:
                early = [alert.frame_id for alert in unfounded if _is_of(alert.frame_id, key)]
                report.alerts_without_result += sorted(early)[-excess:]
    report.alerts_changed = sorted(
        {
            alert.frame_id
            for alert in of_frames
            if alert.frame_id in results.not_ok and results.not_ok[alert.frame_id][1] != _content(alert)
        }
    )
    report.alerts_out_of_order = _out_of_order(of_frames, results)


def _excess_of_alerts(of_frames: list[StreamEntry], results: _Results, trimmed: _Trimmed) -> dict[RunKey, int]:
    """By run, how many alerts there are more than rejected frames, those that were trimmed counted in."""
    excess: Counter[RunKey] = Counter()
    for alert in of_frames:
        if alert.frame is not None:
            excess[alert.frame.camera_id, alert.frame.run_id] += 1
    for name in results.not_ok:
        frame = FrameId.parse(name)
        excess[frame.camera_id, frame.run_id] -= 1
    for key in {*excess, *trimmed.by_run}:
        excess[key] += trimmed.count(key, "alerts") - trimmed.count(key, "not_ok")
    return {key: count for key, count in excess.items() if count}


def _out_of_order(of_frames: list[StreamEntry], results: _Results) -> list[str]:
    """Alerts that stand elsewhere than their results do: both streams are written in one order."""
    order = {name: number for number, name in enumerate(results.not_ok)}
    wrong, latest = [], -1
    for alert in of_frames:
        number = order.get(alert.frame_id, latest)
        if number < latest:
            wrong.append(alert.frame_id)
        latest = max(latest, number)
    return wrong


def _is_of(frame_id: str, key: RunKey) -> bool:
    frame = FrameId.parse(frame_id)
    return (frame.camera_id, frame.run_id) == key


def _dropped(ledger: Counters) -> int:
    return sum(count for name, count in ledger.items() if name.startswith("dropped:"))
