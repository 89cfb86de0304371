"""The ledgers of runs as they stand in the store, read past what others wrote there."""

from __future__ import annotations

from collections.abc import Mapping

from f2pnet.foreign import ForeignData
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import Command, ErrorReply, RedisLink, pairs
from pipeline.frames.ledger import parse_counters

SCANNED_AT_ONCE = 1000

RunKey = tuple[str, str]
"""Camera and run."""


def runs_with_a_ledger(link: RedisLink, keys: LineKeys, foreign: ForeignData) -> list[RunKey]:
    """Cameras and runs whose ledgers the store keeps. Raises StoreAway."""
    found: set[RunKey] = set()
    cursor = "0"
    while True:
        pattern = _literally(keys.run_ledgers) + "*:*"
        (reply,) = link.exchange(["SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_AT_ONCE])
        for name in reply[1]:
            key = keys.parse_run_ledger(name)
            if key is None:
                foreign.note("store", name, "it is not named as a ledger is: ledger:<camera>:<run>")
            else:
                found.add(key)
        cursor = reply[0].decode()
        if cursor == "0":
            return sorted(found)


def read_run_ledger(link: RedisLink, keys: LineKeys, key: RunKey, foreign: ForeignData) -> dict[str, int]:
    """Counters of a run; empty where the store has no ledger of it. Raises StoreAway."""
    name = keys.run_ledger(*key)
    return counters_in(read_hashes(link, [name], foreign)[0], name, foreign)


def counters_in(fields: Mapping[bytes, bytes], name: str, foreign: ForeignData) -> dict[str, int]:
    """Counters in the fields of the hash of that name; none where it is no ledger."""
    counters, strange = parse_counters(fields)
    for field in strange:
        foreign.note(name, field, "no counter of a ledger")
    if fields and not counters:
        foreign.note("store", name, "a ledger counts what was captured, this one does not")
    return counters


def read_hashes(link: RedisLink, names: list[str], foreign: ForeignData) -> list[dict[bytes, bytes]]:
    """Fields of each hash; none of a key that holds something else, which is noted. Raises StoreAway."""
    questions: list[Command] = [["HGETALL", name] for name in names]
    try:
        return [pairs(flat) for flat in link.exchange(*questions)]
    except ErrorReply as error:
        if error.code != "WRONGTYPE":
            raise
        if len(names) > 1:
            return [read_hashes(link, [name], foreign)[0] for name in names]
        foreign.note("store", names[0], "the line keeps a hash there, and this is something else")
        return [{}]


def _literally(text: str) -> str:
    return "".join("\\" + letter if letter in "[]*?\\^-" else letter for letter in text)
