"""Baselines without a network. What does not beat them has learned nothing.

`nothing` finds no defect. `twin` copies the mask of the training image that looks most alike, which on a leaking split
does well. `otsu` parts the whole image in two greys. `fill-box` and `otsu-box` are given the box of each true defect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.engine.bundle import Thresholds
from f2pnet.errors import ConfigError
from training.data.examples import read_example, read_frame
from training.data.images import Pixels, read_pair
from training.data.records import Record
from training.metrics.evaluate import Predicted, without_ignored
from training.metrics.thresholds import Choice, Validated
from training.score.names import TrivialName
from training.score.oracle import box_of, prompted_defects

CHOICE = Choice("mask", Thresholds(pixel=0.5, score=0.5, min_area_px=1))
"""A trivial baseline answers 0 or 1; it rejects an image where it finds anything."""
THUMBNAIL_PX = 20
Find = Callable[[Pixels, Pixels], Pixels]
"""(image, true mask) -> found mask (H, W; 0 or 1)"""


def protocol_of(name: TrivialName) -> str:
    """The protocol that a baseline runs under."""
    return "oracle-box" if name in ("fill-box", "otsu-box") else "auto"


def trivial_answers(name: TrivialName, records: Sequence[Record], training: Sequence[Record]) -> Validated:
    """What a baseline finds in each image; only `twin` looks at the training images."""
    find = _twin_finder(training) if name == "twin" else FINDERS[name]
    examples = [read_example(record) for record in records]
    found = [find(_grey(example.image), example.mask).astype(np.float32) for example in examples]
    score = np.array([float(mask.any()) for mask in found], np.float32)
    predicted = without_ignored(Predicted(found, found, score), [example.ignored for example in examples])
    return Validated(predicted, [example.mask for example in examples], [record.label for record in records])


def find_nothing(image: Pixels, truth: Pixels) -> Pixels:
    return np.zeros_like(truth)


def find_otsu(image: Pixels, truth: Pixels) -> Pixels:
    """The rarer of the two greys."""
    bright = _otsu(image)
    return bright if 2 * int(bright.sum()) <= bright.size else 1 - bright


def fill_boxes(image: Pixels, truth: Pixels) -> Pixels:
    found = np.zeros_like(truth)
    for x0, y0, x1, y1 in map(box_of, prompted_defects(truth)):
        found[y0:y1, x0:x1] = 1
    return found


def otsu_in_boxes(image: Pixels, truth: Pixels) -> Pixels:
    """In each box, the grey that is rarer on the box's border: a defect touches it, the surface surrounds it."""
    found = np.zeros_like(truth)
    for x0, y0, x1, y1 in map(box_of, prompted_defects(truth)):
        bright = _otsu(image[y0:y1, x0:x1])
        border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
        found[y0:y1, x0:x1] |= bright if 2 * int(border.sum()) <= border.size else 1 - bright
    return found


FINDERS: dict[TrivialName, Find] = {
    "nothing": find_nothing,
    "otsu": find_otsu,
    "fill-box": fill_boxes,
    "otsu-box": otsu_in_boxes,
}


def dihedral(picture: Pixels) -> Iterator[Pixels]:
    """The eight turns and flips of a picture (H, W)."""
    for turned in (np.rot90(picture, turns) for turns in range(4)):
        yield turned
        yield turned[:, ::-1]


def thumbnail(image: Pixels) -> NDArray[np.float32]:
    """A grey image as a vector of length 1 without its mean: the product of two of them is their correlation."""
    small = cv2.resize(image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def _twin_finder(training: Sequence[Record]) -> Find:
    if not training:
        raise ConfigError("the baseline 'twin' copies masks of training images, and the list of them is empty")
    small = np.array([thumbnail(variant) for record in training for variant in dihedral(_read_grey(record))])

    def copy_mask(image: Pixels, truth: Pixels) -> Pixels:
        number, turn = divmod(int((small @ thumbnail(image)).argmax()), 8)
        mask = list(dihedral(read_pair(training[number])[1]))[turn]
        height, width = truth.shape
        return np.asarray(
            cv2.resize(np.ascontiguousarray(mask), (width, height), interpolation=cv2.INTER_NEAREST), np.uint8
        )

    return copy_mask


def _read_grey(record: Record) -> Pixels:
    return _grey(read_frame(record.file))


def _grey(image: Pixels) -> Pixels:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _otsu(image: Pixels) -> Pixels:
    """1 where brighter than Otsu's threshold."""
    _, bright = cv2.threshold(np.ascontiguousarray(image), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.asarray(bright, np.uint8)
