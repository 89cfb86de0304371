"""Frame ids: spelling, reading back, order, and text that is not one."""

from __future__ import annotations

import random

import pytest

from f2pnet.errors import ConfigError
from f2pnet.frame_id import FrameId

RUN = "01975f3e-8a3b-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("seq", "spelled"), [(0, "000000"), (42, "000042"), (999_999, "999999"), (1_000_000, "1000000")]
)
def test_an_id_is_read_back_as_it_was_written(seq: int, spelled: str) -> None:
    frame = FrameId("cam-1.left", RUN, seq)
    assert str(frame) == f"cam-1.left/{RUN}/{spelled}"
    assert FrameId.parse(str(frame)) == frame
    assert FrameId.parse_or_none(str(frame).encode()) == frame


def test_ids_sort_by_camera_run_and_number_not_by_their_text() -> None:
    later = "01975f3e-8a3c-7000-8000-000000000000"
    ordered = [
        FrameId("cam1", RUN, 9),
        FrameId("cam1", RUN, 999_999),
        FrameId("cam1", RUN, 1_000_000),
        FrameId("cam1", later, 0),
        FrameId("cam2", RUN, 0),
    ]
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled) == ordered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cam1",
        f"cam1/{RUN}",
        f"cam1/{RUN}/",
        f"cam1/{RUN}/x",
        f"cam1/{RUN}/-1",
        f"cam1/{RUN}/1.0",
        f"cam1/{RUN}/²",  # a digit to str.isdigit, and no number
        f"cam1/{RUN}/٣",
        f"cam1/{RUN}/1/2",
        f"/{RUN}/1",
        "cam1//1",
        "cam1/" + "r" * 300 + "/1",
        f"cam1/{RUN}/" + "9" * 5000,
        f"cam1/{RUN}/restart-1",
        f"kamera-ä/{RUN}/1",
        f"cam1\x1b[31m/{RUN}/1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    assert FrameId.parse_or_none(text) is None
    assert FrameId.parse_or_none(text.encode()) is None
    with pytest.raises(ConfigError, match="wanted <camera>/<run>/<number>"):
        FrameId.parse(text)


def test_bytes_that_are_no_text_are_no_id() -> None:
    assert FrameId.parse_or_none(b"cam1/\xff\xfe/1") is None
    assert FrameId.parse_or_none(b"\xff\xff") is None
    assert FrameId.parse_or_none(None) is None
