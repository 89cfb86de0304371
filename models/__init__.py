"""F2P-Net in PyTorch. `build_network(network_config("nano"))` gives a network; see docs/network.md."""

from models.configuration import SIZES, NetworkConfig, network_config
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
