"""A network that knows good parts alone: what its pretrained CNN sees is compared with a memory of good ones.

After PatchCore (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022): features of two
stages of a pretrained CNN, averaged over 3 x 3 places, are compared with a coreset of those of good images; the
distance to the nearest one says how unusual a place is. Two things are added: the features are whitened, so that
directions in which good parts hardly vary count as much as others, and a small head on the same features, trained on
good images with synthetic defects, is added to the distance.

Everything is a product of matrices and a minimum with static shapes, so that it exports like F2P-Net.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.encoders.efficientnet import WIDTHS, EfficientNetLite0
from models.files.weights import CheckpointError, fill

SIZE_NAME = "good-only"
FORMAT = "f2pnet-good-only-1"
LARGEST_MEMORY, LARGEST_SIDE_PX = 1 << 17, 4096
"""A file that states more is damaged."""
STAGES = (1, 2)
"""Of the CNN, those of stride 8 and 16: finer ones see texture only, coarser ones the image as a whole."""
HEAD_STAGES = (0, 1, 2)
PATCH = 3
STRIDE = 8


@dataclass(frozen=True)
class GoodOnlyConfig:
    """What its checkpoint must know. `memory` is the number of remembered places."""

    image_size: int
    memory: int
    head_width: int = 48

    def __post_init__(self) -> None:
        if not 32 <= self.image_size <= LARGEST_SIDE_PX or self.image_size % 32:
            raise ValueError(f"image_size is {self.image_size}, wanted a multiple of 32 up to {LARGEST_SIDE_PX}")
        if not 1 <= self.memory <= LARGEST_MEMORY or not 1 <= self.head_width <= 1024:
            raise ValueError(
                f"memory is {self.memory} and head_width {self.head_width}: wanted smaller numbers above 0"
            )

    @property
    def network(self) -> str:
        return SIZE_NAME

    @property
    def sam_type(self) -> str:
        return SIZE_NAME

    @property
    def num_classes(self) -> int:
        return 0

    @property
    def second_pass(self) -> str:
        return "none"

    @property
    def feature_width(self) -> int:
        return sum(WIDTHS[stage] for stage in STAGES)

    @property
    def map_size(self) -> int:
        return self.image_size // STRIDE

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class DefectHead(nn.Module):
    """The CNN's maps of stride 4, 8 and 16 -> (B, S/8, S/8) logits of a defect; the CNN itself is not trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(WIDTHS[stage], width, 1) for stage in HEAD_STAGES)
        self.mix = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1))

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[1].shape[-2:]
        joined: Tensor | None = None
        for stage, project in zip(HEAD_STAGES, self.project, strict=True):
            part = F.interpolate(project(maps[stage]), size, mode="bilinear", align_corners=False)
            joined = part if joined is None else joined + part
        return self.mix(joined)[:, 0]  # type: ignore[no-any-return]


class GoodOnlyNetwork(nn.Module):
    """(B, S, S, 3) uint8 RGB -> mask, pixel_map (B, S/8, S/8) and score (B,), probabilities.

    `pixel_map` joins distance and head, each in standard deviations of good images, and is 0.5 where a wanted share of
    good images would be rejected; `mask` is the head's answer alone. `score` is the highest of the pixel map.
    """

    output_names = ("mask", "pixel_map", "score")

    mean: Tensor
    whitening: Tensor
    bank: Tensor
    distance_scale: Tensor
    head_scale: Tensor
    limit: Tensor

    def __init__(self, config: GoodOnlyConfig) -> None:
        super().__init__()
        self.config = config
        self.cnn = EfficientNetLite0("fixed")
        self.head = DefectHead(config.head_width)
        width = config.feature_width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("whitening", torch.eye(width))
        self.register_buffer("bank", torch.zeros(config.memory, width))
        self.register_buffer("distance_scale", torch.tensor([0.0, 1.0]))
        self.register_buffer("head_scale", torch.tensor([0.0, 1.0]))
        self.register_buffer("limit", torch.tensor([0.0, 1.0]))

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, S, S, 3) uint8 -> the CNN's maps."""
        return self.cnn((images.permute(0, 3, 1, 2).to(torch.float32) - 127) / 128)  # type: ignore[no-any-return]

    def places(self, maps: list[Tensor]) -> Tensor:
        """(B, N, C) what stands at each of N = (S/8)^2 places, and around it."""
        size = maps[STAGES[0]].shape[-2:]
        pooled = [F.avg_pool2d(maps[stage], PATCH, 1, PATCH // 2, count_include_pad=False) for stage in STAGES]
        joined = [F.interpolate(one, size, mode="bilinear", align_corners=False) for one in pooled]
        return torch.cat(joined, 1).flatten(2).transpose(1, 2)

    def whitened(self, places: Tensor) -> Tensor:
        return (places - self.mean) @ self.whitening

    def distances(self, maps: list[Tensor]) -> Tensor:
        """(B, S/8, S/8) distance of each place to the nearest remembered one."""
        query = self.whitened(self.places(maps))
        squares = query.square().sum(-1) + (self.bank.square().sum(-1) - 2 * query @ self.bank.T).amin(-1)
        side = self.config.map_size
        return squares.clamp_min(0).sqrt().reshape(-1, side, side)

    def unusual(self, maps: list[Tensor]) -> Tensor:
        """(B, S/8, S/8) how unusual each place is, about 0 on good images, in standard deviations of theirs."""
        distance = (self.distances(maps) - self.distance_scale[0]) / self.distance_scale[1]
        head = (self.head(maps) - self.head_scale[0]) / self.head_scale[1]
        joined = (distance + head)[:, None]
        return F.avg_pool2d(joined, PATCH, 1, PATCH // 2, count_include_pad=False)[:, 0]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.maps(images)
        pixel_map = ((self.unusual(maps) - self.limit[0]) / self.limit[1]).sigmoid()
        return self.head(maps).sigmoid(), pixel_map, pixel_map.flatten(1).amax(1)


def save_good_only(path: Path, network: GoodOnlyNetwork, facts: dict[str, Any]) -> None:
    """Write weights, memory, configuration and `facts`, whole or not at all."""
    metadata = {"format": FORMAT, "configuration": json.dumps(network.config.to_dict()), "facts": json.dumps(facts)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    unfinished = path.with_name(path.name + ".part")
    safetensors.torch.save_file(tensors, unfinished, metadata)
    unfinished.replace(path)


def is_good_only(path: Path) -> bool:
    """Whether a file is a checkpoint of this network."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (safetensors.SafetensorError, OSError):
        return False


def load_good_only(path: Path) -> tuple[GoodOnlyNetwork, dict[str, Any]]:
    """The network in eval mode, and the facts of its training. Raises CheckpointError for a damaged file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        network = GoodOnlyNetwork(GoodOnlyConfig(**json.loads(metadata["configuration"])))
        facts = dict(json.loads(metadata["facts"]))
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    fill(network, tensors, str(path))
    return network.eval(), facts
