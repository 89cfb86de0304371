"""Which pixels of a mask file are defect: the one decision that `data check`, `train` and `test` share (docs/data.md).

Label tools write masks as 0/255, as 0 and any other value, as class indices, with a palette, in colour, with an alpha
channel, in 16 bit, with soft edges, and with a value for "ignore". What can be read in two ways is refused: a defective
image must never become a good one in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from f2pnet.errors import ConfigError
from f2pnet.pictures.decode import check_whole
from f2pnet.pictures.header import UnreadablePicture
from training.recipe import MaskRule

Pixels = NDArray[np.uint8]
Values = NDArray[Any]
"""(H, W), integers, as the file holds them."""
Form = Literal["binary", "indices", "soft"]

LARGEST_CLASS_INDEX = 31
"""Masks whose largest value is at most this hold class indices, not grey (docs/network.md, D10)."""
IGNORE = 255
"""Beside class indices, the value of pixels that are neither defect nor background: Pascal VOC's `void`."""
VOID_COLOUR = (224, 224, 192)
"""How Pascal VOC paints `void` in colour masks and palettes."""
HALF = 128
MOST_COLOURS = 32
FLAT_PX = 5
"""A grey area that holds a square of this side is no soft edge."""
GREY = (32, 223)
LOST = 64
"""A spot that reaches this grey, and not 128, would vanish without a word."""


class UnusableMask(ConfigError):
    """A mask that can't be read as defect and background. `kind` names the fault without the file."""

    def __init__(self, path: Path, kind: str, more: str = "", *, message: str | None = None) -> None:
        super().__init__(f"{path}: {message or kind + more}")
        self.kind = kind


@dataclass(frozen=True)
class Mask:
    """`defect` (H, W; 0 or 1); `ignored` (H, W; 0 or 1) counts neither as defect nor as background, None: nowhere.

    `form` says how the file was read.
    """

    defect: Pixels
    ignored: Pixels | None
    form: Form


def read_mask(path: Path, rule: MaskRule = "foreground") -> Mask:
    """Read one mask file. Raises UnusableMask, which names the file, what it holds and the cure."""
    values, void = mask_values(path)
    if rule == "reference":
        return Mask(foreground(values, rule), None, "binary")
    try:
        mask = decide(values)
    except ValueError as error:
        raise UnusableMask(path, str(error)) from error
    return mask if void is None else _without(mask, void)


def foreground(values: Values, rule: MaskRule = "foreground") -> Pixels:
    """(H, W; 0 or 1) of the values of a mask; raises ValueError where they can be read in two ways.

    The rule `reference` repeats the published code's (D10): scaled to a largest value of 255, a pixel counts above
    254. Of class indices that leaves the largest alone.
    """
    if rule == "reference":
        return (values * (255 / max(int(values.max(initial=0)), 1)) > 254).astype(np.uint8)
    return decide(values).defect


def decide(values: Values) -> Mask:
    """The rule, on the values (H, W) of a mask.

    - 0 and one other value: the other is defect, whatever it is;
    - values up to 31: class indices, all above 0 defect; 255 (65535 in 16 bit) beside them is ignored;
    - grey of the full range: defect from half of it on, if the rest are the soft edges of what reaches it.

    Raises ValueError for anything else.
    """
    found = np.unique(values)
    above = found[found > 0]
    if len(found) == 1 and found[0] > LARGEST_CLASS_INDEX and found[0] not in (IGNORE, 65535):
        raise ValueError(f"mask holds the value {found[0]} everywhere: wanted 0 for background")
    if len(above) <= 1:
        is_index = len(above) == 1 and above[0] <= LARGEST_CLASS_INDEX
        return Mask((values > 0).astype(np.uint8), None, "indices" if is_index else "binary")
    full = 65535 if found[-1] > IGNORE else IGNORE
    indices = above[above <= LARGEST_CLASS_INDEX]
    if len(indices) == len(above):
        return Mask((values > 0).astype(np.uint8), None, "indices")
    if len(indices) and set(above.tolist()) - set(indices.tolist()) <= {IGNORE, full}:
        ignored = values > LARGEST_CLASS_INDEX
        return Mask(((values > 0) & ~ignored).astype(np.uint8), ignored.astype(np.uint8), "indices")
    if found[-1] > IGNORE and found[-1] < 0xFF00:
        shown = ", ".join(str(value) for value in found[:4])
        raise ValueError(
            f"16-bit mask holds {len(found)} values ({shown} ...), which may be object numbers or grey: "
            "save it as 0 and 255"
        )
    return _soft((values >> 8).astype(np.uint8) if found[-1] > IGNORE else values.astype(np.uint8))


def _soft(grey: Pixels) -> Mask:
    defect = (grey >= HALF).astype(np.uint8)
    square = np.ones((FLAT_PX, FLAT_PX), np.uint8)
    flat = (cv2.erode(grey, square) == cv2.dilate(grey, square)) & (grey >= GREY[0]) & (grey <= GREY[1])
    if flat.any():
        raise ValueError(
            f"mask holds areas of grey {int(grey[flat][0])} beside {int(grey.max())}: classes, or unsure? "
            "Save it as 0 and 255, or as class indices 0, 1, 2, ..."
        )
    count, labels = cv2.connectedComponents((grey >= LOST).astype(np.uint8), connectivity=8)
    if lost := set(range(1, count)) - set(np.unique(labels[defect > 0]).tolist()):
        peak = int(grey[labels == min(lost)].max())
        raise ValueError(
            f"mask holds a spot of grey {peak}, below the half that counts as defect: save it as 0 and 255"
        )
    return Mask(defect, None, "soft")


def _without(mask: Mask, void: NDArray[np.bool_]) -> Mask:
    ignored = void if mask.ignored is None else void | (mask.ignored > 0)
    return Mask(np.where(void, 0, mask.defect).astype(np.uint8), ignored.astype(np.uint8), mask.form)


def mask_values(path: Path) -> tuple[Values, NDArray[np.bool_] | None]:
    """The values (H, W) of a mask file, and where it is painted as void: palettes give indices, colours are numbered.

    A mask that carries an orientation (EXIF) is turned by it. Raises UnusableMask.
    """
    try:
        check_whole(path)
    except UnreadablePicture as error:
        raise UnusableMask(path, "mask is missing, corrupt or of an unknown format", f" ({error})") from error
    try:
        with Image.open(path) as file:
            palette = _palette(file)
            turned = ImageOps.exif_transpose(file)
            if palette is not None and _black_elsewhere(palette):
                turned, palette = turned.convert("RGB"), None
            pixels = np.asarray(turned)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnusableMask(path, "mask is missing, corrupt or of an unknown format", f" ({error})") from error
    return _one_channel(path, pixels) if palette is None else _indices(pixels, palette)


Palette = list[tuple[int, ...]]


def _palette(file: Image.Image) -> Palette | None:
    """The colours of a palette; None without one, and for one that only says that 7 is grey 7."""
    if file.mode != "P":
        return None
    flat = file.getpalette("RGB") or []
    colours = [tuple(flat[at : at + 3]) for at in range(0, len(flat), 3)]
    return None if colours == [(grey, grey, grey) for grey in range(len(colours))] else colours


def _black_elsewhere(palette: Palette) -> bool:
    """Whether a program has sorted the colours anew, so that index 0 is no background: then colours decide."""
    return palette[0] != (0, 0, 0) and (0, 0, 0) in palette


def _indices(pixels: Values, palette: Palette) -> tuple[Values, NDArray[np.bool_] | None]:
    """Palette indices as class indices, numbered anew where they are larger than those can be; and where void stands:
    index 255 in VOC's colour is no defect, even if no class stands beside it."""
    void = pixels == IGNORE
    is_void = bool(void.any()) and len(palette) > IGNORE and palette[IGNORE] == VOID_COLOUR
    others = np.unique(pixels[~void])
    if len(others) and others[-1] > LARGEST_CLASS_INDEX:
        pixels = np.where(void, IGNORE, np.searchsorted(np.union1d(others, [0]), pixels)).astype(np.uint8)
    return pixels, void if is_void else None


def _one_channel(path: Path, pixels: Values) -> tuple[Values, NDArray[np.bool_] | None]:
    if pixels.dtype == bool:
        return pixels.astype(np.uint8), None
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or (pixels < 0).any() or (pixels != np.rint(pixels)).any():
            raise UnusableMask(path, "mask holds fractions: save it as 0 and 255")
        pixels = pixels.astype(np.int64)
    if pixels.ndim == 2:
        return pixels, None
    colours, alpha = (pixels, None) if pixels.shape[2] == 3 else (pixels[..., :-1], pixels[..., -1])
    if alpha is not None and int(alpha.min()) < IGNORE:
        colours = _over_black(path, colours, alpha)
    if colours.shape[2] == 1 or not (colours != colours[..., :1]).any():
        return np.ascontiguousarray(colours[..., 0]), None
    return _numbered(path, colours)


def _over_black(path: Path, colours: Values, alpha: Values) -> Values:
    """What is transparent is background; where all is black, what is drawn in the alpha channel is the mask."""
    if not alpha.any() and colours.any():
        raise UnusableMask(path, "mask is fully transparent and yet holds colours: save it without an alpha channel")
    if not colours.any():
        return alpha[..., None]
    return np.rint(colours.astype(np.float32) * (alpha[..., None] / 255)).astype(np.uint8)


def _numbered(path: Path, colours: Values) -> tuple[Values, NDArray[np.bool_] | None]:
    """Colours as class indices, black as 0; and where VOC's colour of void stands."""
    weights = np.array([1 << 16, 1 << 8, 1])
    numbers = colours.astype(np.int64) @ weights
    found, places = np.unique(numbers, return_inverse=True)
    if len(found) > MOST_COLOURS:
        raise UnusableMask(path, "mask holds more than 31 colours: wanted flat colours (PNG, no soft edges), or 0/255")
    if found[0] != 0:
        raise UnusableMask(path, "mask in colour without black: wanted black for background")
    void = numbers == int(np.array(VOID_COLOUR) @ weights)
    values = places.reshape(numbers.shape).astype(np.uint8)
    return values, void if void.any() else None
