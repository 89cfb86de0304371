import pytest
import torch
from torch import Tensor

from models import attention
from models.attention import attend, attend_with_positions

SIDE, HEADS, WIDTH = 5, 2, 8


def operands() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    tokens = SIDE * SIDE
    q, k, v = (torch.randn(3, HEADS, tokens, WIDTH) for _ in range(3))
    to_rows, to_columns = (torch.randn(3, HEADS, tokens, SIDE) for _ in range(2))
    return q, k, v, to_rows, to_columns


def by_formula(q: Tensor, k: Tensor, v: Tensor, to_rows: Tensor, to_columns: Tensor) -> Tensor:
    """One logit at a time, from the definition."""
    bias = torch.empty(*q.shape[:3], q.shape[2])
    for j in range(SIDE * SIDE):
        bias[..., j] = to_rows[..., j // SIDE] + to_columns[..., j % SIDE]
    return torch.softmax(q @ k.mT + bias, dim=-1) @ v


def test_the_fused_form_is_the_formula() -> None:
    given = operands()

    torch.testing.assert_close(attend_with_positions(*given), by_formula(*given))


@pytest.mark.parametrize("tile", [1, 40, 25 * 25, 2 * 25 * 25, 1 << 20])
def test_the_tiled_form_is_the_formula_whatever_the_tile(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "TILE", tile)
    given = operands()

    with torch.no_grad():
        mixed = attend_with_positions(*given)

    torch.testing.assert_close(mixed, by_formula(*given))


def test_a_hidden_key_has_no_influence_at_all() -> None:
    q, k, v, _, _ = operands()
    k_filled, v_filled = torch.cat([k, 100 * torch.ones_like(k[:, :, :3])], 2), torch.cat([v, v[:, :, :3]], 2)
    mask = torch.arange(k_filled.shape[2])[None].expand(3, -1) < k.shape[2]

    torch.testing.assert_close(attend(q, k_filled, v_filled, mask), attend(q, k, v))
