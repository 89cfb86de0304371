"""A module that is passed by changes nothing any more, and the others still do."""

from __future__ import annotations

import pytest
import torch

from models.configuration import Module
from models.f2pnet import F2PNet
from tests.models.small_networks import small_config, small_network

IMAGES = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 255
OF_MODULE: dict[Module, tuple[str, ...]] = {
    "cnn": ("vicnet.cnn.", "vicnet.fpn."),
    "evpt": ("vicnet.evpt.",),
    "afdec": ("decoder.compress_vit_feat.", "decoder.embedding_encoder.", "decoder.embedding_maskfeature."),
}


def trained_by_the_mask(network: F2PNet) -> set[str]:
    """Names of the parameters that the mask and the pixel map depend on."""
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    predictions = network(IMAGES)
    (predictions.mask_logits.square().sum() + predictions.pixel_logits.square().sum()).backward()
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize("left_out", list(OF_MODULE))
def test_what_is_left_out_has_no_influence_and_the_rest_keeps_its_own(left_out: Module) -> None:
    used = trained_by_the_mask(small_network(without=(left_out,)))
    for module, prefixes in OF_MODULE.items():
        assert any(name.startswith(prefixes) for name in used) == (module != left_out), module


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"without names \['vit'\]; it may name cnn, evpt, afdec"):
        small_config(without=("vit",))


def test_the_reference_is_whole() -> None:
    with pytest.raises(ValueError, match="mode reference is whole"):
        small_config(mode="reference", without=("cnn",))
