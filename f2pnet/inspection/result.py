"""The result of one inspected frame, in the form that streams, files and subscribers see (docs/contract.md)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from supervision import Detections

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    """What the line says about a frame. `FAULT` is never said of a frame: it marks camera and engine events."""

    OK = "OK"
    NG = "NG"
    NOT_INSPECTED = "NOT_INSPECTED"
    FAULT = "FAULT"


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """One connected region that the recipe rejects or grades."""

    class_name: str = msgspec.field(name="class")
    """Name of the defect class."""
    score: float
    """Largest probability in the region, 0..1."""
    severity: str
    """What the recipe grades it."""
    bbox_px: tuple[int, int, int, int]
    """x, y, width, height; pixels of the source frame."""
    area_px: int
    """Pixels of the source frame."""
    area_mm2: float | None
    """None where the recipe states no pixel size."""
    polygon_px: list[tuple[int, int]]
    """Closed outline of (x, y) points; pixels of the source frame."""


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of one frame went, in milliseconds; None where the stage did not happen."""

    queued: float | None = None
    """From capture until an inference worker took it."""
    engine: float | None = None
    """Preprocessing and the run of the engine, for the whole batch."""
    postprocess: float | None = None
    """From the engine's maps to the verdict."""
    stored: float | None = None
    """From the verdict until it was durable."""
    total: float | None = None
    """From capture until the verdict was durable."""


class SourceRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which file a frame came from. Characters that are not printable, and bytes that are not UTF-8, are escaped."""

    file: str
    """Its name in the folder of the source; for `f2p inspect` its path as it was found."""
    frame: int | None = None
    """Position in a video, from 0; None for an image."""

    def __str__(self) -> str:
        return self.file if self.frame is None else f"{self.file}, frame {self.frame}"


class InspectionResult(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Verdict of one frame with everything behind it. In a notebook it shows the picture with its defects."""

    schema_version: int = SCHEMA_VERSION
    """Of this JSON."""
    frame_id: str | None = None
    """CAMERA/RUN/SEQ on a line, None for a single image."""
    line: str | None = None
    """Name of the line."""
    camera_id: str | None = None
    """Id of the camera within the line."""
    seq: int | None = None
    """Number of the frame within its run, from 0."""
    part_id: str | None = None
    """The part that the frame shows, where the source knows it."""
    source_ref: SourceRef | None = None
    """File, and frame of a video, for folder and video sources; None for others."""
    captured_at_ns: int | None = None
    """UTC, ns since the epoch."""
    verdict: Verdict
    """What the line says about the frame."""
    reason: str | None = None
    """Why NOT_INSPECTED, or what failed; None for OK and NG."""
    score: float | None = None
    """Defect score of the whole image, 0..1."""
    defects: list[Defect] = msgspec.field(default_factory=list)
    """Worst first."""
    engine: str | None = None
    """Prefix of the engine's hash, 12 hex digits."""
    recipe: str | None = None
    """Prefix of the recipe's hash, 12 hex digits."""
    device: str | None = None
    """Where the engine ran, such as cpu or cuda:0."""
    timings_ms: Timings = msgspec.field(default_factory=Timings)
    """Where the time of the frame went."""
    evidence: str | None = None
    """Path of the saved picture, below the folder that holds the line's evidence folder (`evidence.dir`)."""

    def to_json(self) -> bytes:
        """JSON as docs/contract.md describes it, UTF-8, keys in declaration order."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> InspectionResult:
        """Read `to_json` back; unknown keys are ignored, so a newer writer may add some.

        Raises msgspec.ValidationError where a known key has the wrong type.
        """
        return msgspec.json.decode(data, type=cls)

    def to_dict(self) -> dict[str, Any]:
        """JSON as docs/contract.md describes it as dicts, lists, strings and numbers."""
        content: dict[str, Any] = msgspec.json.decode(self.to_json())
        return content

    def to_row(self) -> dict[str, Any]:
        """One flat row of plain values, for tables: `pandas.DataFrame([result.to_row() for result in results])`.

        `defects` is their number, `classes` their names, then `worst_severity`, `defect_area_px`, `defect_area_mm2`
        (None without a pixel size), `source_file` and `source_frame`, and the timings as `engine_ms`, `total_ms`, ...
        """
        from f2pnet.inspection.conversion import as_row

        return as_row(self)

    def to_supervision(
        self, classes: Sequence[str] | None = None, image_shape: tuple[int, ...] | None = None
    ) -> Detections:
        """The defects as `supervision.Detections`: boxes, scores, classes, and with `image_shape` (H, W, ...) masks.

        `class_id` counts in `classes`, which should be `Inspector.classes`; None: the names in this result, sorted.
        Names are in `data["class_name"]`. Raises MissingResource where supervision is not installed, ConfigError where
        `classes` lacks a class of the result.
        """
        from f2pnet.inspection.conversion import as_supervision

        return as_supervision(self, classes, image_shape)

    def _repr_html_(self) -> str:
        from f2pnet.inspection.notebook import as_html

        return as_html(self)
