"""RTSP cameras, against a real server on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from f2pnet.config.sources import RtspSource
from pipeline.sources import SourceFault, open_source
from tests.servers.reading import read_frames, read_until
from tests.servers.rtsp_camera import RtspCamera, need_gstreamer, number_shown, sent_ms_shown

pytestmark = pytest.mark.usefixtures("gstreamer")


@pytest.fixture(scope="module")
def gstreamer() -> None:
    need_gstreamer()


@pytest.fixture
def camera(gstreamer: None) -> Iterator[RtspCamera]:
    with RtspCamera() as running:
        yield running


def _after_sending_ms(at_ns: int, sent_ms: int) -> int:
    """From the time written in a picture to `at_ns`; both wrap at 2^16 ms."""
    return (at_ns // 1_000_000 - sent_ms + 0x8000) % 0x10000 - 0x8000


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_no_frame_is_lost_or_late_and_each_knows_when_it_was_taken(camera: RtspCamera, transport: str) -> None:
    config = RtspSource.model_validate({"url": f"rtsp://{camera.address}", "transport": transport})
    with open_source(config, start_index=100) as source:
        assert source.live
        first = read_frames(source, 1)[0]
        numbers, ages_ms = [number_shown(first.image)], []
        for index in range(101, 140):
            frame = read_frames(source, 1)[0]
            assert frame.index == index
            numbers.append(number_shown(frame.image))
            ages_ms.append(_after_sending_ms(frame.captured_at_ns, sent_ms_shown(frame.image)))

    assert numbers == list(range(numbers[0], numbers[0] + 40))
    settled_ms = ages_ms[20:]  # by then the fastest way through a busy machine has been seen
    assert max(settled_ms) - min(settled_ms) <= 50
    assert all(0 <= age_ms < 1000 for age_ms in ages_ms)


def test_h265_is_read_as_well(gstreamer: None) -> None:
    with RtspCamera(codec="h265") as camera, open_source(RtspSource(url=f"rtsp://{camera.address}")) as source:
        numbers = [number_shown(read_frames(source, 1)[0].image) for _ in range(30)]
    assert numbers == list(range(numbers[0], numbers[0] + 30))


def test_hung_camera_is_a_fault_in_time(camera: RtspCamera) -> None:
    with open_source(RtspSource(url=f"rtsp://{camera.address}", timeout_s=1)) as source:
        read_frames(source, 3)
        camera.hang()
        started_s = time.monotonic()
        _, fault = read_until(source, SourceFault)
        took_s = time.monotonic() - started_s

    assert "silent for 1 s" in str(fault)
    assert took_s < 3


def test_camera_that_goes_away_is_a_fault_at_once(camera: RtspCamera) -> None:
    with open_source(RtspSource(url=f"rtsp://{camera.address}", timeout_s=10)) as source:
        read_frames(source, 3)
        camera.kill()
        started_s = time.monotonic()
        read_until(source, SourceFault)

    assert time.monotonic() - started_s < 3


def test_hung_camera_does_not_hold_up_opening(camera: RtspCamera) -> None:
    camera.hang()
    started_s = time.monotonic()

    with pytest.raises(SourceFault, match="silent for 1 s"):
        open_source(RtspSource(url=f"rtsp://{camera.address}", timeout_s=1))

    assert time.monotonic() - started_s < 3


def test_login_is_used_and_never_shown(gstreamer: None) -> None:
    with RtspCamera(user="operator", password="s3cret") as camera:
        with open_source(RtspSource(url=f"rtsp://operator:s3cret@{camera.address}")) as source:
            read_frames(source, 1)
        with pytest.raises(SourceFault, match="401") as caught:
            open_source(RtspSource(url=f"rtsp://operator:wr0ng@{camera.address}"))

    assert "wr0ng" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_camera_is_there_again_after_a_fault(camera: RtspCamera) -> None:
    with open_source(RtspSource(url=f"rtsp://{camera.address}")) as source:
        last = read_frames(source, 2)[-1].index
    with open_source(RtspSource(url=f"rtsp://{camera.address}"), start_index=last + 1) as source:
        assert read_frames(source, 1)[0].index == last + 1
