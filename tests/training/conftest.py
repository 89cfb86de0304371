"""A tiny labelled data set that a network can learn in seconds: dark spots on grey noise."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.recipe import Augmentation, DatasetChoice, TrainingRecipe

torch.set_num_threads(1)

SIDE = 64


def write_spots(folder: Path, count: int = 16, side: int = SIDE) -> Path:
    """`count` images of as many parts in folder/{images,masks}, every second one with a dark square, and train.json."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    records = []
    for number in range(count):
        image = rng.normal(150, 8, (side, side))
        mask = np.zeros((side, side), np.uint8)
        if number % 2:
            x, y = rng.integers(4, side - 24, 2)
            mask[y : y + 20, x : x + 20] = 255
            image[mask > 0] -= 90
        cv2.imwrite(str(folder / f"images/{number}.png"), np.clip(image, 0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / f"masks/{number}.png"), mask)
        records.append(
            {
                "id": f"{number}",
                "image": f"images/{number}.png",
                "mask": f"masks/{number}.png" if number % 2 else None,
                "label": number % 2,
                "class_name": "spot" if number % 2 else "good",
                "part_id": f"part-{number // 2}",
            }
        )
    (folder / "train.json").write_text(json.dumps(records))
    (folder / "test.json").write_text(json.dumps(records[:4]))
    return folder


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    return write_spots(tmp_path / "spots")


@pytest.fixture
def tiny_recipe(spots: Path) -> TrainingRecipe:
    """Twenty steps of four images on the spots."""
    return TrainingRecipe(
        image_size=SIDE,
        datasets=(DatasetChoice(path=spots, val_share=0.25),),
        steps=20,
        batch=4,
        learning_rate=2e-3,
        warmup_steps=2,
        ema_decay=0.8,
        evaluate_every=10,
        log_every=1,
        augmentation=Augmentation(scale=0, aspect=0, shift=0, noise=0, blur_px=0),
    )
