"""Pictures of industrial cameras, whose pixel formats have GenICam's names (PFNC), as our grey or BGR."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
INTO_BGR = {
    "RGB8": cv2.COLOR_RGB2BGR,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    "BayerRG8": cv2.COLOR_BayerBG2BGR,  # OpenCV names the pattern by its second row
    "BayerBG8": cv2.COLOR_BayerRG2BGR,
    "BayerGR8": cv2.COLOR_BayerGB2BGR,
    "BayerGB8": cv2.COLOR_BayerGR2BGR,
}
AS_THEY_ARE = ("Mono8", "BGR8")
DEEP = {"Mono10": 2, "Mono12": 4, "Mono14": 6, "Mono16": 8}  # bits that 8-bit grey does without


def is_deep(pixel_format: str) -> bool:
    """Whether a pixel of the format takes two bytes."""
    return pixel_format in DEEP


def picture_of(
    data: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], pixel_format: str, width: int, height: int
) -> Pixels | str:
    """A copy as (H, W) grey or (H, W, 3) BGR, or what is wrong. `data`: flat, uint16 for the deep formats."""
    if pixel_format in DEEP:
        return np.asarray(data.reshape(height, width) >> DEEP[pixel_format]).astype(np.uint8)
    if pixel_format in AS_THEY_ARE:
        shape = (height, width) if pixel_format == "Mono8" else (height, width, 3)
        return np.array(data.reshape(shape), np.uint8)
    if pixel_format in INTO_BGR:
        channels = data.size // (height * width)
        shape = (height, width) if channels == 1 else (height, width, channels)
        return np.asarray(cv2.cvtColor(data.reshape(shape), INTO_BGR[pixel_format]), np.uint8)
    known = ", ".join((*AS_THEY_ARE, *DEEP, *INTO_BGR))
    return f"pixel format {pixel_format} is not read; set the feature PixelFormat to one of {known}"
