"""From a picture of any size to the network's input, as the reference does it."""

import torch
from torch import Tensor

from models.configuration import CnnKind, NetworkConfig
from models.layers import resize_map

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""ImageNet's, in RGB on 0..255; SAM was trained with them."""

LITE_MEAN, LITE_STD = 127.0, 128.0
"""EfficientNet-Lite's, for all three channels."""

SIZE_LEFT_ALONE = (1024, 1024)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, S, S) RGB 0..255 -> about zero mean and unit variance."""
    mean, std = images.new_tensor(PIXEL_MEAN), images.new_tensor(PIXEL_STD)
    return (images - mean[:, None, None]) / std[:, None, None]


def normalise_for_cnn(images: Tensor, kind: CnnKind) -> Tensor | None:
    """The same images as the CNN was trained on them; None where that is as SAM was."""
    return (images - LITE_MEAN) / LITE_STD if kind == "tf_efficientnet_lite0" else None


def prepare_image(image: Tensor, config: NetworkConfig) -> tuple[Tensor, bool]:
    """(3, h, w) RGB 0..255 -> (1, 3, S, S) and whether `F2PNet.encode` is to normalise it.

    The aspect ratio is not kept. Always normalised, unless the configuration repeats the published code's defect.
    """
    size = (image.shape[-2], image.shape[-1])
    resized = resize_map(image[None].to(torch.float32), (config.image_size, config.image_size))
    return resized, not (config.skip_norm_1024 and size == SIZE_LEFT_ALONE)


def scale_points(points: Tensor, size: tuple[int, int], image_size: int) -> Tensor:
    """(..., 2) x, y in a picture of `size` (h, w) -> the network's pixels, rounded half to even.

    A picture that has the network's size already is left alone, and so are its coordinates.
    """
    height, width = size
    if (height, width) == (image_size, image_size):
        return points.to(torch.float32)
    factors = torch.tensor([image_size / width, image_size / height], dtype=torch.float64, device=points.device)
    return (points * factors).round().to(torch.float32)
