"""Entries of a line's result and alert streams: how one is written, read back, and how a stream is paged through.

Other programs may write into the same Redis. An entry is the line's own when its fields are complete and agree with the
JSON that they stand beside; anything else decodes as a `ForeignEntry`, which readers pass over and report once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from typing import Any

import msgspec

from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.redis.link import Argument, Command, pairs
from f2pnet.text import printable

PAGE = 1000
LONGEST_EVENT_ID = 512
LATEST_NS = 2**63 - 1  # ns since the epoch: the year 2262
RESULT_VERDICTS = frozenset({Verdict.OK, Verdict.NG, Verdict.NOT_INSPECTED})
"""What the stream of results holds."""
ALERT_VERDICTS = frozenset({Verdict.NG, Verdict.NOT_INSPECTED, Verdict.FAULT})
"""What the stream of alerts holds."""
_VERDICTS = {verdict.value.encode(): verdict for verdict in Verdict}
_DECODER = msgspec.json.Decoder(InspectionResult)

RawEntry = tuple[bytes, list[bytes] | None]
"""Id and alternating field names and values, as Redis answers; no fields where the entry was trimmed meanwhile."""

Exchange = Callable[[Command], list[Any]]
"""`RedisLink.exchange`, or something that answers like it."""


@dataclass(frozen=True, slots=True)
class EntryFields:
    """What an entry of a stream and an alert have in common."""

    id: str
    """Place in the stream, which `since` takes; "" before it was written."""
    frame_id: str
    """Of a fault: its event id."""
    camera_id: str
    """"" for a fault that concerns no camera."""
    part_id: str | None
    """The part that the frame shows; "" in the stream where none is known."""
    verdict: Verdict
    """What the line says about the frame; of an alert NG, NOT_INSPECTED or FAULT."""
    captured_at_ns: int
    """UTC, ns since the epoch."""
    data: bytes
    """The result as JSON."""


@dataclass(frozen=True, slots=True)
class StreamEntry(EntryFields):
    """One verdict or one fault, as it stands in a stream."""

    result: InspectionResult = field(compare=False, repr=False)
    frame: FrameId | None
    """None for a fault."""
    chain: bytes | None = None
    """Link of the hash chain, where the line keeps one."""

    @property
    def at_ms(self) -> int:
        """When the store took it, in ms since the epoch."""
        return order_of(self.id)[0]


@dataclass(frozen=True, slots=True)
class ForeignEntry:
    """An entry that is not the line's."""

    id: str
    why: str

    def __str__(self) -> str:
        return f"{self.id}: {self.why}"


class _NotOursError(ValueError):
    """Says in a few words what an entry lacks."""


def encode(
    *, frame_id: str, camera_id: str, part_id: str | None, verdict: Verdict, captured_at_ns: int, data: bytes
) -> list[Argument]:
    """Field names and values of an entry, as XADD takes them."""
    fields: list[Argument] = ["frame_id", frame_id, "camera_id", camera_id, "part_id", part_id or ""]
    return [*fields, "verdict", verdict.value, "captured_at_ns", captured_at_ns, "data", data]


def decode(raw: RawEntry, verdicts: Set[Verdict]) -> StreamEntry | ForeignEntry:
    """Read an entry back; `verdicts` are those that its stream holds."""
    name, flat = raw
    entry_id = name.decode()
    try:
        return _decoded(entry_id, pairs(flat or []), verdicts)
    except _NotOursError as error:
        return ForeignEntry(entry_id, str(error))


def entries(
    exchange: Exchange,
    stream: str,
    verdicts: Set[Verdict],
    *,
    first: str | int = "-",
    last: str | int = "+",
    newest_first: bool = False,
    page: int = PAGE,
) -> Iterator[StreamEntry | ForeignEntry]:
    """Every entry between two ids (a number means a time in ms; `(ID` excludes it), read page by page."""
    found = raw_entries(exchange, stream, first=first, last=last, newest_first=newest_first, page=page)
    return (decode(raw, verdicts) for raw in found)


def raw_entries(
    exchange: Exchange,
    stream: str,
    *,
    first: str | int = "-",
    last: str | int = "+",
    newest_first: bool = False,
    page: int = PAGE,
) -> Iterator[RawEntry]:
    """As `entries`, undecoded."""
    command = "XREVRANGE" if newest_first else "XRANGE"
    begin, end = (last, first) if newest_first else (first, last)
    while True:
        (found,) = exchange([command, stream, begin, end, "COUNT", page])
        yield from found
        if len(found) < page:
            return
        begin = f"({found[-1][0].decode()}"


def newest(exchange: Exchange, stream: str) -> str | None:
    """Id of the newest entry, whoever wrote it; None in an empty stream."""
    (found,) = exchange(["XREVRANGE", stream, "+", "-", "COUNT", 1])
    return found[0][0].decode() if found else None


def order_of(entry_id: str | bytes) -> tuple[int, int]:
    """(ms since the epoch, number): what ids sort by."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    ms, _, number = text.partition("-")
    return int(ms), int(number or 0)


def _decoded(entry_id: str, fields: dict[bytes, bytes], verdicts: Set[Verdict]) -> StreamEntry:
    stated = _field(fields, "verdict")
    verdict = _VERDICTS.get(stated)
    if verdict not in verdicts or verdict is None:
        raise _NotOursError(f"verdict is '{printable(stated[:32].decode(errors='backslashreplace'))}'")
    data = _field(fields, "data")
    try:
        result = _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _NotOursError(f"data is not a result: {printable(error)}") from error
    frame_id, camera_id, part_id = (_text(fields, name) for name in ("frame_id", "camera_id", "part_id"))
    frame = FrameId.parse_or_none(frame_id)
    if verdict is Verdict.FAULT:
        frame = None
        if not 0 < len(frame_id) <= LONGEST_EVENT_ID:
            raise _NotOursError(f"the event id has {len(frame_id)} characters")
    elif frame is None or str(frame) != frame_id or frame.camera_id != camera_id:
        raise _NotOursError("frame_id and camera_id name no frame")
    if (result.frame_id, result.verdict, result.camera_id or "") != (frame_id, verdict, camera_id):
        raise _NotOursError("its fields and its data speak of different frames or verdicts")
    captured_at_ns = _nanoseconds(fields)
    if not 0 <= (result.captured_at_ns or 0) <= LATEST_NS:
        raise _NotOursError("captured_at_ns of its data is no time")
    return StreamEntry(
        id=entry_id,
        frame_id=frame_id,
        camera_id=camera_id,
        part_id=part_id or None,
        verdict=verdict,
        captured_at_ns=captured_at_ns,
        data=data,
        result=result,
        frame=frame,
        chain=fields.get(b"chain"),
    )


def _field(fields: dict[bytes, bytes], name: str) -> bytes:
    value = fields.get(name.encode())
    if value is None:
        raise _NotOursError(f"it has no field {name}")
    return value


def _text(fields: dict[bytes, bytes], name: str) -> str:
    try:
        return _field(fields, name).decode()
    except UnicodeDecodeError as error:
        raise _NotOursError(f"{name} is not UTF-8") from error


def _nanoseconds(fields: dict[bytes, bytes]) -> int:
    text = _field(fields, "captured_at_ns")
    if not (text.isdigit() and len(text) <= len(str(LATEST_NS)) and int(text) <= LATEST_NS):
        raise _NotOursError("captured_at_ns is no time")
    return int(text)
