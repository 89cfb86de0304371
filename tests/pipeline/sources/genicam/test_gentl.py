"""GenICam cameras: the simulated ones of the GenTL producer that the genicam package brings."""

from __future__ import annotations

import time
from pathlib import Path

import genicam
import numpy as np
import pytest

from f2pnet.config.sources import GenicamSource
from f2pnet.errors import ConfigError, MissingResource
from pipeline.sources import open_source
from pipeline.sources.base import Frame, SourceFault
from tests.pipeline.harness import LineUnderTest

PRODUCER = Path(genicam.__file__).with_name("viky.cti")


def frames(config: GenicamSource, count: int, limit_s: float = 20.0) -> list[Frame]:
    found: list[Frame] = []
    until_s = time.monotonic() + limit_s
    with open_source(config, start_index=7) as source:
        while len(found) < count:
            assert time.monotonic() < until_s, f"{len(found)} frames in {limit_s} s"
            item = source.read(0.5)
            if isinstance(item, Frame):
                found.append(item)
    return found


@pytest.mark.parametrize(("serial", "strongest"), [("0", 2), ("1", 1), ("2", 0)])
def test_each_camera_sends_its_colour_in_order(serial: str, strongest: int) -> None:
    """The producer names its cameras red, green and blue, by the colour of what they show."""
    found = frames(GenicamSource(producer=PRODUCER, serial=serial), 8)
    assert [frame.index for frame in found] == list(range(7, 15))
    assert {frame.image.shape for frame in found} == {(400, 400, 3)}
    assert all(frame.image.flags["C_CONTIGUOUS"] for frame in found)
    assert all(abs(frame.captured_at_ns - time.time_ns()) < 30e9 for frame in found)
    strength = np.mean([frame.image.reshape(-1, 3).mean(0) for frame in found], axis=0)
    assert int(np.argmax(strength)) == strongest
    assert any(np.any(found[0].image != frame.image) for frame in found[1:]), "the picture moves"


def test_features_are_set_before_the_first_picture() -> None:
    (frame,) = frames(GenicamSource(producer=PRODUCER, features={"Width": 320, "Height": 240}), 1)
    assert frame.image.shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ({"producer": "/none.cti"}, MissingResource, "driver"),
        ({"serial": "4711"}, SourceFault, r"not there; the producer sees: 0 \(Viky\)"),
        ({"features": {"Wdith": 3}}, ConfigError, "no feature Wdith"),
        ({"features": {"Width": "wide"}}, ConfigError, "refuses Width"),
        ({"trigger": "Line0"}, ConfigError, "no feature TriggerSelector"),
    ],
)
def test_what_does_not_fit_is_told(option: dict[str, object], error: type[Exception], words: str) -> None:
    config = GenicamSource.model_validate({"producer": PRODUCER, **option})
    with pytest.raises(error, match=words):
        open_source(config)


def test_a_line_of_genicam_cameras(line: LineUnderTest) -> None:
    line.config["cameras"] = [
        {"id": f"cam{n}", "source": {"kind": "genicam", "producer": str(PRODUCER), "serial": str(n)}} for n in (0, 1)
    ]
    summary = line.run("--duration", "6")
    for camera in summary["cameras"].values():
        assert camera["inspected"] > 20
        assert camera["captured"] == camera["inspected"] + sum(camera["dropped"].values()) + sum(
            camera["not_inspected"].values()
        )
