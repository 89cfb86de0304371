"""SAM's mask decoder: tokens and an image embedding to mask features.

Follows segment_anything/modeling/mask_decoder.py (Meta AI, Apache-2.0), same parameter names.
Shapes: R rows (image and prompt folded), E width, H = W token grid, M = 4H map size, F feature width.
"""

import torch
from torch import Tensor, nn

from models.configuration import MASK_TOKENS
from models.decoders.transformer import TwoWayTransformer
from models.layers import MLP, upscaler


class SamDecoder(nn.Module):
    """The transformer with SAM's own tokens and heads.

    `iou_head` and `mask_heads` are what SAM reads from its tokens; None and 0 leave them out.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        width: int,
        feature_width: int,
        mask_heads: int,
        iou_head: nn.Module | None,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASK_TOKENS, width)
        self.output_upscaling = nn.Sequential(*upscaler(width, width // 4, feature_width), nn.GELU())
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, feature_width, 3) for _ in range(mask_heads))
        self.iou_prediction_head = iou_head

    def own_tokens(self) -> Tensor:
        """(1 + MASK_TOKENS, E)"""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight])

    def forward(
        self, image: Tensor, image_code: Tensor, tokens: Tensor, token_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(R, E, H, W), (1, E, H, W), (R, K, E) -> tokens read out (R, K, E) and features (R, F, M, M)."""
        read, image = self.transformer(image, image_code, tokens, token_mask)
        return read, self.output_upscaling(image)

    @staticmethod
    def with_prompts(own: Tensor, sparse: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Own tokens (R, K, E) followed by prompt tokens (B, N, T, E), and the mask of those that count."""
        own_mask = present.new_ones(own.shape[:2])
        mask = torch.cat([own_mask, present.flatten(0, 1)], dim=1)
        return torch.cat([own, sparse.flatten(0, 1)], dim=1), mask

    def quality(self, read: Tensor) -> Tensor:
        """(R, masks): the IoU expected of each mask."""
        if self.iou_prediction_head is None:
            raise ValueError("this network was built without SAM's quality head")
        return self.iou_prediction_head(read[:, 0])  # type: ignore[no-any-return]

    def masks(self, read: Tensor, features: Tensor) -> Tensor:
        """SAM's own masks, (R, mask heads, M, M) logits."""
        tokens = read[:, 1 : 1 + MASK_TOKENS].unbind(1)
        weights = [mlp(token) for mlp, token in zip(self.output_hypernetworks_mlps, tokens, strict=True)]
        return mask_product(torch.stack(weights, dim=1), features)


def mask_product(weights: Tensor, features: Tensor) -> Tensor:
    """(R, K, F) and (R, F, M, M) -> (R, K, M, M): one mask for each set of weights."""
    return (weights @ features.flatten(2)).reshape(*weights.shape[:2], *features.shape[-2:])


def sam_quality_head(width: int) -> nn.Module:
    """SAM's head that predicts the IoU of each of its masks."""
    return MLP(width, width, MASK_TOKENS, 3)


def repeat_rows(x: Tensor, times: int) -> Tensor:
    """(B, ...) -> (B * times, ...): each image once per prompt."""
    return x if times == 1 else x.repeat_interleave(times, dim=0)
