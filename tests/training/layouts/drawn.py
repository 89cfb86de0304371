"""Tiny data sets in the layouts of others."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE = 24


def picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((SIDE, SIDE), value, np.uint8))
    return path


def mask(path: Path, value: int = 255, rows: slice = slice(4, 9), columns: slice = slice(6, 12)) -> np.ndarray:
    """A mask with a rectangle of `value`; 0 writes an empty one."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[rows, columns] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    return pixels


def neu_seg(folder: Path) -> None:
    for split, numbers in (("training", range(1, 10)), ("test", range(1, 4))):
        for number in numbers:
            picture(folder / f"images/{split}/{number:06d}.jpg")
            mask(folder / f"annotations/{split}/{number:06d}.png", value=1 + number % 3)
    both = mask(folder / "annotations/training/000001.png", value=1)
    both[18:20] = 3
    cv2.imwrite(str(folder / "annotations/training/000001.png"), both)


def magnetic_tiles(folder: Path) -> None:
    for tile in range(12):
        kind = ("Free", "Crack", "Blowhole")[tile % 3]
        for exposure in range(1, 4):
            stem = f"MT_{kind}/Imgs/exp{exposure}_num_{tile * 1000 + exposure * 20}"
            picture(folder / f"{stem}.jpg")
            mask(folder / f"{stem}.png", value=0 if kind == "Free" else 255)


def kolektor_sdd2(folder: Path) -> None:
    for split, count in (("train", 6), ("test", 3)):
        for number in range(count):
            picture(folder / f"{split}/{number}.png")
            mask(folder / f"{split}/{number}_GT.png", value=255 * (number % 2))
    mask(folder / "train/1_GT (copy).png")  # the published archive has such copies


def dagm(folder: Path) -> None:
    for texture in (1, 2, 10):
        for split in ("Train", "Test"):
            for number in range(1, 5):
                picture(folder / f"Class{texture}/{split}/{number:04d}.PNG")
            mask(folder / f"Class{texture}/{split}/Label/0002_label.PNG")


def mvtec(folder: Path) -> None:
    for number in range(6):
        picture(folder / f"train/good/{number:03d}.png")
        picture(folder / f"test/scratch/{number:03d}.png")
        mask(folder / f"ground_truth/scratch/{number:03d}_mask.png")
        picture(folder / f"test/dent/{number:03d}.png")
        mask(folder / f"ground_truth/dent/{number:03d}_mask.png")
    for number in range(2):
        picture(folder / f"test/good/{number:03d}.png")
