"""The pictures and prompts of a golden folder, read from its cases.json."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.decoders.prompts import Prompts
from models.golden.fill_rule import image, inside_ellipse
from models.preprocessing import scale_points


@dataclass(frozen=True)
class Picture:
    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB"""
    cases: dict[str, dict[str, Any]]

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class Cases:
    salt: str
    pictures: list[Picture]

    def picture(self, name: str) -> Picture:
        for picture in self.pictures:
            if picture.name == name:
                return picture
        known = ", ".join(picture.name for picture in self.pictures)
        raise ValueError(f"there is no picture {name!r} in cases.json; it has {known}")

    @classmethod
    def read(cls, folder: Path) -> "Cases":
        described = json.loads((folder / "cases.json").read_text())
        pictures = [
            Picture(entry["name"], image(tuple(entry["size"]), entry["seed"], entry["ellipses"]), entry["cases"])
            for entry in described["images"]
        ]
        return cls(described["salt"], pictures)


@dataclass(frozen=True)
class CasePrompts:
    """One case's prompts, with the coordinates after scaling, as the golden files store them."""

    prompts: Prompts | None
    points: Tensor | None
    boxes: Tensor | None


def prompts_of(case: dict[str, Any], size: tuple[int, int], image_size: int, map_size: int) -> CasePrompts:
    """The prompts of one case for a picture of `size` (h, w); rows are the N prompts of that one picture."""
    points = boxes = prompts = None
    if "points" in case:
        points = scale_points(torch.tensor(case["points"]), size, image_size)
        labels = torch.tensor(case["labels"])
        prompts = Prompts.from_points(points[None], labels[None])
    if "boxes" in case:
        corners = torch.tensor(case["boxes"]).reshape(-1, 2, 2)
        boxes = scale_points(corners, size, image_size).reshape(-1, 4)
        beside = () if points is None else (points[None], labels[None])
        prompts = Prompts.from_boxes(boxes[None], *beside)
    if "mask_ellipses" in case:
        inside = np.stack([inside_ellipse((map_size, map_size), *ellipse) for ellipse in case["mask_ellipses"]])
        masks = torch.from_numpy(inside).to(torch.float32)[None, :, None]
        prompts = Prompts.from_masks(masks) if prompts is None else replace(prompts, masks=masks)
    return CasePrompts(prompts, points, boxes)
