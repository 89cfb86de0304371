"""GigE Vision cameras through Aravis, whose fake camera is a real device on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from f2pnet.config.sources import GenicamSource
from f2pnet.errors import ConfigError
from pipeline.sources import open_source
from pipeline.sources.base import SourceFault
from tests.servers.gige_camera import GigeCamera, need_aravis
from tests.servers.reading import read_frames, read_until

FPS = 25
LOST_OVER_UDP = 3


@pytest.fixture(scope="module", autouse=True)
def aravis() -> None:
    need_aravis()


@pytest.fixture(scope="module")
def camera(aravis: None) -> Iterator[GigeCamera]:
    with GigeCamera() as running:
        yield running


@pytest.mark.parametrize("name", ["F2P-1", "127.0.0.1", None])
def test_pictures_come_in_order_by_the_camera_s_clock(camera: GigeCamera, name: str | None) -> None:
    with open_source(GenicamSource(serial=name), start_index=5) as source:
        frames = read_frames(source, 30, passing_over=LOST_OVER_UDP)
    assert {frame.index for frame in frames} <= set(range(5, 35 + LOST_OVER_UDP))
    assert np.all(np.diff([frame.index for frame in frames]) > 0)
    assert {frame.image.shape for frame in frames} == {(512, 512)}
    assert any(np.any(frames[0].image != frame.image) for frame in frames[1:])
    steps_ms = np.diff([frame.captured_at_ns for frame in frames][10:]) / 1e6
    assert abs(np.median(steps_ms) - 1000 / FPS) < 10
    assert all(abs(frame.captured_at_ns - time.time_ns()) < 30e9 for frame in frames)


def test_features_are_set_before_the_first_picture(camera: GigeCamera) -> None:
    config = GenicamSource(serial="F2P-1", exposure_us=2000, features={"Width": 320, "Height": 240, "GainRaw": 1})
    with open_source(config) as source:
        (frame,) = read_frames(source, 1, passing_over=LOST_OVER_UDP)
    assert frame.image.shape == (240, 320)


def test_a_camera_that_waits_for_its_trigger_is_not_lost(camera: GigeCamera) -> None:
    with open_source(GenicamSource(serial="F2P-1", trigger="Software", timeout_s=0.2)) as source:
        assert [source.read(0.3) for _ in range(3)] == [None, None, None]


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ({"serial": "4711"}, SourceFault, r"4711 is not there; Aravis sees: F2P-1 \(Aravis-Fake-F2P-1, 127.0.0.1\)"),
        ({"features": {"Wdith": 3}}, ConfigError, "no feature Wdith"),
        ({"features": {"PixelFormat": "Mono7"}}, ConfigError, "refuses PixelFormat: 'Mono7'"),
    ],
)
def test_what_does_not_fit_is_told(
    camera: GigeCamera, option: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        open_source(GenicamSource.model_validate(option))


def test_a_camera_that_somebody_else_has_is_tried_again_and_no_mistake_of_the_file(camera: GigeCamera) -> None:
    with open_source(GenicamSource(serial="F2P-1")) as source:
        read_frames(source, 1, passing_over=LOST_OVER_UDP)
        with pytest.raises(SourceFault, match="F2P-1 can't be opened"):
            open_source(GenicamSource(serial="F2P-1"))


def test_a_hung_camera_is_a_fault_in_time(camera: GigeCamera) -> None:
    with open_source(GenicamSource(serial="F2P-1", timeout_s=1)) as source:
        read_frames(source, 3, passing_over=LOST_OVER_UDP)
        camera.hang()
        began_s = time.monotonic()
        _, fault = read_until(source, SourceFault)
    camera.go_on()
    assert "silent for 1 s" in str(fault)
    assert 0.9 < time.monotonic() - began_s < 4
