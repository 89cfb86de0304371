"""The hash chain over the results, and `verify` against somebody who writes in the store."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from f2pnet.inspection.result import Verdict
from f2pnet.redis.link import RedisLink
from pipeline.store.audit.verify import Verification, verify
from pipeline.store.chain import LENGTH, ChainHead, next_link
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore

MakeFrame = Callable[..., Record]
RESULTS, ALERTS = "f2p:{demo}:results", "f2p:{demo}:alerts"
Entries = list[tuple[str, dict[str, str]]]
FIRST, SECOND = "0198c0de-run", "0198c0df-run"
FRAMES = 60
IN_FLIGHT = 7


def check(server: EmbeddedRedis, *, chain: bool) -> Verification:
    link = RedisLink(server.url)
    try:
        return verify(link, "demo", (), chain=chain, works=lambda link, keys: False)
    finally:
        link.close()


def of_run(record: Record, run_id: str) -> Record:
    frame_id = record.frame_id.replace(FIRST, run_id)
    return Record(
        frame_id=frame_id,
        camera_id=record.camera_id,
        run_id=run_id,
        seq=record.seq,
        verdict=record.verdict,
        captured_at_ns=record.captured_at_ns,
        data=record.data.replace(FIRST.encode(), run_id.encode()),
    )


def two_runs(server: EmbeddedRedis, frame: MakeFrame, *, chain: bool, kept: int = 1_000_000) -> None:
    """A run that is killed with frames in flight, the start after it that reports them, and a run of its own."""
    for run_id in (FIRST, SECOND):
        store = RedisStore(server.url, "demo", chain=chain, results_kept=kept, alerts_kept=kept)
        if run_id == SECOND:
            left = [frame(seq, Verdict.NOT_INSPECTED) for seq in range(FRAMES - IN_FLIGHT, FRAMES)]
            store.write(left)
            closed = {"captured": FRAMES, "ok": 35, "ng": 18, "in_flight": 0, "not_inspected:line_restarted": IN_FLIGHT}
            store.write_states({("cam1", FIRST): closed}, {})
        judged = range(FRAMES - IN_FLIGHT if run_id == FIRST else FRAMES)
        for start in range(0, len(judged), 10):
            some = [frame(seq, Verdict.NG if seq % 3 == 0 else Verdict.OK) for seq in judged[start : start + 10]]
            store.write([of_run(record, run_id) for record in some])
        ng = sum(seq % 3 == 0 for seq in judged)
        in_flight = FRAMES - len(judged)
        ledger = {"captured": FRAMES, "ok": len(judged) - ng, "ng": ng, "in_flight": in_flight}
        store.write_states({("cam1", run_id): ledger}, {})
        store.close()


@dataclass(frozen=True)
class Manipulation:
    """What somebody did to one stream, and whether the check without a chain promises to find it."""

    kind: str
    stream: str
    promised: bool


def manipulate(reader: redis.Redis, chance: random.Random) -> Manipulation:
    kind = chance.choice(["deleted", "doubled", "changed", "re-ordered"])
    stream = chance.choice([RESULTS, RESULTS, ALERTS])
    entries: Entries = reader.xrange(stream)
    place = chance.randrange(len(entries))
    promised = True
    if kind == "deleted":
        reader.xdel(stream, entries[place][0])
    elif kind == "doubled":
        reader.xadd(stream, entries[place][1])
    elif kind == "changed":
        fields = entries[place][1]
        entries[place] = entries[place][0], fields | {"captured_at_ns": str(int(fields["captured_at_ns"]) + 1)}
        promised = stream == ALERTS or fields["verdict"] != "OK"
        write_anew(reader, stream, entries)
    else:
        place = chance.randrange(len(entries) - 1)
        (first, a), (second, b) = entries[place : place + 2]
        entries[place : place + 2] = [(first, b), (second, a)]
        promised = "OK" not in (a["verdict"], b["verdict"])
        write_anew(reader, stream, entries)
    return Manipulation(kind, stream, promised)


def write_anew(reader: redis.Redis, stream: str, entries: Entries) -> None:
    reader.delete(stream)
    for entry_id, fields in entries:
        reader.xadd(stream, fields, id=entry_id)


@pytest.mark.parametrize("chain", [True, False])
def test_fifty_manipulations_are_found(
    server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame, chain: bool
) -> None:
    two_runs(server, frame, chain=chain)
    assert check(server, chain=chain).holds
    whole = {stream: reader.xrange(stream) for stream in (RESULTS, ALERTS)}
    chance = random.Random(20261126)
    found: list[tuple[Manipulation, bool]] = []
    for _ in range(50):
        done = manipulate(reader, chance)
        found.append((done, not check(server, chain=chain).holds))
        for stream, entries in whole.items():
            write_anew(reader, stream, entries)
    assert check(server, chain=chain).holds
    assert {done.kind for done, _ in found} == {"deleted", "doubled", "changed", "re-ordered"}
    missed = [done for done, seen in found if not seen and (chain or done.promised)]
    assert not missed
    if not chain:
        assert any(not done.promised for done, _ in found)


def test_a_chain_goes_on_over_trimming_and_finds_what_goes_at_either_end(
    server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame
) -> None:
    two_runs(server, frame, chain=True, kept=50)
    assert reader.xlen(RESULTS) < 80
    report = check(server, chain=True)
    assert report.holds, report
    assert report.chain_length == reader.xlen(RESULTS)
    assert (report.chain_newest or "").startswith(f"{2 * FRAMES}:")
    entries = reader.xrange(RESULTS)
    for place in (0, -1):
        reader.xdel(RESULTS, entries[place][0])
        assert check(server, chain=True).chain_broken == 1
        write_anew(reader, RESULTS, entries)
    reader.delete(RESULTS)
    assert f"the newest {len(entries)} entries are gone" in check(server, chain=True).chain_problems


def test_entries_from_before_the_chain_are_no_part_of_it_but_others_may_not_add_any(
    server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame
) -> None:
    RedisStore(server.url, "demo").write([frame(seq) for seq in range(5)])
    RedisStore(server.url, "demo", chain=True).write([frame(seq) for seq in range(5, 9)])
    report = check(server, chain=True)
    assert report.holds
    assert report.chain_length == 4
    RedisStore(server.url, "demo").write([frame(9)])  # another program, or a line that keeps no chain
    assert "has no link" in check(server, chain=True).chain_problems[0]


def test_two_writers_make_one_chain(server: EmbeddedRedis, frame: MakeFrame) -> None:
    one, two = (RedisStore(server.url, "demo", chain=True) for _ in range(2))
    for seq in range(0, 20, 2):
        one.write([frame(seq)])
        two.write([frame(seq + 1), frame(seq)])
    report = check(server, chain=True)
    assert report.holds
    assert report.chain_length == 20


def test_a_refused_transaction_leaves_neither_marks_nor_links(
    server: EmbeddedRedis, reader: redis.Redis, frame: MakeFrame
) -> None:
    """Somebody uses up the last id of the alert stream: verdicts can't be added, and must not count as known."""
    store = RedisStore(server.url, "demo", chain=True)
    store.write([frame(0)])
    reader.xadd(ALERTS, {"x": "y"}, id="18446744073709551615-18446744073709551615")
    for _ in range(2):
        with pytest.raises(Exception, match="refuses verdicts"):
            store.write([frame(1), frame(2, Verdict.NG)])
    assert [fields["frame_id"] for _, fields in reader.xrange(RESULTS)] == [frame(0).frame_id]
    reader.delete(ALERTS)
    stored = store.write([frame(1), frame(2, Verdict.NG)])
    assert [outcome.new for outcome in stored] == [True, True]
    assert check(server, chain=True).holds


def test_a_link_is_the_hash_of_the_one_before_and_of_every_field() -> None:
    start = ChainHead()
    assert (start.number, len(start.digest)) == (0, LENGTH)
    first = next_link(start, ["a", "bc"])
    others: list[Any] = [["ab", "c"], ["a", "bc", ""], ["a", b"bd"], ["bc", "a"]]
    assert len({first, *(next_link(start, fields) for fields in others)}) == 5
    assert next_link(first, ["a", "bc"]) != first
    assert ChainHead.parse(first.as_text().encode()) == first
    for text in (None, b"", b"1", b"1:00", b"x:" + b"00" * LENGTH, b"\xff:\xfe", b"-1:" + b"00" * LENGTH):
        assert ChainHead.parse(text) is None
