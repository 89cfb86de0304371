"""bfloat16 products: what takes them, what stays in float32, and which machines get them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.steps.precision import multiplies_in_bf16, products_of

CPU = torch.device("cpu")


def test_bf16_takes_plain_convolutions_and_leaves_depthwise_ones_in_float32() -> None:
    image = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(1))
    plain, depthwise = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8)
    with products_of("bf16", CPU):
        assert plain(image).dtype == torch.bfloat16
        found = depthwise(image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, depthwise(image), rtol=0, atol=0)


def test_fp32_leaves_all_as_it_is() -> None:
    with products_of("fp32", CPU):
        assert nn.Conv2d(3, 3, 1)(torch.zeros(1, 3, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("able", "wanted"),
    [({}, False), ({"avx512_f": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)],
)
def test_auto_takes_bf16_where_the_processor_has_its_products(
    able: dict[str, bool], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert multiplies_in_bf16("auto", CPU) is wanted
    assert multiplies_in_bf16("bf16", CPU)
    assert not multiplies_in_bf16("fp32", CPU)
