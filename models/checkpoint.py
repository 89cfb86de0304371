"""Our own checkpoint: one safetensors file with the weights, the whole configuration and the training's facts.

The format holds numbers and text only, so that a hostile file can do no more than be refused.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from models.configuration import NetworkConfig
from models.f2pnet import F2PNet, build_network
from models.weights import CheckpointError, fill

__all__ = ["CheckpointError", "load_checkpoint", "save_checkpoint"]

FORMAT = "f2pnet-checkpoint-1"


def save_checkpoint(path: str | Path, network: F2PNet, facts: dict[str, Any]) -> None:
    """Writes weights, configuration and `facts` (anything JSON holds), whole or not at all."""
    metadata = {
        "format": FORMAT,
        "configuration": json.dumps(network.config.to_dict()),
        "facts": json.dumps(facts),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    safetensors.torch.save_file(tensors, unfinished, metadata)
    unfinished.replace(path)


def load_checkpoint(path: str | Path) -> tuple[F2PNet, dict[str, Any]]:
    """The network in eval mode, on the CPU, and the facts. Raises CheckpointError for a file that is not ours."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {metadata.get('format')!r}; this version reads {FORMAT!r}")
    try:
        config = NetworkConfig.from_dict(json.loads(metadata["configuration"]))
        facts = json.loads(metadata["facts"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged description: {error}") from error
    network = build_network(config)
    fill(network, tensors, source=str(path))
    return network.eval(), facts
