"""`python -m models.parameters SIZE`: how many parameters each part of a network has, and which are trained."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import nn

from models.configuration import SIZES, Mode, network_config
from models.f2pnet import F2PNet, build_network


@dataclass(frozen=True)
class Part:
    name: str
    parameters: int
    trained: int
    """Of these, the ones that take gradients."""


def parts(network: F2PNet) -> list[Part]:
    """Every parameter in exactly one part; the parts are those of the figure."""
    vicnet, evpt, decoder = network.vicnet, network.vicnet.evpt, network.decoder
    modules: dict[str, Iterable[nn.Module | None]] = {
        "ViT": [vicnet.vit],
        "prompt encoder": [network.prompt_encoder],
        "prompt generator": [evpt.handcrafted, evpt.embedding, evpt.own, evpt.shared],
        "hf down-projections": [evpt.hf_down],
        "hf up-projection": [evpt.hf_up],
        "auxiliary CNN": [vicnet.cnn],
        "FPN": [vicnet.fpn],
        "decoder transformer": [decoder.sam.transformer],
        "output upscaling": [decoder.sam.output_upscaling],
        "SAM's mask heads": [decoder.sam.output_hypernetworks_mlps],
        "IoU token": [decoder.sam.iou_token],
        "mask tokens": [decoder.sam.mask_tokens],
        "hf token": [decoder.hf_token],
        "IoU head": [decoder.sam.iou_prediction_head],
        "hf mask head": [decoder.hf_mlp],
        "early ViT features": [decoder.compress_vit_feat],
        "embedding features": [decoder.embedding_encoder],
        "mask features": [decoder.embedding_maskfeature],
        "CNN detail": [decoder.detail],
        "image head": [decoder.image_head],
        "pixel head": [decoder.pixel_head],
        "class head": [decoder.class_head],
    }
    counted = [_count(name, of_part) for name, of_part in modules.items()]
    return [part for part in counted if part.parameters]


def _count(name: str, modules: Iterable[nn.Module | None]) -> Part:
    parameters = [p for module in modules if module is not None for p in module.parameters()]
    return Part(name, sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.parameters", description=__doc__)
    parser.add_argument("size", choices=list(SIZES))
    parser.add_argument("--mode", choices=get_args(Mode), default="paper")
    parser.add_argument("--classes", type=int, default=0, help="classes of the class map")
    options = parser.parse_args(arguments)
    with torch.device("meta"):
        network = build_network(network_config(options.size, mode=options.mode, num_classes=options.classes))
    rows = parts(network)
    rows.append(Part("total", sum(part.parameters for part in rows), sum(part.trained for part in rows)))
    lines = [f"{'part':24} {'parameters':>14} {'trained':>14}"]
    lines += [f"{part.name:24} {part.parameters:14,} {part.trained:14,}" for part in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
