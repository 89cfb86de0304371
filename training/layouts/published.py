"""The four public sets of this field, in the folders they are published in.

NEU-Seg (repository DHW-Master/NEU_Seg), MT (abin24/Magnetic-tile-defect-datasets.), KolektorSDD2 (ViCoS, University of
Ljubljana) and DAGM2007 (Heidelberg Collaboratory for Image Processing). docs/data.md says where to get them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from f2pnet.errors import ConfigError
from training.data.masks import mask_values, read_mask
from training.layouts.entry import GOOD, Entry, images_in

NEU_CLASSES = {1: "inclusion", 2: "patches", 3: "scratches"}
NEU_SPLITS = {"training": "train", "test": "test"}
MT_KINDS = ("Blowhole", "Break", "Crack", "Fray", "Free", "Uneven")
MT_FRAMES_OF_A_TILE = 100
"""Pictures whose frame numbers are nearer than this may show one tile, in about six exposures one after the other."""


def is_neu_seg(folder: Path) -> bool:
    return (folder / "annotations" / "training").is_dir() and (folder / "images" / "training").is_dir()


def neu_seg(folder: Path) -> Iterator[Entry]:
    """`images/{training,test}/N.jpg`, `annotations/{training,test}/N.png` with class indices 0 to 3; no good images."""
    for source, split in NEU_SPLITS.items():
        for image in images_in(folder / "images" / source):
            mask = folder / "annotations" / source / f"{image.stem}.png"
            indices = sorted(set(np.unique(mask_values(mask)[0]).tolist()) - {0})
            if unknown := [index for index in indices if index not in NEU_CLASSES]:
                raise ConfigError(f"{mask}: holds class index {unknown[0]}, wanted 0 to 3 as in NEU-Seg")
            names = "+".join(NEU_CLASSES[index] for index in indices) or GOOD
            yield Entry(f"{split}/{image.stem}", image, mask, names, split, class_mask=mask)


def is_magnetic_tiles(folder: Path) -> bool:
    return any((folder / f"MT_{kind}" / "Imgs").is_dir() for kind in MT_KINDS)


def magnetic_tiles(folder: Path) -> Iterator[Entry]:
    """`MT_<Kind>/Imgs/expE_num_N.jpg` with the mask beside it as .png; undivided.

    Pictures of one tile follow each other in N, so near numbers make one part; a gap decides, not the kind, since one
    tile may stand under several kinds.
    """
    found = [
        (image, GOOD if kind == "Free" else kind.lower())
        for kind in MT_KINDS
        for image in images_in(folder / f"MT_{kind}" / "Imgs")
        if image.suffix.lower() == ".jpg"
    ]
    part, last = 0, None
    for number, image, kind in sorted((_frame_number(image), image, kind) for image, kind in found):
        part += last is not None and number - last > MT_FRAMES_OF_A_TILE
        last = number
        mask = image.with_suffix(".png") if kind != GOOD else None
        yield Entry(f"{kind}/{image.stem}", image, mask, kind, part_id=f"tile-{part:04d}")


def is_kolektor_sdd2(folder: Path) -> bool:
    return next((folder / "train").glob("*_GT.png"), None) is not None


def kolektor_sdd2(folder: Path) -> Iterator[Entry]:
    """`{train,test}/N.png` and `N_GT.png`; defective where the mask is not empty."""
    for split in ("train", "test"):
        for image in images_in(folder / split):
            if image.stem.endswith("_GT") or "copy" in image.stem:  # the archive has a few stray copies of masks
                continue
            mask = image.with_name(f"{image.stem}_GT.png")
            defective = _defective(mask)
            yield Entry(f"{split}/{image.stem}", image, mask if defective else None, _name(defective), split)


def is_dagm(folder: Path) -> bool:
    return next(folder.glob("Class*/Train/Label"), None) is not None


def dagm(folder: Path) -> Iterator[Entry]:
    """`ClassC/{Train,Test}/N.PNG`, and `Label/N_label.PNG` for the defective ones; the label is an ellipse about it."""
    for texture in sorted(folder.glob("Class*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0)):
        for split in ("Train", "Test"):
            masks = {mask.stem: mask for mask in images_in(texture / split / "Label")}
            for image in images_in(texture / split):
                mask = masks.get(f"{image.stem}_label")
                name = texture.name.lower() if mask else GOOD
                yield Entry(f"{texture.name}/{split}/{image.stem}", image, mask, name, split.lower())


def _frame_number(image: Path) -> int:
    digits = re.search(r"num_(\d+)", image.stem)
    if digits is None:
        raise ConfigError(f"{image}: wanted a name like exp3_num_297524.jpg, as MT publishes them")
    return int(digits[1])


def _name(defective: bool) -> str:
    return "defect" if defective else GOOD


def _defective(path: Path) -> bool:
    return bool(read_mask(path).defect.any())
