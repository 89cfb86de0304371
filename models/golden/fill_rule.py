"""The rule that makes weights and images: 64-bit integer arithmetic, the same bits on every machine."""

import re
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.files.names import canonical_name

CHUNK = 1 << 20
"""Values made at once; bounds the memory of the largest weights."""

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
SEED_FACTOR = 0xD1B54A32D192ED03
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
WORD = 1 << 64


def stream(seed: int, start: int, count: int) -> NDArray[np.uint64]:
    """Numbers `start` .. `start + count` of the sequence of this seed (SplitMix64), each 0 .. 2^64 - 1."""
    z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * GOLDEN_RATIO
    z += np.uint64(seed * SEED_FACTOR % WORD)
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


def weights(salt: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The tensor of this canonical name."""
    offset, scale = offset_and_scale(name, shape)
    seed = zlib.crc32(f"{salt}:{name}".encode())
    values = np.empty(int(np.prod(shape, dtype=np.int64)), dtype=np.float32)
    for start in range(0, values.size, CHUNK):
        numbers = stream(seed, start, min(CHUNK, values.size - start))
        unit = (numbers >> np.uint64(40)) / 8388608.0 - 1.0
        values[start : start + numbers.size] = offset + scale * unit
    return values.reshape(shape)


TOKENS = re.compile(
    r"prompt_encoder\.(point_embeddings\.[0-3]|not_a_point_embed|no_mask_embed)\.weight"
    r"|mask_decoder\.(iou_token|mask_tokens|hf_token)\.weight"
)
TRANSPOSED = re.compile(r"mask_decoder\.(output_upscaling|compress_vit_feat|embedding_encoder)\.[03]\.weight")
LAST_OF_BRANCH = re.compile(r"image_encoder\.blocks\.\d+\.(attn\.proj|mlp\.lin2)\.weight")


def offset_and_scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Values lie in offset +- scale; the rules in the order of the page that defines them."""
    if name.endswith("num_batches_tracked"):
        return 0.0, 0.0
    if name.endswith("running_var"):
        return 1.0, 0.5
    if name.endswith("running_mean"):
        return 0.0, 0.1
    if name.endswith(("rel_pos_h", "rel_pos_w")):
        return 0.0, 0.2
    if name == "image_encoder.pos_embed":
        return 0.0, 0.5
    if name.endswith("positional_encoding_gaussian_matrix"):
        return 0.0, 3.0**0.5
    if TOKENS.fullmatch(name):
        return 0.0, 1.0
    if len(shape) == 1:
        return (1.0, 0.1) if name.endswith("weight") else (0.0, 0.1)
    if TRANSPOSED.fullmatch(name):
        return 0.0, (3.0 / shape[0]) ** 0.5
    full_scale = float((3.0 / np.prod(shape[1:], dtype=np.int64)) ** 0.5)
    return 0.0, 0.5 * full_scale if LAST_OF_BRANCH.fullmatch(name) else full_scale


def fill_by_rule(module: nn.Module, salt: str) -> None:
    """Gives every parameter and stored buffer its value, one at a time, in place."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            values = weights(salt, canonical_name(name), tuple(tensor.shape))
            tensor.copy_(torch.from_numpy(values))


def image(size: tuple[int, int], seed: int, ellipses: list[list[int]]) -> NDArray[np.uint8]:
    """(H, W, 3): a slanted pattern with noise, ellipses (cy, cx, ry, rx, brightness) on it."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    noise = (stream(seed, 0, height * width * 3) >> np.uint64(59)).astype(np.int64).reshape(height, width, 3)
    grey = 80 + ((5 * x + 3 * y) >> 3) % 48
    for cy, cx, ry, rx, brightness in ellipses:
        grey += brightness * inside_ellipse(size, cy, cx, ry, rx)
    pixels = grey[..., None] + noise + 4 * np.arange(3)
    clipped: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return clipped


def inside_ellipse(size: tuple[int, int], cy: int, cx: int, ry: int, rx: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[: size[0], : size[1]]
    inside: NDArray[np.bool_] = ((y - cy) * rx) ** 2 + ((x - cx) * ry) ** 2 <= (rx * ry) ** 2
    return inside
