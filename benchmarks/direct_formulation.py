"""The encoder computed the plain way, step by step as the specification words it and the published code does.

The yardstick for the rewritten encoder: tests compare the two number by number, `encoder_rewrite.py` by time and
memory. It runs on the weights of an `F2PNet` and shares none of its rewritten steps: the high-pass by FFT, the
FPN of all four levels anew in every block, each prompt branch on its own, windows padded before the projection,
and position terms as one bias for every pair of tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.decoders.afdec import Encoded
from models.encoders.highpass import cut_frequency
from models.encoders.vit import Block, RelativeAttention
from models.f2pnet import F2PNet
from models.preprocessing import normalise


def direct_encode(network: F2PNet, images: Tensor) -> Encoded:
    """(B, 3, S, S) RGB 0..255 -> what `F2PNet.encode` gives."""
    x = normalise(images)
    vicnet, config = network.vicnet, network.config
    prompts = direct_prompts(network, x)
    stages = vicnet.cnn(x)
    tokens = vicnet.vit.patch_embed(x) + vicnet.vit.pos_embed
    first_global = None
    for index, block in enumerate(vicnet.vit.blocks):
        tokens = tokens + prompts[index]
        fpn = direct_fpn(network, stages)
        if index in config.global_blocks:
            tokens = tokens + fpn[config.global_blocks.index(index)]
        tokens = direct_block(block, tokens)
        if index == config.global_blocks[0]:
            first_global = tokens
    embedding = vicnet.vit.neck(tokens.permute(0, 3, 1, 2))
    decoder = network.decoder
    assert first_global is not None  # noqa: S101 (a fact about the loop, for the type checker)
    hq_features = decoder.embedding_encoder(embedding) + decoder.compress_vit_feat(first_global.permute(0, 3, 1, 2))
    detail = None
    for stage, project in zip(decoder.detail_stages, decoder.detail, strict=True):
        term = resized(project(stages[stage]), hq_features.shape[-1])
        detail = term if detail is None else detail + term
    return Encoded(embedding, hq_features, detail)


def direct_highpass(x: Tensor, cut: int) -> Tensor:
    """Zero the box [-cut, cut - 1] of the centred spectrum, transform back, real part, absolute value."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(x), dim=(-2, -1))
    box = slice(x.shape[-1] // 2 - cut, x.shape[-1] // 2 + cut)
    spectrum[..., box, box] = 0
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real.abs()


def direct_prompts(network: F2PNet, x: Tensor) -> list[Tensor]:
    """All blocks' prompts, (B, H, W, C) each."""
    evpt, config = network.vicnet.evpt, network.config
    side = min(config.native_size or config.image_size, config.image_size)
    highpass = direct_highpass(x, cut_frequency(side, side, config.highpass_rate))
    handcrafted = evpt.handcrafted(highpass).flatten(2).mT
    embedding = evpt.embedding(network.vicnet.vit.patch_embed(x)).flatten(1, 2)
    columns = [evpt.hf_up(F.gelu(branch(network.decoder.hf_token.weight)))[0] for branch in evpt.hf_down]
    joint = handcrafted + embedding + torch.stack(columns, dim=-1)[None]
    prompts = [evpt.shared(F.gelu(own(joint))) for own in evpt.own]
    return [prompt.reshape(x.shape[0], config.grid, config.grid, config.width) for prompt in prompts]


def direct_fpn(network: F2PNet, stages: list[Tensor]) -> list[Tensor]:
    """Every stage projected at its own size, then brought to the token grid; (B, H, W, C) each."""
    grid = network.config.grid
    levels = [resized(project(stage), grid) for project, stage in zip(network.vicnet.fpn, stages, strict=True)]
    return [level.permute(0, 2, 3, 1) for level in levels]


def direct_block(block: Block, x: Tensor) -> Tensor:
    """Pre-norm block; window blocks pad with zeros after the norm, and the padding takes part in attention."""
    normed = block.norm1(x)
    side = block.attn.window_size
    if side is None:
        mixed = direct_attention(block.attn, normed)
    else:
        batch, grid, _, channels = normed.shape
        beyond = -grid % side
        padded = F.pad(normed, (0, 0, 0, beyond, 0, beyond))
        count = padded.shape[1] // side
        windows = (
            padded.view(batch, count, side, count, side, channels).transpose(2, 3).reshape(-1, side, side, channels)
        )
        mixed = direct_attention(block.attn, windows)
        mixed = mixed.view(batch, count, count, side, side, channels).transpose(2, 3)
        mixed = mixed.reshape(batch, count * side, count * side, channels)[:, :grid, :grid]
    x = x + mixed
    return x + block.mlp.lin2(F.gelu(block.mlp.lin1(block.norm2(x))))


def direct_attention(attention: RelativeAttention, x: Tensor) -> Tensor:
    """Softmax of scaled products plus a bias for every pair of tokens, all of it in memory at once."""
    batch, side, _, channels = x.shape
    heads, width = attention.heads, channels // attention.heads
    qkv = attention.qkv(x).reshape(batch, side * side, 3, heads, width).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, batch * heads, side * side, width).unbind(0)
    logits = (q * width**-0.5) @ k.mT
    places = torch.arange(side)
    distances = places[:, None] - places[None, :] + side - 1
    rows_table, columns_table = attention.rel_pos_h[distances], attention.rel_pos_w[distances]
    q_grid = q.reshape(batch * heads, side, side, width)
    to_rows = torch.einsum("bhwc,hkc->bhwk", q_grid, rows_table)
    to_columns = torch.einsum("bhwc,wkc->bhwk", q_grid, columns_table)
    pairs = logits.view(-1, side, side, side, side) + to_rows[..., None] + to_columns[..., None, :]
    mixed = pairs.view(-1, side * side, side * side).softmax(dim=-1) @ v
    mixed = mixed.view(batch, heads, side, side, width).permute(0, 2, 3, 1, 4).reshape(batch, side, side, channels)
    return attention.proj(mixed)


def resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
