"""AFDec: the mask decoder with a high-frequency token and fused multi-scale features.

Fused features = what SAM's decoder makes of the embedding, refined, plus the embedding and the early ViT features
upscaled beside it. From them come the pixel map and, in `paper` mode, the mask and the class map. The published
code meant the same but cut the mask off: there it is the product of the fourth mask token with SAM's plain
features (`reference` mode). Paper: "AFDec"; layout of the high-quality path: SAM-HQ (SysCV/sam-hq, Apache-2.0).
Shapes: B images, N prompts, R = B * N rows, E decoder width, M map size, F feature width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.configuration import MASK_TOKENS, Mode
from models.decoders.detail import detail_path
from models.decoders.sam_decoder import SamDecoder, mask_product, repeat_rows
from models.encoders.vicnet import ViCNetFeatures
from models.layers import MLP, LayerNorm2d, upscaler


class Encoded(NamedTuple):
    """An encoded image; decode it with as many prompts as you like."""

    embedding: Tensor
    """(B, E, H, W)"""
    hq_features: Tensor
    """(B, F, M, M): embedding and early ViT features, upscaled."""
    detail: Tensor | None
    """(B, F, M, M): CNN detail, in sizes that have it."""


class Predictions(NamedTuple):
    """Logits at the decoder's own resolution, M = map size; bring them to the source's with `resize_map`."""

    mask_logits: Tensor
    """(B, N, M, M), one mask for each prompt"""
    pixel_logits: Tensor
    """(B, 1, M, M), how defective each pixel is, from the first prompt's pass"""
    image_logits: Tensor
    """(B,), how defective the image is, from the first prompt's pass"""
    class_logits: Tensor | None
    """(B, classes, M, M), which class a defective pixel has; None in a binary network"""


class Decoded(NamedTuple):
    """Between transformer and heads."""

    tokens: Tensor
    """(R, K, E)"""
    sam_features: Tensor
    """(R, F, M, M)"""
    fused_features: Tensor
    """(R or B, F, M, M): in `reference` mode of each image's first prompt only, since no mask reads them."""


class AFDec(nn.Module):
    """`early_upscaling` brings the early features, (early width) channels, to the size of the masks.

    With `fused=False` the heads read SAM's features as they are, to see what fusing brings.
    """

    def __init__(
        self,
        sam: SamDecoder,
        *,
        mode: Mode,
        early_width: int,
        early_upscaling: int = 4,
        width: int,
        feature_width: int,
        fused: bool = True,
        detail_widths: dict[int, int],
        detail_width: int = 0,
        score_sees_map: bool,
        score_sees_peak: bool = False,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.sam = sam
        self.mode = mode
        self.fused = fused
        self.detail_stages = tuple(detail_widths)
        self.score_sees_map = score_sees_map
        self.score_sees_peak = score_sees_peak
        self.hf_token = nn.Embedding(1, width)
        self.hf_mlp = MLP(width, width, feature_width, 3)
        self.compress_vit_feat = upscaler(early_width, width // (4 // early_upscaling), feature_width, early_upscaling)
        self.embedding_encoder = upscaler(width, width // 4, feature_width)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(feature_width, 2 * feature_width, 3, padding=1),
            LayerNorm2d(2 * feature_width),
            nn.GELU(),
            nn.Conv2d(2 * feature_width, feature_width, 3, padding=1),
        )
        self.detail = detail_path(list(detail_widths.values()), detail_width, feature_width)
        self.image_head = nn.Linear(width + (feature_width if score_sees_map else 0) + (1 if score_sees_peak else 0), 1)
        if score_sees_peak:
            with torch.no_grad():
                self.image_head.weight.zero_()
                self.image_head.weight[:, -1] = 1.0
                self.image_head.bias.zero_()
        self.pixel_head = nn.Conv2d(feature_width, 1, 1)
        self.class_head = nn.Conv2d(feature_width, num_classes, 1) if num_classes else None

    def prepare(self, features: ViCNetFeatures) -> Encoded:
        """The part of decoding that no prompt changes."""
        early = features.early.permute(0, 3, 1, 2)
        hq_features = self.embedding_encoder(features.embedding) + self.compress_vit_feat(early)
        detail: Tensor | None = None
        if self.detail_stages:
            size = (hq_features.shape[-2], hq_features.shape[-1])
            detail = self.detail([features.stages[stage] for stage in self.detail_stages], size)
        return Encoded(features.embedding, hq_features, detail)

    def forward(
        self,
        encoded: Encoded,
        image_code: Tensor,
        dense: Tensor,
        sparse: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Predictions:
        """`sparse` (B, N, T, E) prompt tokens with `present` (B, N, T), False for filling; `dense`
        (R or 1, E, H or 1, W or 1); `image_code` (1, E, H, W)."""
        prompts = 1 if sparse is None else sparse.shape[1]
        decoded = self.decode(encoded, image_code, dense, sparse, present)
        return self.read_out(decoded, prompts)

    def decode(
        self,
        encoded: Encoded,
        image_code: Tensor,
        dense: Tensor,
        sparse: Tensor | None,
        present: Tensor | None,
    ) -> Decoded:
        images = encoded.embedding.shape[0]
        prompts = 1 if sparse is None else sparse.shape[1]
        own = torch.cat([self.sam.own_tokens(), self.hf_token.weight])
        tokens, token_mask = own.expand(images * prompts, -1, -1), None
        if sparse is not None and present is not None:
            tokens, token_mask = self.sam.with_prompts(tokens, sparse, present)
        image = repeat_rows(encoded.embedding, prompts) + dense
        read, sam_features = self.sam(image, image_code, tokens, token_mask)
        return Decoded(read, sam_features, self._fuse(encoded, sam_features, prompts))

    def read_out(self, decoded: Decoded, prompts: int) -> Predictions:
        """The heads: masks of every prompt, maps and score of the first."""
        tokens, sam_features, fused = decoded
        if self.mode == "paper":
            masks = mask_product(self.hf_mlp(tokens[:, 1 + MASK_TOKENS])[:, None], fused)
            fused = fused[::prompts]
        else:
            masks = mask_product(self.hf_mlp(tokens[:, MASK_TOKENS])[:, None], sam_features)
        pixel_logits = self.pixel_head(fused)
        score_input = tokens[::prompts, 0]
        if self.score_sees_map:
            score_input = torch.cat([score_input, fused.amax(dim=(2, 3))], dim=1)
        if self.score_sees_peak:
            # The image's label must not move the map: it would raise whatever stands out in a defective image, right or
            # wrong, with as much force as all of the map's own loss.
            score_input = torch.cat([score_input, peak(pixel_logits.detach())], dim=1)
        return Predictions(
            mask_logits=masks.reshape(-1, prompts, *masks.shape[-2:]),
            pixel_logits=pixel_logits,
            image_logits=self.image_head(score_input)[:, 0],
            class_logits=None if self.class_head is None else self.class_head(fused),
        )

    def _fuse(self, encoded: Encoded, sam_features: Tensor, prompts: int) -> Tensor:
        if not self.fused:
            return sam_features
        if self.mode == "reference":
            sam_features, prompts = sam_features[::prompts], 1
        if encoded.detail is not None:
            sam_features = sam_features + repeat_rows(encoded.detail, prompts)
        refined: Tensor = self.embedding_maskfeature(sam_features)
        return refined + repeat_rows(encoded.hq_features, prompts)


def peak(pixel_logits: Tensor) -> Tensor:
    """(B, 1, M, M) -> (B, 1): the highest mean logit of 3 x 3 map pixels, which one stray pixel does not make."""
    return F.avg_pool2d(pixel_logits, kernel_size=3, stride=1).amax(dim=(2, 3))
