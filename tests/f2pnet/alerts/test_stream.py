"""Stream entries: the line's own are read back as they were written, anything else is recognised as foreign."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2pnet.alerts.stream import (
    ALERT_VERDICTS,
    RESULT_VERDICTS,
    ForeignEntry,
    StreamEntry,
    decode,
    encode,
    entries,
    order_of,
)
from f2pnet.foreign import REPORTED, ForeignData
from f2pnet.inspection.result import InspectionResult, Verdict

RUN = "01975f3e-8a3b-7000-8000-000000000000"
Change = Callable[[dict[bytes, bytes]], None]


def fields_of(verdict: Verdict = Verdict.NG, frame_id: str = f"cam1/{RUN}/000007") -> dict[bytes, bytes]:
    result = InspectionResult(frame_id=frame_id, camera_id="cam1", seq=7, verdict=verdict, captured_at_ns=5)
    flat = encode(
        frame_id=frame_id,
        camera_id="cam1",
        part_id="P 7 ä",
        verdict=verdict,
        captured_at_ns=5,
        data=result.to_json(),
    )
    raw = [value if isinstance(value, bytes) else str(value).encode() for value in flat]
    return dict(zip(raw[::2], raw[1::2], strict=True))


def raw(fields: dict[bytes, bytes]) -> tuple[bytes, list[bytes]]:
    return b"17-3", [part for pair in fields.items() for part in pair]


def test_an_entry_is_read_back_as_it_was_written() -> None:
    entry = decode(raw(fields_of()), ALERT_VERDICTS)
    assert isinstance(entry, StreamEntry)
    assert (entry.id, entry.at_ms, entry.frame_id) == ("17-3", 17, f"cam1/{RUN}/000007")
    assert (entry.part_id, entry.verdict, entry.captured_at_ns) == ("P 7 ä", Verdict.NG, 5)
    assert entry.frame is not None
    assert entry.result.seq == entry.frame.seq == 7


def test_a_fault_has_an_event_id_and_no_frame() -> None:
    fault = decode(raw(fields_of(Verdict.FAULT, "cam1/run/camera-1f")), ALERT_VERDICTS)
    assert isinstance(fault, StreamEntry)
    assert fault.frame is None


def test_a_newer_line_may_write_more_fields_and_keys() -> None:
    fields = fields_of()
    data = json.loads(fields[b"data"]) | {"humidity": 0.4}
    entry = decode(raw(fields | {b"data": json.dumps(data).encode(), b"added": b"1"}), ALERT_VERDICTS)
    assert isinstance(entry, StreamEntry)


def put(name: str, value: bytes) -> Change:
    return lambda fields: fields.update({name.encode(): value})


def put_in_data(name: str, value: Any) -> Change:
    def change(fields: dict[bytes, bytes]) -> None:
        fields[b"data"] = json.dumps(json.loads(fields[b"data"]) | {name: value}).encode()

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fields: fields.clear(), "no field verdict"),
        (lambda fields: fields.pop(b"data"), "no field data"),
        (lambda fields: fields.pop(b"part_id"), "no field part_id"),
        (lambda fields: fields.pop(b"captured_at_ns"), "no field captured_at_ns"),
        (put("verdict", b"MAYBE"), "verdict is 'MAYBE'"),
        (put("verdict", b"OK"), "verdict is 'OK'"),
        (put("verdict", b"\xff\x1b[2J"), "verdict is '\\xff\\x1b[2J'"),
        (put("data", b"{}"), "not a result"),
        (put("data", b"\xff\x00"), "not a result"),
        (put("data", b"[" * 100_000), "not a result"),
        (put("data", b'{"verdict": "NG", "score": "high"}'), "not a result"),
        (put("frame_id", b"\xff\xfe"), "frame_id is not UTF-8"),
        (put("part_id", b"\xff\xfe"), "part_id is not UTF-8"),
        (put("camera_id", b"cam2"), "name no frame"),
        (put("frame_id", f"cam1/{RUN}/7".encode()), "name no frame"),
        (put("frame_id", f"cam1/{RUN}/000008".encode()), "different frames"),
        (put("frame_id", b"../../etc/passwd"), "name no frame"),
        (put("captured_at_ns", b"now"), "no time"),
        (put("captured_at_ns", b"-1"), "no time"),
        (put("captured_at_ns", b"9" * 40), "no time"),
        (put_in_data("captured_at_ns", 10**30), "no time"),
        (put_in_data("captured_at_ns", -1), "no time"),
        (put_in_data("verdict", "NOT_INSPECTED"), "different frames or verdicts"),
        (put_in_data("camera_id", "cam2"), "different frames or verdicts"),
        (put_in_data("frame_id", None), "different frames or verdicts"),
    ],
)
def test_what_the_line_did_not_write_is_told_from_it(change: Change, why: str) -> None:
    fields = fields_of()
    change(fields)
    entry = decode(raw(fields), ALERT_VERDICTS)
    assert isinstance(entry, ForeignEntry)
    assert why in entry.why
    assert entry.why.isprintable()


def test_a_fault_is_no_result_and_an_ok_no_alert() -> None:
    assert isinstance(decode(raw(fields_of(Verdict.FAULT, "e")), RESULT_VERDICTS), ForeignEntry)
    assert isinstance(decode(raw(fields_of(Verdict.OK)), RESULT_VERDICTS), StreamEntry)
    assert isinstance(decode((b"1-1", None), RESULT_VERDICTS), ForeignEntry)
    assert isinstance(decode((b"1-1", [b"\xff\xfe", b"1"]), RESULT_VERDICTS), ForeignEntry)


@given(st.dictionaries(st.binary(max_size=12) | st.sampled_from(list(fields_of())), st.binary(max_size=200)))
def test_any_bytes_decode_as_one_or_the_other(fields: dict[bytes, bytes]) -> None:
    assert isinstance(decode(raw(fields), ALERT_VERDICTS), ForeignEntry)
    mixed = decode(raw(fields_of() | fields), ALERT_VERDICTS)
    assert isinstance(mixed, StreamEntry | ForeignEntry)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 20])
def test_paging_gives_each_entry_once_and_in_order(count: int, newest_first: bool) -> None:
    stored = [(f"{n}-0".encode(), raw(fields_of())[1]) for n in range(1, count + 1)]
    asked: list[list[Any]] = []

    def exchange(command: Any) -> list[Any]:
        """A stream of `count` entries, as XRANGE and XREVRANGE answer."""
        name, _, begin, end, _, page = command
        asked.append(list(command))
        low, high = (end, begin) if name == "XREVRANGE" else (begin, end)
        inside = [one for one in stored if _not_below(one[0], low) and _not_above(one[0], high)]
        return [(inside[::-1] if name == "XREVRANGE" else inside)[:page]]

    found = [entry.id for entry in entries(exchange, "s", ALERT_VERDICTS, newest_first=newest_first, page=7)]
    expected = [f"{n}-0" for n in range(1, count + 1)]
    assert found == (expected[::-1] if newest_first else expected)
    assert len(asked) == count // 7 + 1


def _not_below(entry_id: bytes, low: str) -> bool:
    if low == "-":
        return True
    return order_of(entry_id) > order_of(low[1:]) if low.startswith("(") else order_of(entry_id) >= order_of(low)


def _not_above(entry_id: bytes, high: str) -> bool:
    if high == "+":
        return True
    return order_of(entry_id) < order_of(high[1:]) if high.startswith("(") else order_of(entry_id) <= order_of(high)


def test_foreign_data_is_reported_once_on_one_line_and_not_for_ever() -> None:
    told: list[str] = []
    foreign = ForeignData(told.append)
    for _ in range(3):
        foreign.note("results", b"\xff\x1b]0;owned\x07\n", "no\nverdict")
    assert len(told) == 1
    assert told[0].isprintable()
    for number in range(REPORTED + 50):
        foreign.note("results", f"{number}-0", "x" * 10_000)
    assert len(told) == REPORTED + 1
    assert "more than" in told[-1]
    assert max(map(len, told)) < 600
