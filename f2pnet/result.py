"""The result of one inspected frame, in the form that streams, files and subscribers see (contract, "Result")."""

from __future__ import annotations

from enum import StrEnum

import msgspec

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    """What the line says about a frame. `FAULT` is never said of a frame: it marks camera and engine events."""

    OK = "OK"
    NG = "NG"
    NOT_INSPECTED = "NOT_INSPECTED"
    FAULT = "FAULT"


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """One connected region that the recipe rejects or grades.

    `bbox_px` is (x, y, width, height) and `polygon_px` a closed outline of (x, y) points, both in pixels of the source
    frame; `score` lies in 0..1; `area_mm2` is None where the recipe states no pixel size.
    """

    class_name: str = msgspec.field(name="class")
    score: float
    severity: str
    bbox_px: tuple[int, int, int, int]
    area_px: int
    area_mm2: float | None
    polygon_px: list[tuple[int, int]]


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """The waterfall of one frame, in milliseconds; None where the stage did not happen."""

    queued: float | None = None  # captured -> taken up by an inference worker
    engine: float | None = None  # preprocessing and the engine's run, of the whole batch
    postprocess: float | None = None  # maps -> regions -> verdict
    stored: float | None = None  # verdict -> durable
    total: float | None = None  # captured -> durable


class SourceRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which file a frame came from. Characters that are not printable, and bytes that are not UTF-8, are escaped."""

    file: str
    """Its name in the folder of the source; for `f2p inspect` its path as it was found."""
    frame: int | None = None
    """Position in a video, from 0; None for an image."""


class InspectionResult(msgspec.Struct, frozen=True, kw_only=True):
    """Verdict of one frame with everything behind it. `engine` and `recipe` are hash prefixes (12 hex digits)."""

    schema_version: int = SCHEMA_VERSION
    frame_id: str | None = None  # "<camera>/<run>/<seq>" on a line, None for a single image
    line: str | None = None
    camera_id: str | None = None
    seq: int | None = None
    part_id: str | None = None
    source_ref: SourceRef | None = None  # of folder and video sources
    captured_at_ns: int | None = None  # UTC, ns since the epoch
    verdict: Verdict
    reason: str | None = None  # why NOT_INSPECTED, or what failed; None for OK and NG
    score: float | None = None  # image-level defect score, 0..1
    defects: list[Defect] = msgspec.field(default_factory=list)
    engine: str | None = None
    recipe: str | None = None
    device: str | None = None
    timings_ms: Timings = msgspec.field(default_factory=Timings)
    evidence: str | None = None  # path of the saved picture

    def to_json(self) -> bytes:
        """The contract's JSON, UTF-8, keys in declaration order."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> InspectionResult:
        """Read `to_json` back; unknown keys are ignored, so a newer writer may add some.

        Raises msgspec.ValidationError where a known key has the wrong type.
        """
        return msgspec.json.decode(data, type=cls)
