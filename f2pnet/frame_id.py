"""The name of one frame: `<camera>/<run>/<number>`, as results, alerts, evidence and Redis show it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from f2pnet.errors import ConfigError

SEQ_DIGITS = 6
LARGEST_SEQ = 2**53
"""Far beyond any camera, and a whole number to every JSON reader."""
_SPELLING = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/([A-Za-z0-9][A-Za-z0-9-]{0,63})/([0-9]{1,16})")


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
        try:
            plain = text.decode("ascii") if isinstance(text, bytes) else text
        except UnicodeDecodeError:
            return None
        found = _SPELLING.fullmatch(plain or "")
        if found is None or int(found[3]) > LARGEST_SEQ:
            return None
        return cls(found[1], found[2], int(found[3]))

    def __str__(self) -> str:
        return f"{self.camera_id}/{self.run_id}/{self.seq:0{SEQ_DIGITS}d}"
