"""A network that knows good parts alone: what its pretrained encoders see is compared with memories of good ones.

Two memories (`models.place_memory`): one of what SAM's TinyViT sees at each place, one of what the ImageNet CNN sees.
They miss different defects, and their distances are added; so is a small head on the CNN's maps, trained on good images
with synthetic defects. Everything has static shapes, so that it exports like F2P-Net.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.configuration import network_config
from models.encoders.efficientnet import WIDTHS, EfficientNetLite0
from models.f2pnet import build_vit
from models.files.weights import CheckpointError, fill
from models.place_memory import PlaceMemory, places_of
from models.preprocessing import normalise, normalise_for_cnn

SIZE_NAME = "good-only"
FORMAT = "f2pnet-good-only-2"
LARGEST_MEMORY, LARGEST_SIDE_PX = 1 << 17, 4096
"""A file that states more is damaged."""
MEMORY_STAGES = (2, 3)
"""Of the CNN, those of stride 16 and 32; TinyViT sees what is finer, and better (docs/benchmarks/experiments.md)."""
HEAD_STAGES = (0, 1, 2)
SMOOTHED = 3
FILLED_SHARE = 1 / 9
"""Of a place's pixels that have exactly the filling's colour: fewer may have it by chance."""
NOWHERE = -100.0
STRIDE = 8


@dataclass(frozen=True)
class GoodOnlyConfig:
    """What its checkpoint must know. `memory` counts remembered places, `filling_rgb` stands beside a letterbox's
    picture; without `has_vit` the CNN sees alone."""

    image_size: int
    memory: int
    filling_rgb: Sequence[int]
    head_width: int = 48
    has_vit: bool = True

    def __post_init__(self) -> None:
        if not 32 <= self.image_size <= LARGEST_SIDE_PX or self.image_size % 32:
            raise ValueError(f"image_size is {self.image_size}, wanted a multiple of 32 up to {LARGEST_SIDE_PX}")
        if len(self.filling_rgb) != 3:
            raise ValueError(f"filling_rgb is {self.filling_rgb}, wanted three values of 0..255")
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

    `pixel_map` joins distances and head, each in standard deviations of good images, and is 0.5 where a wanted share of
    good images would be rejected; `mask` is the head's answer alone. `score` is the highest of the pixel map.
    """

    output_names = ("mask", "pixel_map", "score")

    filling: Tensor
    head_scale: Tensor
    limit: Tensor

    def __init__(self, config: GoodOnlyConfig) -> None:
        super().__init__()
        self.config = config
        self.cnn = EfficientNetLite0("fixed")
        self.head = DefectHead(config.head_width)
        widths = {"cnn": sum(WIDTHS[stage] for stage in MEMORY_STAGES)}
        if config.has_vit:
            sized = network_config("vit_t", image_size=config.image_size)
            self.vit = build_vit(sized)
            widths["vit"] = sized.vit_widths[1] + sized.decoder_width
        self.memories = nn.ModuleDict({name: PlaceMemory(config.memory, width) for name, width in widths.items()})
        self.register_buffer("filling", torch.tensor(list(config.filling_rgb), dtype=torch.float32), persistent=False)
        self.register_buffer("head_scale", torch.tensor([0.0, 1.0]))
        self.register_buffer("limit", torch.tensor([0.0, 1.0]))

    def cnn_maps(self, images: Tensor) -> list[Tensor]:
        """(B, S, S, 3) uint8 -> the CNN's maps."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        return self.cnn(normalise_for_cnn(pixels, "tf_efficientnet_lite0"))  # type: ignore[no-any-return]

    def places(self, images: Tensor, cnn_maps: list[Tensor]) -> dict[str, Tensor]:
        """(B, N, C) of each memory: what its encoder sees at each of N = (S/8)^2 places."""
        side = self.config.map_size
        seen = {"cnn": places_of([cnn_maps[stage] for stage in MEMORY_STAGES], side)}
        if self.config.has_vit:
            embedding, early = self.vit(normalise(images.permute(0, 3, 1, 2).to(torch.float32)))
            seen["vit"] = places_of([early.permute(0, 3, 1, 2), embedding], side)
        return seen

    def inside(self, images: Tensor) -> Tensor:
        """(B, S/8, S/8) 1 where a place shows the picture alone, 0 where a letterbox's filling takes part of it."""
        distance = (images.to(torch.float32) - self.filling).abs().sum(-1)
        filled = (distance < 0.5)[:, None].to(torch.float32)
        return (F.avg_pool2d(filled, STRIDE) < FILLED_SHARE).to(torch.float32)[:, 0]

    def unusual(self, images: Tensor, cnn_maps: list[Tensor]) -> Tensor:
        """(B, S/8, S/8) how unusual each place is, about 0 on good images, in standard deviations of theirs; far below
        where there is no picture."""
        side = self.config.map_size
        joined = (self.head(cnn_maps) - self.head_scale[0]) / self.head_scale[1]
        for name, places in self.places(images, cnn_maps).items():
            joined = joined + self.memories[name](places).reshape(-1, side, side)
        inside = self.inside(images)
        sums, counts = (
            F.avg_pool2d(one[:, None], SMOOTHED, 1, SMOOTHED // 2)[:, 0] for one in (joined * inside, inside)
        )
        return inside * sums / counts.clamp_min(1e-3) + (1 - inside) * NOWHERE

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.cnn_maps(images)
        pixel_map = ((self.unusual(images, maps) - self.limit[0]) / self.limit[1]).sigmoid()
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
