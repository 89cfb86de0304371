"""The rewritten encoder against the plain words of the specification, on the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.direct_formulation import direct_attention, direct_encode, direct_fpn, direct_highpass, direct_prompts
from models.preprocessing import normalise
from tests.models.small_networks import small_network

CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.mark.parametrize("mode", ["paper", "reference"])
@torch.no_grad()
def test_the_whole_encoder_is_the_direct_one(mode: str, images: Tensor) -> None:
    network = small_network(mode=mode)

    encoded, direct = network.encode(images), direct_encode(network, images)

    torch.testing.assert_close(encoded.embedding, direct.embedding, **CLOSE)
    torch.testing.assert_close(encoded.hq_features, direct.hq_features, **CLOSE)


@torch.no_grad()
def test_cnn_detail_is_the_direct_one(images: Tensor) -> None:
    network = small_network(detail_stages=(0, 1))

    torch.testing.assert_close(network.encode(images).detail, direct_encode(network, images).detail, **CLOSE)


@torch.no_grad()
def test_one_convolution_of_six_channels_makes_the_prompts_of_both_branches(images: Tensor) -> None:
    network = small_network()
    vicnet, x = network.vicnet, normalise(images)

    joint = vicnet.evpt.joint(x, vicnet.vit.patch_embed.proj, network.decoder.hf_token.weight)

    for block, direct in enumerate(direct_prompts(network, x)):
        torch.testing.assert_close(vicnet.evpt.prompt(block, joint), direct, **CLOSE)


@torch.no_grad()
def test_resampling_before_the_projection_changes_nothing(images: Tensor) -> None:
    network = small_network()
    stages = network.vicnet.cnn(normalise(images))

    for stage, direct in enumerate(direct_fpn(network, stages)):
        torch.testing.assert_close(network.vicnet.fuse(stage, stages), direct, **CLOSE)


@torch.no_grad()
def test_filled_windows_attend_as_if_padded_before_the_projection(images: Tensor) -> None:
    """Side 8 in windows of 3: the last row and column of windows hang over by one."""
    attention = small_network().vicnet.vit.blocks[0].attn
    x = torch.randn(2, 8, 8, 48)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 1, 0, 1))

    corner = direct_attention(attention, padded[:, 6:9, 6:9])

    torch.testing.assert_close(attention(x)[:, 6:, 6:], corner[:, :2, :2], **CLOSE)


@torch.no_grad()
def test_the_high_pass_is_that_of_the_published_code(images: Tensor) -> None:
    network = small_network()

    torch.testing.assert_close(network.vicnet.evpt.highpass(images), direct_highpass(images, 32), atol=1e-3, rtol=1e-5)


@torch.no_grad()
def test_the_cut_of_the_high_pass_follows_the_native_size(images: Tensor) -> None:
    """Images enlarged from 64 pixels hold nothing above 32 cycles; the cut moves from 32 to 16."""
    network = small_network(native_size=64)

    torch.testing.assert_close(network.vicnet.evpt.highpass(images), direct_highpass(images, 16), atol=1e-3, rtol=1e-5)
