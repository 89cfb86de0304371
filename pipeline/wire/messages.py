"""What workers say to one another. Every message is a frozen, typed class; on the wire a version byte and msgpack.

    inference -> ingest   Ready, Returned, Bye
    ingest -> inference   Ping, Lease (+ the pixels as a second part, when the worker shares no memory with the camera)
    inference -> publish  Verdicts (+ a JPEG for each result that carries one), Fault, Heartbeat
    ingest -> publish     Verdicts (of frames that were not inspected), LedgerReport, Fault, Heartbeat
    publish -> ingest     Acks, NotStored
    publish -> everybody  FaultAcks

All of them may arrive twice or not at all: they state how things are, not what changed since the last one.
"""

from __future__ import annotations

import msgspec

from f2pnet.errors import F2pError
from f2pnet.inspection.result import InspectionResult, SourceRef, Verdict
from pipeline.frames.ledger import Ledger

WIRE_VERSION = 4


class BadMessage(F2pError):
    """Bytes that are no message of this version; `data` holds them."""

    def __init__(self, reason: str, data: bytes) -> None:
        super().__init__(f"not a message of version {WIRE_VERSION} ({len(data)} bytes): {reason}")
        self.data = data


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An inference worker asks a camera for work; sent when it has room, and as a sign of life."""

    worker: str
    incarnation: str  # differs for every start of the worker: leases of an older one are void
    epoch: str  # of the ingest worker that `received` refers to; "" before the first lease
    received: int  # highest lease number that arrived
    holding: list[int]  # numbers of this epoch's leases that it holds now; the others up to `received` are answered
    capacity: int  # leases it will hold at once
    inline: bool  # shares no memory with the camera: wants pixels in the message
    at_mono_ns: int  # the worker's clock; another one than the camera's when they share no memory
    frame_ms: float  # how long its engine takes for one frame alone
    batch_ms: float  # how long its engine takes for a full batch
    backlog_ms: float  # how long it needs for all that it holds now


class Returned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Leases that an inference worker cannot work on: it does not get at the pixels. They go to others, or wait."""

    worker: str
    incarnation: str
    epoch: str
    numbers: list[int]  # of the leases


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Whether a worker's connection still stands is asked by sending it this; nobody answers."""


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An inference worker leaves; what it still held goes to others."""

    worker: str
    incarnation: str


class Lease(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One frame, lent to one worker. `captured_mono_ns` is of the monotonic clock of the camera's host."""

    epoch: str
    number: int  # counts the leases to one worker, from 1
    camera_id: str
    frame_id: str
    seq: int
    part_id: str | None
    source_ref: SourceRef | None = None
    ring: str
    ring_id: str  # of the file: a ring may be replaced by another one of its name
    slot: int
    generation: int
    shape: list[int]  # (H, W) or (H, W, 3)
    captured_at_ns: int
    captured_mono_ns: int
    deadline_mono_ns: int | None  # in the worker's clock
    seal: bytes = b""  # of a worker behind a key of its own: comes back with the verdict


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A result on its way to the store, with the stamps that its waterfall still needs."""

    result: InspectionResult
    captured_mono_ns: int
    judged_mono_ns: int
    has_picture: bool = False
    seal: bytes = b""  # of the lease


class Verdicts(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Results to be made durable. One part follows for each result with `has_picture`, in their order."""

    items: list[Judged]


class Acks(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Verdicts that are durable: what stands in the store for each of these frames of one run."""

    run_id: str
    stored: list[tuple[int, Verdict, str | None]]  # (seq, verdict, reason)


class NotStored(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Verdicts that arrived and can be made durable nowhere now: they have to be made again."""

    run_id: str
    seqs: list[int]


class LedgerReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A camera's counters; a lower `version` never replaces a higher one of the same run."""

    camera_id: str
    run_id: str
    version: int
    ledger: Ledger
    current: bool = True  # False: of a run that is over


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something an operator must know that is not the verdict of a frame."""

    event_id: str
    at_ns: int
    source: str  # worker that says so
    camera_id: str | None
    kind: str
    """Such as "camera", "configuration", "engine", "ledger", "line", "overload", "ring", "source", "spool"."""
    text: str


class FaultAcks(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Faults that are durable: nobody needs to send them again."""

    event_ids: list[str]


class LatencyCounts(msgspec.Struct, frozen=True):
    """A latency histogram on the wire: (bucket, count) pairs, the exact maximum and the exact sum."""

    buckets: list[tuple[int, int]]
    max_ms: float
    sum_ms: float = 0.0


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """State of one worker; what the store's workers hash and the supervisor's table show."""

    name: str
    role: str  # "ingest", "infer", "publish", "sink", "console"
    pid: int
    state: str  # "starting", "running", "draining", "waiting" (camera or store away)
    at_ns: int
    progress: int  # grows while the worker does its work
    camera_id: str | None = None  # of an ingest worker
    device: str | None = None
    restarts: int = 0
    detail: str | None = None
    step_ms: float = 0.0  # how long it may be silent while it works: one run of its engine
    counters: dict[str, int] = msgspec.field(default_factory=dict)
    latency: dict[str, LatencyCounts] = msgspec.field(default_factory=dict)
    engine: dict[str, str] = msgspec.field(default_factory=dict)


Message = (
    Ready | Returned | Bye | Ping | Lease | Verdicts | Acks | NotStored | LedgerReport | Fault | FaultAcks | Heartbeat
)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """One message as bytes."""
    return bytes((WIRE_VERSION,)) + _ENCODER.encode(message)


def decode(data: bytes) -> Message:
    """The message in `data`. Raises BadMessage for anything else, whatever it is."""
    if not data or data[0] != WIRE_VERSION:
        raise BadMessage(f"version byte {data[:1].hex() or 'missing'}", data)
    try:
        return _DECODER.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadMessage(str(error), data) from error
