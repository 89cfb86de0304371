"""What every camera source offers to the ingest worker.

    open_source(config, start_index=n)  ->  Source
    source.read(timeout_s)              ->  Frame | BadFrame | None (nothing yet)
                                            SourceEnded (a finite source is through) | SourceFault (the camera is lost)

A source never tries again by itself: after SourceFault it is closed, and opened anew by whoever owns it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from f2pnet.errors import ExitCode, F2pError
from f2pnet.pictures.decode import MAX_DECODED_BYTES
from pipeline.frames.file_ref import FileRef

BadFrameReason = Literal["unreadable", "overrun", "frame_too_large"]


class SourceEnded(F2pError):
    """A finite source has given its last frame."""

    exit_code = ExitCode.OK


class SourceFault(F2pError):
    """The camera or file is lost; the message names it without its password."""

    exit_code = ExitCode.MISSING


@dataclass(frozen=True)
class Opening:
    """What a source is given when it is opened.

    `start_index`: index of its first picture; finite sources skip that many. `max_bytes`: pictures that take more are
    refused before they are decoded. `owner`: line and camera, for what a source remembers beyond its process.
    `in_flight`: names of files whose pictures are captured and have no durable verdict yet.
    """

    start_index: int = 0
    max_bytes: int = MAX_DECODED_BYTES
    owner: str = "f2p"
    in_flight: Collection[str] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture.

    `image`: uint8, (H, W) grey or (H, W, 3) BGR, C-contiguous. `captured_at_ns`: UTC, ns since the epoch.
    `index`: position in the source, from 0. `part_id`: the part it shows, if known. `file`: where it came from.
    """

    image: npt.NDArray[np.uint8]
    captured_at_ns: int
    index: int
    part_id: str | None = None
    file: FileRef | None = None


@dataclass(frozen=True)
class BadFrame:
    """A picture that was due and is missing or unreadable; its part is NOT_INSPECTED.

    `reason`: "unreadable", "frame_too_large", or "overrun" when it came and nobody read in time. `detail` is for
    people. `follows`: it is lost because of an earlier one, whose detail names the cause.
    """

    index: int
    reason: BadFrameReason
    detail: str
    captured_at_ns: int
    file: FileRef | None = None
    follows: bool = False


class Source(ABC):
    """An open camera or file. A context manager; `close` may be called twice."""

    live: bool
    """True: the world does not wait, as with a camera. False: a file, which may be paused."""
    note: str | None = None
    """What users should know of this source, once its first picture was read."""

    @abstractmethod
    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        """The next picture, in order; None when none came within `timeout_s` seconds.

        Raises SourceEnded after the last picture of a finite source, SourceFault when the camera is lost.
        """

    def resume_after(self, last_name: str) -> str | None:
        """Find the place behind the picture of that file name again, if what there is to read has changed since.

        Called once after opening with a `start_index`. Returns in words what is passed over, None where nothing is.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of camera and files."""

    def settled(self, file: FileRef) -> None:  # noqa: B027 - most sources have nothing to remember
        """The verdict of the picture from `file` is durable. Called from another thread than `read`.

        Raises OSError when the source can't note it.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
