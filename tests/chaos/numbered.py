"""Pictures that carry their number in their pixels, and the number that an inspection result shows.

The engine of these tests answers with the brightness of each pixel (`tests.toy_engine`), so a result tells what its
picture looked like: squares on a grid are the bits of the number (NG), and of a picture without squares the grey level
is the number modulo 60 (OK). A result that belongs to another picture can't go unseen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 64
CELL = 16
SQUARE = 10
WHITE = 200  # the campaign's engine answers brightness / 200; above 1 the answer is invalid
SQUARE_GREY = 180
GREYS = 60
DARKEST = 20
BITS = 12
NUMBERS = 900
POISONED_EVERY = 97


def is_poisoned(number: int) -> bool:
    """Whether the engine fails on this picture."""
    return number % POISONED_EVERY == 13


def is_ng(number: int) -> bool:
    return not is_poisoned(number) and number % 3 == 0


def picture(number: int) -> npt.NDArray[np.uint8]:
    """(SIDE, SIDE) grey picture of a number below NUMBERS."""
    if is_poisoned(number):
        return np.full((SIDE, SIDE), 255, np.uint8)
    if not is_ng(number):
        return np.full((SIDE, SIDE), DARKEST + number % GREYS, np.uint8)
    image = np.full((SIDE, SIDE), 10, np.uint8)
    for bit in range(BITS):
        if number + 1 >> bit & 1:  # never no square at all
            row, column = divmod(bit, SIDE // CELL)
            top, left = row * CELL + 3, column * CELL + 3
            image[top : top + SQUARE, left : left + SQUARE] = SQUARE_GREY
    return image


def write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(NUMBERS):
        cv2.imwrite(str(folder / f"{number:04d}.png"), picture(number))


def jpeg(number: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture(number), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()


def number_in(result: dict[str, Any]) -> int | None:
    """The number that the squares of an NG result spell; None of a result without squares."""
    number = 0
    for defect in result["defects"]:
        x, y, width, height = defect["bbox_px"]
        column, row = (x + width // 2) // CELL, (y + height // 2) // CELL
        number |= 1 << (row * (SIDE // CELL) + column)
    return number - 1 if number else None


def grey_in(result: dict[str, Any]) -> int:
    """The number modulo GREYS that the grey level of an OK result spells."""
    return round(result["score"] * WHITE) - DARKEST


def shows(data: bytes, number: int) -> bool:
    """Whether the result is that of this picture."""
    result = json.loads(data)
    if result["verdict"] == "NOT_INSPECTED":  # no pixels were judged
        return True
    if is_ng(number):
        return result["verdict"] == "NG" and number_in(result) == number
    return result["verdict"] == "OK" and not is_poisoned(number) and grey_in(result) == number % GREYS
