"""MVTec-AD's layout (Bergmann et al., 2019): one folder for each product, whose training images are all good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.layouts.entry import GOOD, Entry, first_image, images_in


def is_mvtec(folder: Path) -> bool:
    return (folder / "train" / "good").is_dir() and (folder / "test").is_dir()


def mvtec(folder: Path) -> Iterator[Entry]:
    """`train/good/N.png`, `test/<kind>/N.png`, `ground_truth/<kind>/N_mask.png`.

    A segmentation network learns from defects, and this layout keeps them all for the test. So its good images stay
    where they are, and the defective ones are left undivided, to be shared out among both lists.
    """
    for split in ("train", "test"):
        for image in images_in(folder / split / GOOD):
            yield Entry(f"{split}/good/{image.stem}", image, None, GOOD, split)
    for kind in sorted(path for path in (folder / "test").iterdir() if path.is_dir() and path.name != GOOD):
        for image in images_in(kind):
            mask = first_image(folder / "ground_truth" / kind.name, (f"{image.stem}_mask", image.stem))
            yield Entry(f"{kind.name}/{image.stem}", image, mask, kind.name)
