"""What all sources that decode with PyAV share."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def pixels_of(frame: av.VideoFrame) -> Pixels:
    """uint8, C-contiguous: (H, W) of a grey video, else (H, W, 3) BGR."""
    wanted = "gray" if frame.format.name.startswith("gray") else "bgr24"
    return np.ascontiguousarray(frame.to_ndarray(format=wanted), np.uint8)


def reason_of(error: Exception) -> str:
    """What went wrong, without the address, which FFmpeg puts into its messages and which may hold a password."""
    if isinstance(error, av.FFmpegError | OSError):
        return error.strerror or type(error).__name__
    return f"{type(error).__name__}: {error}"
