"""The keys and shapes of MobileSAM's official file, written down from its published code."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.configuration import network_config
from models.sam import build_sam

Shapes = Iterator[tuple[str, tuple[int, ...]]]

BIAS_TABLES = {1: (4, 49), 2: (5, 196), 3: (10, 49)}
WIDTHS, DEPTHS = (64, 128, 160, 320), (2, 2, 6, 2)


def official_state() -> dict[str, Tensor]:
    """Random weights under every key of the file, the unused classifier of TinyViT among them."""
    generator = torch.Generator().manual_seed(5)
    state = {}
    for name, shape in _shapes():
        values = (
            torch.rand(shape, generator=generator)
            if name.endswith("running_var")
            else 0.1 * torch.randn(shape, generator=generator)
        )
        state[f"image_encoder.{name}"] = values
        if name.endswith("running_var"):
            state[f"image_encoder.{name.removesuffix('running_var')}num_batches_tracked"] = torch.tensor(100)
    with torch.device("meta"):
        decoder = build_sam(network_config("vit_b")).state_dict()  # SAM's own prompt encoder and mask decoder
    rest = {name: tensor.shape for name, tensor in decoder.items() if not name.startswith("image_encoder.")}
    return state | {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in rest.items()}


def _shapes() -> Shapes:
    yield from _conv_and_norm("patch_embed.seq.0", 32, 3, 3)
    yield from _conv_and_norm("patch_embed.seq.2", 64, 32, 3)
    for block in range(DEPTHS[0]):
        yield from _bottleneck(f"layers.0.blocks.{block}", 64, 256, 64)
    for stage in range(3):
        yield from _bottleneck(f"layers.{stage}.downsample", WIDTHS[stage], WIDTHS[stage + 1], WIDTHS[stage + 1])
    for stage, table in BIAS_TABLES.items():
        for block in range(DEPTHS[stage]):
            yield from _attention_block(f"layers.{stage}.blocks.{block}", WIDTHS[stage], table)
    yield from _norm("norm_head", 320)
    yield from _linear("head", 320, 1000)
    yield "neck.0.weight", (256, 320, 1, 1)
    yield from _norm("neck.1", 256)
    yield "neck.2.weight", (256, 256, 3, 3)
    yield from _norm("neck.3", 256)


def _conv_and_norm(name: str, outputs: int, inputs: int, kernel: int) -> Shapes:
    yield f"{name}.c.weight", (outputs, inputs, kernel, kernel)
    for value in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{value}", (outputs,)


def _bottleneck(name: str, inputs: int, hidden: int, outputs: int) -> Shapes:
    yield from _conv_and_norm(f"{name}.conv1", hidden, inputs, 1)
    yield from _conv_and_norm(f"{name}.conv2", hidden, 1, 3)
    yield from _conv_and_norm(f"{name}.conv3", outputs, hidden, 1)


def _attention_block(name: str, width: int, table: tuple[int, int]) -> Shapes:
    yield f"{name}.attn.attention_biases", table
    yield from _norm(f"{name}.attn.norm", width)
    yield from _linear(f"{name}.attn.qkv", width, 3 * width)
    yield from _linear(f"{name}.attn.proj", width, width)
    yield from _conv_and_norm(f"{name}.local_conv", width, 1, 3)
    yield from _norm(f"{name}.mlp.norm", width)
    yield from _linear(f"{name}.mlp.fc1", width, 4 * width)
    yield from _linear(f"{name}.mlp.fc2", 4 * width, width)


def _norm(name: str, width: int) -> Shapes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
