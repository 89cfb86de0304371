"""Starting from other people's weights: SAM's official checkpoints, and ResNets trained on ImageNet."""

from pathlib import Path

from torch import Tensor

from models.configuration import SIZES, NetworkConfig, network_config
from models.f2pnet import F2PNet
from models.names import canonical_name
from models.sam import Sam, build_sam
from models.weights import CheckpointError, fill, fit_tables, read_pth, require_names, some

SAM_PARTS = ("vicnet.vit.", "prompt_encoder.", "decoder.sam.")
RETRAINED_IN_REFERENCE = ("decoder.sam.mask_tokens.", "decoder.sam.iou_prediction_head.")
"""The published code replaces these of SAM's parts by fresh ones."""


def load_sam(path: str | Path) -> Sam:
    """SAM as in an official .pth file, in eval mode. Raises CheckpointError on any missing or unexpected key."""
    tensors = read_pth(Path(path))
    config = _sam_config(tensors, str(path))
    sam = build_sam(config)
    fill(sam, tensors, source=str(path))
    return sam.eval()


def start_from_sam(network: F2PNet, path: str | Path) -> None:
    """Gives the network's SAM parts the weights of an official .pth file of the same size, in place.

    Position tables are resampled if the network's images are not 1024 x 1024. The parts that are F2P-Net's own stay.
    """
    tensors = read_pth(Path(path))
    config = _sam_config(tensors, str(path))
    if config.width != network.config.width or config.depth != network.config.depth:
        raise CheckpointError(f"{path} is SAM's {config.sam_type}; this network is a {network.config.sam_type}")
    require_names(build_sam_names(config), tensors, str(path))
    ours = network.state_dict()
    wanted = [name for name in ours if name.startswith(SAM_PARTS) and not _is_retrained(network, name)]
    fitted = fit_tables({name: tensors[canonical_name(name)] for name in wanted}, network)
    fill(network, ours | fitted, source=str(path))


def start_cnn_from_resnet(network: F2PNet, path: str | Path) -> None:
    """Gives the auxiliary CNN the weights of a torchvision ResNet .pth file of the same kind, classifier left out."""
    tensors = {name: tensor for name, tensor in read_pth(Path(path)).items() if not name.startswith("fc.")}
    fill(network.vicnet.cnn, tensors, source=str(path))


def build_sam_names(config: NetworkConfig) -> list[str]:
    """The keys of an official checkpoint of this size."""
    return list(build_sam(config).state_dict())


def _sam_config(tensors: dict[str, Tensor], source: str) -> NetworkConfig:
    """Which SAM this is, told by the width of its position embedding."""
    positions = tensors.get("image_encoder.pos_embed")
    if positions is None:
        raise CheckpointError(
            f"{source} is no SAM checkpoint: it lacks image_encoder.pos_embed; it has {some(tensors)}"
        )
    for size in SIZES:
        config = network_config(size)
        if config.sam_heads and config.width == positions.shape[-1]:
            return config
    raise CheckpointError(f"{source} has ViT width {positions.shape[-1]}; SAM's are 768, 1024 and 1280")


def _is_retrained(network: F2PNet, name: str) -> bool:
    return network.config.mode == "reference" and name.startswith(RETRAINED_IN_REFERENCE)
