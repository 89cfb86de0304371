"""A frame that a camera lent to an inference worker, and its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.frames.ring_memory import StaleFrame
from pipeline.wire.messages import Lease

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """Pixels of a frame, (H, W) or (H, W, 3) BGR. Any thread may look at them."""

    pixels: Image
    check: Callable[[], None]
    """Raises StaleFrame where the pixels may have changed since they were lent."""


@dataclass(frozen=True)
class LeasedFrame:
    """A lease in hand."""

    lease: Lease
    inline: bytes | None
    """The pixels, where they came with the lease; None: they are in the camera's ring."""

    @property
    def camera_id(self) -> str:
        return self.lease.camera_id

    @property
    def deadline_ns(self) -> int | None:
        """Of the worker's monotonic clock; None: the frame may take as long as it takes."""
        return self.lease.deadline_mono_ns

    def inline_picture(self) -> Picture | None:
        """The pixels that came with the lease; None where none came. Raises StaleFrame."""
        if self.inline is None:
            return None
        try:
            pixels = np.frombuffer(self.inline, np.uint8).reshape(self.lease.shape)
        except ValueError as error:  # a peer that says one size and sends another
            raise StaleFrame(
                f"{self.lease.frame_id}: {len(self.inline)} bytes for a shape of {self.lease.shape}"
            ) from error
        return Picture(pixels, lambda: None)
