"""The name of one frame: `<camera>/<run>/<number>`, as results, alerts, evidence and Redis show it."""

from __future__ import annotations

from dataclasses import dataclass

from f2pnet.errors import ConfigError

SEQ_DIGITS = 6
LONGEST_ID = 256
"""Characters; a camera id has at most 64, a run id 36, a number 20."""


@dataclass(frozen=True, order=True)
class FrameId:
    """Sorts by camera, then by run (run ids sort by their start), then by number.

    >>> str(FrameId("cam1", "01975f3e-8a3b-7000-8000-000000000000", 42))
    'cam1/01975f3e-8a3b-7000-8000-000000000000/000042'
    """

    camera_id: str
    run_id: str
    seq: int
    """Number of the frame within the run, from 0."""

    @classmethod
    def parse(cls, text: str) -> FrameId:
        """The frame id that `text` spells. Raises ConfigError for anything else."""
        found = cls.parse_or_none(text)
        if found is None:
            raise ConfigError(f"frame id is {text!r}, wanted <camera>/<run>/<number>, as alerts and results show it")
        return found

    @classmethod
    def parse_or_none(cls, text: str | bytes | None) -> FrameId | None:
        """As `parse`, for text that others may have written: None for anything that is not a frame id."""
        if text is None or len(text) > LONGEST_ID or not text.isascii():
            return None
        parts = (text.decode() if isinstance(text, bytes) else text).split("/", 3)
        if len(parts) != 3 or not all(part.isprintable() for part in parts):
            return None
        camera_id, run_id, seq = parts
        return cls(camera_id, run_id, int(seq)) if camera_id and run_id and seq.isdigit() else None

    def __str__(self) -> str:
        return f"{self.camera_id}/{self.run_id}/{self.seq:0{SEQ_DIGITS}d}"
