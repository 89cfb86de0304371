"""Keeping streams to their length, and noting what was taken away, so that it is not mistaken for what is missing.

The oldest entries go, a batch at a time. In the same transaction stands, for each camera and run, how many of its
entries went, and up to which id: `f2p alerts verify` counts with both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from f2pnet.alerts.stream import ALERT_VERDICTS, RESULT_VERDICTS, ForeignEntry, StreamEntry, decode
from f2pnet.inspection.result import Verdict
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import Command, RedisLink

AT_ONCE = 2_000
SLACK_SHARE = 0.02
MOST_SLACK = 1_000
LEAST_SLACK = 16
NOTES_KEPT_S = 7 * 24 * 3600  # as long as the ledgers of runs


@dataclass(frozen=True)
class _Kept:
    """One stream and its length. `name` is how notes speak of it."""

    name: str
    key: str
    length: int

    @property
    def slack(self) -> int:
        """How many more entries may stand there, so that trimming comes in batches."""
        return max(LEAST_SLACK, min(MOST_SLACK, int(self.length * SLACK_SHARE)))


class Retention:
    """Trims one line's streams. For one thread."""

    def __init__(self, link: RedisLink, keys: LineKeys, *, results_kept: int, alerts_kept: int) -> None:
        self.alerts_trimmed = False  # by this writer
        self._link = link
        self._keys = keys
        self._results = _Kept("results", keys.results, results_kept)
        self._alerts = _Kept("alerts", keys.alerts, alerts_kept)

    def trim(self, results_length: int, alerts_length: int) -> None:
        """Trim what is longer than it may be, by at most one batch for each stream. Raises StoreAway."""
        if results_length > self._results.length + self._results.slack:
            self._trim(self._results, results_length)
        if alerts_length > self._alerts.length + self._alerts.slack:
            self.alerts_trimmed = True
            self._trim(self._alerts, alerts_length)

    def _trim(self, kept: _Kept, length: int) -> None:
        surplus = min(length - kept.length, AT_ONCE)
        _, page = self._link.exchange(
            ["WATCH", self._keys.trimmed], ["XRANGE", kept.key, "-", "+", "COUNT", surplus + 1]
        )
        if len(page) < 2:
            self._link.exchange(["UNWATCH"])
            return
        *leaving, first_kept = page
        verdicts = RESULT_VERDICTS if kept is self._results else ALERT_VERDICTS
        decoded = [decode(raw, verdicts) for raw in leaving]
        ours = [entry for entry in decoded if not isinstance(entry, ForeignEntry)]
        commands: list[Command] = [["MULTI"], *self._notes(kept, ours)]
        commands.append(["HSET", self._keys.trimmed, kept.name, first_kept[0]])
        if chained := [entry.chain for entry in ours if entry.chain is not None]:
            commands.append(["HSET", self._keys.trimmed, "chain", chained[-1]])
        commands += [["XTRIM", kept.key, "MINID", first_kept[0]], ["EXEC"]]
        self._link.exchange(*commands)  # another writer's transaction came first: then it has trimmed

    def _notes(self, kept: _Kept, leaving: list[StreamEntry]) -> list[Command]:
        counts: Counter[tuple[str, str, str]] = Counter()
        for entry in leaving:
            if entry.frame is not None:
                counts[entry.frame.camera_id, entry.frame.run_id, kept.name] += 1
                if kept is self._results and entry.verdict is not Verdict.OK:
                    counts[entry.frame.camera_id, entry.frame.run_id, "not_ok"] += 1
        notes: list[Command] = []
        for (camera_id, run_id, name), count in counts.items():
            key = self._keys.run_trimmed(camera_id, run_id)
            notes += [["HINCRBY", key, name, count], ["EXPIRE", key, NOTES_KEPT_S]]
        return notes
