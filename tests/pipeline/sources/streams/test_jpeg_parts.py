"""JPEG files in a stream of bytes, found by their own markers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.sources.streams.jpeg_parts import MOST_BETWEEN_BYTES, TORN, JpegParts
from tests.f2pnet.pictures.files import COLOUR, encoded, exif

JPEGS = [
    encoded(Image.fromarray(COLOUR), "JPEG", quality=90),
    encoded(Image.fromarray(COLOUR), "JPEG", progressive=True),
    encoded(Image.fromarray(COLOUR), "JPEG", restart_marker_blocks=2),
    cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (90, 120), dtype=np.uint8))[1].tobytes(),
]


def _with_preview() -> bytes:
    """A JPEG with a smaller one inside its header, as cameras write previews."""
    small = encoded(Image.fromarray(COLOUR[::4, ::4].copy()), "JPEG")
    segment = b"\xff\xe2" + (len(small) + 2).to_bytes(2, "big") + small
    return JPEGS[0][:2] + segment + JPEGS[0][2:]


HEADS = {
    "plain": b"--fr\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n",
    "parameter": b"--fr\r\nContent-Type: image/jpeg; size=%d\r\n\r\n",
    "other name": b"--fr\r\nContent-type:image/jpg\r\nX-Size: %d\r\n\r\n",
    "upper case": b"--fr\r\nCONTENT-TYPE: IMAGE/JPEG\r\nCONTENT-LENGTH: %d\r\n\r\n",
    "no type": b"--fr\r\nContent-Length: %d\r\n\r\n",
    "line feeds only": b"--fr\nContent-Type: image/jpeg\nX: %d\n\n",
    "octets": b"--fr\r\nContent-Type: application/octet-stream\r\nX: %d\r\n\r\n",
    "wrong length": b"--fr\r\nContent-Type: image/jpeg\r\nContent-Length: 7%d\r\n\r\n",
    "text part before": b"--fr\r\nContent-Type: text/plain\r\n\r\nevent=%d\r\n--fr\r\nContent-Type: image/jpeg\r\n\r\n",
    "boundary twice": b"--fr\r\n--fr\r\nContent-Type: image/jpeg\r\nX: %d\r\n\r\n",
    "nothing at all": b"",
}


def _fed(data: bytes, step: int, max_bytes: int = 2**20) -> list[bytes | str]:
    parts = JpegParts(max_bytes)
    found = [item for at in range(0, len(data), step) for item in parts.feed(data[at : at + step])]
    return [*found, *parts.end()]


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_pictures_are_found_whatever_stands_between(head: bytes, step: int) -> None:
    stream = b"".join((head % len(jpeg) if b"%d" in head else head) + jpeg + b"\r\n" for jpeg in JPEGS)

    assert _fed(stream, step) == JPEGS


@pytest.mark.parametrize("step", [1, 1000])
def test_preview_in_a_header_is_no_picture(step: int) -> None:
    jpeg = _with_preview()

    assert _fed(HEADS["plain"] % len(jpeg) + jpeg + b"\r\n--fr", step) == [jpeg]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("with_preview", [False, True])
@pytest.mark.parametrize("step", [1, 1000])
def test_torn_picture_is_told_and_costs_no_other_one(share: float, with_preview: bool, step: int) -> None:
    whole = _with_preview() if with_preview else JPEGS[3]
    torn = whole[: int(len(whole) * share)]
    stream = b"".join(HEADS["plain"] % len(jpeg) + jpeg + b"\r\n" for jpeg in (JPEGS[0], torn, JPEGS[0], JPEGS[1]))

    assert _fed(stream, step) == [JPEGS[0], TORN, JPEGS[0], JPEGS[1]]


def test_picture_that_is_cut_off_by_the_end_is_told() -> None:
    assert _fed(JPEGS[0][:200], 50) == [TORN]


def test_part_that_calls_itself_an_image_and_is_none_is_told() -> None:
    head = HEADS["plain"]
    stream = head % 4 + JPEGS[0] + b"\r\n" + head % 9 + b"no image\r\n" + head % 5 + JPEGS[1]

    first, told, last = _fed(stream, 50)

    assert (first, last) == (JPEGS[0], JPEGS[1])
    assert told == "a part that says it is an image holds no JPEG"


def test_picture_that_is_too_large_is_told_and_not_kept() -> None:
    stream = b"".join(HEADS["plain"] % len(jpeg) + jpeg + b"\r\n" for jpeg in (JPEGS[0], JPEGS[3], JPEGS[0]))

    first, told, last = _fed(stream, 500, max_bytes=len(JPEGS[0]) + 600)

    assert (first, last) == (JPEGS[0], JPEGS[0])
    assert "a JPEG of more than" in str(told)


def test_stream_without_a_picture_ends_and_does_not_grow() -> None:
    with pytest.raises(ValueError, match="sends no JPEG"):
        _fed(b"x" * (2 * MOST_BETWEEN_BYTES), 65_536)


def test_orientation_in_the_header_is_kept_for_the_reader() -> None:
    jpeg = encoded(Image.fromarray(COLOUR), "JPEG", exif=exif(6))

    assert _fed(jpeg, 13) == [jpeg]
