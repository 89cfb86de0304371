"""Softmax attention on already scaled queries; one door, so that a faster kernel needs one change.

Shapes: B batch, h heads, Tq and Tk tokens, c head width (k and v may differ in it).
"""

from torch import Tensor
from torch.nn import functional as F


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """(B, h, Tq, c), (B, h, Tk, c), (B, h, Tk, d) -> (B, h, Tq, d).

    `key_mask` (B, Tk) bool, True where a key may be seen; a hidden key has exactly no influence.
    """
    mask = None if key_mask is None else key_mask[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
