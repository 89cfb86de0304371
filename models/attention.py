"""Softmax attention, twice: with one call of the framework's fused kernel, and tile by tile for large grids.

Shapes: B batch, h heads, T = side * side tokens, c head width, K keys, d value width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 1 << 19
"""Logits in work at once, 2 MB: logits, softmax and product then stay in a CPU's cache."""


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """(B, h, T, c) scaled queries, (B, h, K, c), (B, h, K, d) -> (B, h, T, d).

    `key_mask` (B, K) bool, True where a key may be seen; a hidden key has exactly no influence.
    """
    mask = None if key_mask is None else key_mask[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)


def attend_with_positions(q: Tensor, k: Tensor, v: Tensor, to_rows: Tensor, to_columns: Tensor) -> Tensor:
    """Attention over a grid with a term for the row and one for the column of each key.

    logits[i, j] = q[i] . k[j] + to_rows[i, row of j] + to_columns[i, column of j].
    `q` (B, h, T, c) scaled; `to_rows` and `to_columns` (B, h, T, side). All ways give the same numbers.
    """
    if is_plain_cpu_run(q):
        return _attend_by_tiles(q, k, v, to_rows, to_columns)
    return _attend_with_codes(q, k, v, to_rows, to_columns)


def attend_with_table(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
    """Attention with a term for each pair of places: `table` (h, T, T) is added to the logits of all B windows.

    `q` (B, h, T, c) scaled, `k` and `v` alike.
    """
    if is_cpu_training(q) or torch.compiler.is_compiling():  # an exporter mistakes the strides of the fused kernel
        return torch.softmax(q @ k.mT + table, dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=table[None].to(q.dtype), scale=1.0)


def is_plain_cpu_run(x: Tensor) -> bool:
    """Inference on a CPU, not traced for export: where buffers may be kept and written in place."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def is_cpu_training(x: Tensor) -> bool:
    """Gradients wanted on a CPU, not traced: there the fused kernel's way back takes twice to three times as long."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _attend_with_codes(q: Tensor, k: Tensor, v: Tensor, to_rows: Tensor, to_columns: Tensor) -> Tensor:
    """The terms become channels: appended to q, and one-hot codes of row and column to k. No T x T bias is made."""
    side = to_rows.shape[-1]
    queries = torch.cat([q, to_rows, to_columns], dim=-1)
    codes = row_and_column_codes(side, q).expand(*k.shape[:2], -1, -1)
    keys = torch.cat([k, codes], dim=-1)
    if is_cpu_training(q):
        return torch.softmax(queries @ keys.mT, dim=-1) @ v
    return attend(queries, keys, v)


def _attend_by_tiles(q: Tensor, k: Tensor, v: Tensor, to_rows: Tensor, to_columns: Tensor) -> Tensor:
    """For CPUs, whose fused kernel wants keys as narrow as values. Buffers are made once and used for all tiles."""
    batch, heads, tokens, _ = q.shape
    side = to_rows.shape[-1]
    q, k, v, to_rows, to_columns = (x.flatten(0, 1) for x in (q, k, v, to_rows, to_columns))
    result = torch.empty_like(v, memory_format=torch.contiguous_format)
    groups = max(1, TILE // tokens**2)
    rows = min(tokens, max(1, TILE // tokens))
    logits, weights = (torch.empty(groups * rows * tokens, dtype=q.dtype) for _ in range(2))
    for g in range(0, batch * heads, groups):
        keys, values = k[g : g + groups].contiguous().mT, v[g : g + groups].contiguous()
        for r in range(0, tokens, rows):
            part = (slice(g, g + groups), slice(r, r + rows))
            shape = (*q[part].shape[:2], tokens)
            tile = logits[: shape[0] * shape[1] * tokens].view(shape)
            torch.bmm(q[part], keys, out=tile)
            on_grid = tile.view(*shape[:2], side, side)
            on_grid += to_rows[part][..., None]
            on_grid += to_columns[part][..., None, :]
            softmax = torch.softmax(tile, dim=-1, out=weights[: tile.numel()].view(shape))
            torch.bmm(softmax, values, out=result[part])
    return result.reshape(batch, heads, tokens, -1)


def row_and_column_codes(side: int, like: Tensor) -> Tensor:
    """(T, 2 side): one-hot of each token's row, then of its column."""
    unit = torch.eye(side, dtype=like.dtype, device=like.device)
    return torch.cat([unit.repeat_interleave(side, dim=0), unit.repeat(side, 1)], dim=1)
