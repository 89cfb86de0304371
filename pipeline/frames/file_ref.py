"""Which file a picture came from."""

from __future__ import annotations

from typing import NamedTuple

from f2pnet.inspection.result import SourceRef
from f2pnet.text import printable


class FileRef(NamedTuple):
    """A file of a folder or video source. `name` as Python has it: bytes that are not UTF-8 are lone surrogates.

    `frame`: position in a video, from 0; None for an image.
    """

    name: str
    frame: int | None = None

    def as_result(self) -> SourceRef:
        """As results show it: escaped, so that every terminal and every JSON reader takes it."""
        return SourceRef(file=printable(self.name), frame=self.frame)
