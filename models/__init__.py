"""F2P-Net in PyTorch. `build_network(network_config("nano"))` gives a network; see docs/network.md."""

import importlib
from typing import TYPE_CHECKING, Any

from models.configuration import SIZES, NetworkConfig, network_config

if TYPE_CHECKING:
    from models.decoders.afdec import Encoded, Predictions
    from models.decoders.prompts import Prompts
    from models.deploy import AutoNetwork
    from models.f2pnet import F2PNet, build_network
    from models.files.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
    from models.layers import resize_map

__all__ = [
    "SIZES",
    "AutoNetwork",
    "CheckpointError",
    "Encoded",
    "F2PNet",
    "NetworkConfig",
    "Predictions",
    "Prompts",
    "build_network",
    "load_checkpoint",
    "network_config",
    "resize_map",
    "save_checkpoint",
]

# Imported when they are asked for: torch takes seconds, which recipes and the help of commands need not wait for.
_MODULES = {
    "models.decoders.afdec": ("Encoded", "Predictions"),
    "models.decoders.prompts": ("Prompts",),
    "models.deploy": ("AutoNetwork",),
    "models.f2pnet": ("F2PNet", "build_network"),
    "models.files.checkpoint": ("CheckpointError", "load_checkpoint", "save_checkpoint"),
    "models.layers": ("resize_map",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'models' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
