"""What our network gives for every entry of a golden file, under the entry's name."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.configuration import NetworkConfig
from models.decoders.afdec import Encoded
from models.encoders.vicnet import ViCNet
from models.f2pnet import F2PNet
from models.golden.cases import Picture, prompts_of
from models.layers import resize_map
from models.preprocessing import normalise, prepare_image
from models.sam import Sam

Entry = tuple[str, Tensor | int]


def f2pnet_entries(network: F2PNet, picture: Picture, *, skip_norm_1024: bool) -> Iterator[Entry]:
    """All entries of one picture, without its name in front; `hq_feature` depends on no picture."""
    images = _network_input(network.config, picture, skip_norm_1024)
    yield "crc", zlib.crc32(picture.pixels.tobytes())
    yield "input", images
    yield from _parts_entries(network, images)
    vicnet = _plain(network)
    global_blocks = [vicnet.vit.blocks[i] for i in network.config.global_blocks]
    with recorded_outputs(global_blocks) as outputs:
        encoded = network.encode(images, normalise=False)
    for index, output in enumerate(outputs):
        yield f"interm{index}", output
    yield "image_embedding", encoded.embedding
    yield "hq_features", encoded.hq_features
    for name, case in picture.cases.items():
        for what, value in _case_entries(network, encoded, case, picture.size):
            yield f"{name}__{what}", value


def sam_entries(sam: Sam, config: NetworkConfig, picture: Picture) -> Iterator[Entry]:
    """The same for SAM of this configuration."""
    images = _network_input(config, picture, skip_norm_1024=False)
    yield "crc", zlib.crc32(picture.pixels.tobytes())
    yield "input", images
    with recorded_outputs(sam.image_encoder.get_submodule("blocks").children()) as outputs:
        embedding, _ = sam.image_encoder(images)
    for index, output in enumerate(outputs):
        yield f"block{index}", output
    yield "image_embedding", embedding
    for name, case in picture.cases.items():
        asked = prompts_of(case, picture.size, config.image_size, config.map_size)
        sparse, _ = sam.prompt_encoder.sparse(asked.prompts)
        predictions = sam.decode(embedding, asked.prompts)
        if sparse is not None and sparse.shape[2]:
            yield f"{name}__sparse", sparse[0]
        yield f"{name}__masks4_lowres", predictions.mask_logits
        yield f"{name}__iou_head", predictions.quality


def _network_input(config: NetworkConfig, picture: Picture, skip_norm_1024: bool) -> Tensor:
    config = replace(config, skip_norm_1024=skip_norm_1024)
    images, to_normalise = prepare_image(torch.from_numpy(picture.pixels).permute(2, 0, 1), config)
    return normalise(images) if to_normalise else images


def _plain(network: F2PNet) -> ViCNet:
    if not isinstance(network.vicnet, ViCNet):
        raise ValueError(f"golden outputs are of plain ViTs; this network is a {network.config.sam_type}")
    return network.vicnet


def _parts_entries(network: F2PNet, images: Tensor) -> Iterator[Entry]:
    """The steps before the ViT's blocks, which the network itself partly merges."""
    vicnet, token = _plain(network), network.decoder.hf_token.weight
    evpt = vicnet.evpt
    highpass = evpt.highpass(images)
    yield "highpass", highpass
    yield "handcrafted", evpt.handcrafted(highpass)
    yield "embedding_feature", evpt.embedding(vicnet.vit.patch_embed(images)).flatten(1, 2)
    yield "hq_feature", evpt.hf_map(token).flatten(1, 2)
    joint = evpt.joint(images, vicnet.vit.patch_embed.proj, token)
    depth = network.config.depth
    for block in (0, depth // 2, depth - 1):
        yield f"prompt{block}", evpt.prompt(block, joint).flatten(1, 2)
    for index, stage in enumerate(vicnet.cnn(images)):
        yield f"c{index + 1}", stage
        yield f"fpn{index + 1}", vicnet.fpn[index](stage)


def _case_entries(network: F2PNet, encoded: Encoded, case: dict[str, Any], size: tuple[int, int]) -> Iterator[Entry]:
    asked = prompts_of(case, size, network.config.image_size, network.config.map_size)
    if asked.points is not None:
        yield "points1024", asked.points
    if asked.boxes is not None:
        yield "boxes1024", asked.boxes
    encoder, decoder = network.prompt_encoder, network.decoder
    sparse, present = encoder.sparse(asked.prompts)
    if sparse is not None and sparse.shape[2]:
        yield "sparse", sparse[0]
    decoded = decoder.decode(encoded, encoder.dense_positions(), encoder.dense(asked.prompts), sparse, present)
    predictions = decoder.read_out(decoded, prompts=1 if sparse is None else sparse.shape[1])
    masks, pixel_map = predictions.mask_logits[0][:, None], predictions.pixel_logits.sigmoid()
    yield "masks4_lowres", torch.cat([decoder.sam.masks(decoded.tokens, decoded.sam_features)[:, :3], masks], dim=1)
    yield "mask_lowres", masks[:, 0, 2::4, 2::4]
    yield "iou_head", decoder.sam.quality(decoded.tokens)
    yield "image_score", predictions.image_logits.sigmoid()[:, None]
    yield "pixel_lowres", pixel_map
    yield "pixel_full", resize_map(pixel_map, size)
    full_masks = resize_map(masks, size)
    yield "mask_full", full_masks
    union = (full_masks > 0).any(dim=0).numpy()
    yield "assembled_area", int(union.sum())
    yield "assembled_crc", zlib.crc32(np.packbits(union.flatten()).tobytes())


@contextmanager
def recorded_outputs(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """The outputs of these modules, in the order they run."""
    outputs: list[Tensor] = []
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
            stack.callback(hook.remove)
        yield outputs
