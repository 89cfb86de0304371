"""SAM's two-way transformer: tokens read the image, the image reads the tokens.

Follows segment_anything/modeling/transformer.py (Meta AI, Apache-2.0), same parameter names.
Shapes: B rows (image and prompt folded), K tokens, T = H * W image places, E width.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import attend


class Attention(nn.Module):
    """Multi-head attention at `1 / downsample` of the width."""

    def __init__(self, width: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
        q, k, v = (self._by_head(x) for x in (self.q_proj(q), self.k_proj(k), self.v_proj(v)))
        mixed = attend(q * q.shape[-1] ** -0.5, k, v, key_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class ReluMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayBlock(nn.Module):
    """Tokens attend to tokens, then to the image; then the image attends to the tokens."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = ReluMlp(width, mlp_width)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample=2)

    def forward(
        self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor, token_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens, token_mask)
        else:
            q = tokens + token_code
            tokens = tokens + self.self_attn(q, q, tokens, token_mask)
        tokens = self.norm1(tokens)
        q, k = tokens + token_code, image + image_code
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(q, k, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        q = tokens + token_code
        image = self.norm4(image + self.cross_attn_image_to_token(k, q, tokens, token_mask))
        return tokens, image


class TwoWayTransformer(nn.Module):
    def __init__(self, depth: int, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, heads, mlp_width, is_first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, image: Tensor, image_code: Tensor, token_code: Tensor, token_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, E, H, W), (1, E, H, W), (B, K, E) -> (B, K, E) and (B, E, H, W).

        `token_mask` (B, K) bool: False for tokens that are only filling. None: all count.
        """
        size = image.shape[-2:]
        places, place_code = image.flatten(2).mT, image_code.flatten(2).mT
        tokens = token_code
        for layer in self.layers:
            tokens, places = layer(tokens, places, token_code, place_code, token_mask)
        read = self.final_attn_token_to_image(tokens + token_code, places + place_code, places)
        return self.norm_final_attn(tokens + read), places.mT.reshape(*image.shape[:2], *size)
