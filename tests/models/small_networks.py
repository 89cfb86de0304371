"""Networks small enough for tests: every kind of block, and a grid that the windows do not divide."""

from __future__ import annotations

from typing import Any

import torch

from models import F2PNet, NetworkConfig, build_network, network_config

SMALL: dict[str, Any] = {
    "image_size": 128, "width": 48, "depth": 6, "heads": 2, "global_blocks": (1, 2, 4, 5), "window_size": 3,
    "prompt_width": 4, "hf_hidden": 4, "cnn_width": 8,
    "decoder_width": 64, "decoder_heads": 2, "decoder_mlp": 64, "feature_width": 8,
}  # fmt: skip


def small_config(**changes: Any) -> NetworkConfig:
    return network_config("vit_b", **(SMALL | changes))


def small_network(**changes: Any) -> F2PNet:
    """In eval mode, every table filled; keywords change the configuration."""
    network = build_network(small_config(**changes))
    randomise(network)
    return network.eval()


def randomise(module: torch.nn.Module) -> None:
    """Tables that start at zero and statistics that start at one would hide mistakes."""
    for name, tensor in module.state_dict().items():
        if name.endswith(("rel_pos_h", "rel_pos_w", "running_mean")):
            tensor.normal_(std=0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)


STAGED: dict[str, Any] = {
    "image_size": 96, "width": 48, "depth": 5, "heads": 2, "vit_widths": (16, 32, 32, 48), "vit_depths": (1, 1, 2, 1),
    "vit_heads": (1, 2, 2, 2), "vit_windows": (7, 7, 4, 7), "prompt_width": 4, "hf_hidden": 4, "cnn": "resnet18",
    "cnn_width": 8, "cnn_norm": "batch", "decoder_width": 64, "decoder_heads": 2, "decoder_mlp": 64, "feature_width": 8,
}  # fmt: skip
"""vit_t in small, with grids of 12 and 6 that its windows do not divide."""


def small_staged_network(**changes: Any) -> F2PNet:
    """In eval mode, as if trained: what begins at zero is not zero any more."""
    network = build_network(network_config("vit_t", **(STAGED | changes)))
    randomise(network)
    for name, parameter in network.named_parameters():
        if name.startswith(("vicnet.evpt.shared", "vicnet.fpn")) or name.endswith("attention_biases"):
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()
