"""Prompts made from the network's own first pass, so that a line needs none from outside.

Everything here has a static shape: always K prompts, each with a flag that says whether it stands for anything.
Slots without a finding are run and ignored. No connected components, no sorting of regions, no scatter.
Shapes: B images, M map size, S = image size, K prompts.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.configuration import NetworkConfig
from models.decoders.afdec import Encoded, Predictions
from models.decoders.prompts import ABSENT, BOTTOM_RIGHT, PADDING, POSITIVE, TOP_LEFT, Prompts
from models.f2pnet import F2PNet

LOGIT_LIMIT = 10.0
"""Mask prompts are logits within +-10, the range SAM's encoder was trained on."""
NOTHING = -30.0
"""The logit of a mask that found nothing: a probability of 1e-13."""


class CoarsePrompts(NamedTuple):
    prompts: Prompts
    valid: Tensor
    """(B, K) bool: the slots that stand for a finding."""


def second_mask(network: F2PNet, encoded: Encoded, first: Predictions) -> Tensor:
    """Mask logits (B, M, M) of a second decoding, prompted by the pixel map of the `first`.

    The kind of prompts, their number and the threshold stand in `network.config`. No gradient flows from the mask
    through the prompts to the first pass, so training may call this too. Raises ValueError for `second_pass` "none".
    """
    prompts, valid = coarse_prompts(first.pixel_logits.detach(), network.config)
    return union(network.decode(encoded, prompts).mask_logits, valid)


def coarse_prompts(pixel_logits: Tensor, config: NetworkConfig) -> CoarsePrompts:
    """The prompts of the configured second pass from a pixel map (B, 1, M, M)."""
    if config.second_pass == "mask":  # noqa: S105 (no password)
        return mask_prompt(pixel_logits)
    if config.second_pass == "points":  # noqa: S105
        return peak_points(pixel_logits, config.image_size, config.second_pass_points, config.second_pass_threshold)
    if config.second_pass == "boxes":  # noqa: S105
        return tile_boxes(pixel_logits, config.image_size, config.second_pass_tiles, config.second_pass_threshold)
    raise ValueError(f"second_pass is {config.second_pass!r}: this network decodes once")


def mask_prompt(pixel_logits: Tensor) -> CoarsePrompts:
    """The whole pixel map (B, 1, M, M) as one mask prompt: the cascade."""
    masks = pixel_logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)[:, None]
    return CoarsePrompts(Prompts.from_masks(masks), torch.ones_like(masks[:, :, 0, 0, 0], dtype=torch.bool))


def peak_points(pixel_logits: Tensor, image_size: int, count: int, threshold: float) -> CoarsePrompts:
    """The `count` highest local maxima of (B, 1, M, M) whose probability exceeds `threshold`; one prompt each."""
    side = pixel_logits.shape[-1]
    is_peak = pixel_logits == F.max_pool2d(pixel_logits, kernel_size=3, stride=1, padding=1)
    peaks = torch.where(is_peak, pixel_logits, torch.full_like(pixel_logits, -torch.inf))
    heights, places = peaks.flatten(1).topk(count, dim=1)
    valid = heights > _logit(threshold)
    columns, rows = places % side, places // side
    centres = (torch.stack([columns, rows], dim=-1) + 0.5) * (image_size / side) - 0.5
    points = torch.stack([centres, torch.zeros_like(centres)], dim=2)
    labels = torch.stack([torch.full_like(places, POSITIVE), torch.full_like(places, PADDING)], dim=2)
    return CoarsePrompts(Prompts(points, _absent_unless(valid, labels)), valid)


def tile_boxes(pixel_logits: Tensor, image_size: int, tiles: int, threshold: float) -> CoarsePrompts:
    """The extent of what exceeds `threshold` in each of `tiles` x `tiles` fixed tiles of (B, 1, M, M).

    Boxes are x0, y0, x1, y1 in network pixels and enclose whole map pixels. `tiles` must divide M.
    """
    side = pixel_logits.shape[-1]
    if side % tiles:
        raise ValueError(f"tiles is {tiles}; it must divide the map size {side}")
    tile = side // tiles
    above = (pixel_logits[:, 0] > _logit(threshold)).to(torch.float32)
    in_tiles = above.reshape(-1, tiles, tile, tiles, tile).transpose(2, 3).flatten(1, 2)
    top, bottom = _extent(in_tiles.amax(dim=3))
    left, right = _extent(in_tiles.amax(dim=2))
    slots = torch.arange(tiles * tiles, device=above.device)
    x_offset, y_offset = slots % tiles * tile, slots // tiles * tile
    corners = torch.stack([x_offset + left, y_offset + top, x_offset + right, y_offset + bottom], dim=-1)
    valid = in_tiles.amax(dim=(2, 3)) > 0
    points = (corners * (image_size / side)).reshape(*corners.shape[:2], 2, 2)
    kinds = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=above.device).expand(points.shape[:3])
    return CoarsePrompts(Prompts(points, _absent_unless(valid, kinds)), valid)


def union(mask_logits: Tensor, valid: Tensor) -> Tensor:
    """(B, K, M, M) and (B, K) -> (B, M, M): the highest logit of the valid masks, NOTHING where there is none."""
    nothing = torch.full_like(mask_logits, NOTHING)
    return torch.where(valid[:, :, None, None], mask_logits, nothing).amax(dim=1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K, L) of 0 and 1 -> first occupied place and the one after the last, (B, K) each."""
    first = occupied.argmax(dim=-1)
    beyond = occupied.shape[-1] - occupied.flip(-1).argmax(dim=-1)
    return first, beyond


def _absent_unless(valid: Tensor, labels: Tensor) -> Tensor:
    return torch.where(valid[:, :, None], labels, torch.full_like(labels, ABSENT))


def _logit(probability: float) -> float:
    return float(torch.logit(torch.tensor(probability, dtype=torch.float64)))
