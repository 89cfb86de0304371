"""Expected values from the page that defines the rule."""

import zlib

import numpy as np
import torch
from torch import nn

from models.golden.fill_rule import fill_by_rule, image, stream, weights

SEED = zlib.crc32(b"f2p-golden-1:image_encoder.pos_embed")


def test_the_stream_has_the_published_check_values() -> None:
    assert SEED == 1757035564
    assert stream(SEED, 0, 1)[0] == 0x0B121ADFC353AD58


def test_the_stream_may_be_entered_anywhere() -> None:
    assert np.array_equal(stream(SEED, 0, 10)[4:], stream(SEED, 4, 6))


def test_weights_are_the_unit_values_scaled() -> None:
    first = weights("f2p-golden-1", "image_encoder.pos_embed", (1, 1, 1, 3)).ravel()

    unit = np.array([-0.9135100841522217, 0.9418838024139404, 0.7168928384780884])
    assert np.array_equal(first, (unit / 2).astype(np.float32))


def test_large_weights_do_not_depend_on_how_they_are_cut() -> None:
    many = weights("s", "neck.bias", (3 * (1 << 20) + 5,))

    assert many[-1] == weights("s", "neck.bias", (3 * (1 << 20) + 5,))[-1]
    seed = zlib.crc32(b"s:neck.bias")
    last = (stream(seed, many.size - 1, 1)[0] >> np.uint64(40)) / 8388608 - 1
    assert many[-1] == np.float32(0.1 * last)


def test_images_have_the_published_check_sums() -> None:
    picture = image((200, 200), 101, [[60, 70, 18, 30, 70], [150, 140, 25, 9, -50]])

    assert zlib.crc32(picture.tobytes()) == 0x59755D1A


def test_norm_gains_are_near_one_and_biases_near_zero() -> None:
    layer = nn.LayerNorm(100)

    fill_by_rule(layer, "s")

    assert 0.9 <= layer.weight.min() <= layer.weight.max() <= 1.1
    assert layer.bias.abs().max() <= 0.1
    assert not torch.equal(layer.weight, torch.ones(100))
