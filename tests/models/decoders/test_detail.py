"""The CNN's way to the masks, and the peak that the image score begins as, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from models import AutoNetwork
from models.decoders.afdec import peak
from models.decoders.detail import DetailPyramid, detail_path
from tests.models.small_networks import small_staged_network

Array = NDArray[np.float64]


def array(tensor: torch.Tensor | None) -> Array:
    assert tensor is not None
    return tensor.detach().double().numpy()


def conv3(x: Array, kernel: Array, bias: Array) -> Array:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    out = np.zeros((len(kernel), height, width))
    for dy in range(3):
        for dx in range(3):
            out += np.einsum("oc,chw->ohw", kernel[:, :, dy, dx], padded[:, dy : dy + height, dx : dx + width])
    return out + bias[:, None, None]


def conv1(x: Array, kernel: Array, bias: Array) -> Array:
    return np.einsum("oc,chw->ohw", kernel[:, :, 0, 0], x) + bias[:, None, None]


def twice(x: Array) -> Array:
    """Bilinear with half-pixel centres at twice the size."""

    def along(values: Array, axis: int) -> Array:
        length = values.shape[axis]
        at = np.clip((np.arange(2 * length) + 0.5) / 2 - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        high, share = np.minimum(low + 1, length - 1), at - low
        shape = [1] * values.ndim
        shape[axis] = -1
        share = share.reshape(shape)
        return values.take(low, axis) * (1 - share) + values.take(high, axis) * share

    return along(along(x, 1), 2)


def normed_gelu(x: Array, weight: Array, bias: Array) -> Array:
    centred = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-6)
    y = centred * weight[:, None, None] + bias[:, None, None]
    return y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))


@torch.no_grad()
def test_the_pyramid_joins_each_stage_to_what_comes_from_below() -> None:
    torch.manual_seed(0)
    widths, sides = (3, 5, 4), (8, 4, 2)
    pyramid = detail_path(widths, 6, 2)
    assert isinstance(pyramid, DetailPyramid)
    stages = [torch.randn(1, width, side, side) for width, side in zip(widths, sides, strict=True)]

    found = pyramid(stages, (8, 8))[0]

    below: Array | None = None
    for level in (2, 1, 0):
        lateral, (conv, norm, _) = pyramid.lateral[level], pyramid.smooth[level]  # type: ignore[misc]
        own = conv1(array(stages[level][0]), array(lateral.weight), array(lateral.bias))
        joined = own if below is None else own + twice(below)
        below = normed_gelu(conv3(joined, array(conv.weight), array(conv.bias)), array(norm.weight), array(norm.bias))
    assert below is not None
    expected = conv1(below, array(pyramid.project.weight), array(pyramid.project.bias))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_one_stray_pixel_is_no_peak() -> None:
    maps = torch.full((2, 1, 9, 9), -4.0)
    maps[0, 0, 4, 4] = 5.0
    maps[1, 0, 2:5, 3:6] = 5.0

    assert peak(maps)[:, 0].tolist() == pytest.approx([-4 + 9 / 9, 5.0])


@torch.no_grad()
def test_the_image_score_of_vit_t_begins_as_its_peak() -> None:
    network = small_staged_network()

    answer = network(torch.rand(2, 3, 96, 96) * 255)

    torch.testing.assert_close(answer.image_logits, peak(answer.pixel_logits)[:, 0])


def test_the_image_score_reads_the_peak_and_does_not_move_it() -> None:
    network = small_staged_network()

    network(torch.rand(2, 3, 96, 96) * 255).image_logits.sum().backward()

    assert network.decoder.pixel_head.weight.grad is None
    assert network.decoder.image_head.weight.grad is not None


@pytest.mark.filterwarnings("ignore")  # the exporter talks about its own internals
@torch.no_grad()
def test_the_pyramid_and_the_peak_are_exported_as_they_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    network = small_staged_network(decoder_depth=1)
    torch.nn.init.normal_(network.decoder.image_head.weight, std=0.1)
    auto = AutoNetwork(network).eval()
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    images = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)

    torch.onnx.export(auto, (images,), path, dynamo=True, input_names=["image"], verbose=False,
                      output_names=list(auto.output_names))  # fmt: skip

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for ours, theirs in zip(session.run(None, {"image": images.numpy()}), auto(images), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
