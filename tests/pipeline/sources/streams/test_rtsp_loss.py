"""RTSP cameras that lose packets, begin in the middle, or send keyframes rarely: a server that does so on purpose."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from f2pnet.config.sources import RtspSource
from pipeline.sources import BadFrame, Frame, SourceFault, open_source
from pipeline.sources.streams.rtsp import TimeGaps
from tests.f2pnet.pictures.videos import number_of, write_video
from tests.servers.lossy_rtsp import Loses, LossyRtspCamera, parts_of_picture
from tests.servers.reading import read_until

FRAMES = 60
Items = list[Frame | BadFrame]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures with keyframes at 0, 20 and 40, each of several RTP packets."""
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", "libx264", bf="0", tune="zerolatency")


def _read(camera: LossyRtspCamera, transport: str = "tcp") -> Items:
    config = RtspSource.model_validate({"url": camera.url, "transport": transport, "timeout_s": 1.5})
    with open_source(config) as source:
        items, _ = read_until(source, SourceFault)
    return items


def _numbers(items: Items) -> list[int]:
    return [number_of(item.image) for item in items if isinstance(item, Frame)]


def _told(items: Items) -> list[str]:
    return [item.detail for item in items if isinstance(item, BadFrame) and not item.follows]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_every_picture_comes_from_the_first_keyframe_on(video: Path, transport: str) -> None:
    with LossyRtspCamera(video) as camera:
        items = _read(camera, transport)

    assert _numbers(items) == list(range(FRAMES))
    assert _told(items) == []


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    "loses",
    [parts_of_picture(30), parts_of_picture(30, [0]), parts_of_picture(30, [1])],
    ids=["picture", "beginning", "middle"],
)
def test_loss_spoils_everything_up_to_the_next_keyframe_and_is_told_once(
    video: Path, transport: str, loses: Loses
) -> None:
    with LossyRtspCamera(video, loses) as camera:
        items = _read(camera, transport)

    numbers = _numbers(items)
    assert set(numbers) >= set(range(29)) | set(range(40, FRAMES))
    assert not set(numbers) & set(range(30, 40))
    (told,) = _told(items)
    assert "lost on the way; nothing is inspected until the next keyframe" in told
    assert [item.index for item in items] == list(range(len(items)))


def test_lost_keyframe_spoils_its_pictures(video: Path) -> None:
    with LossyRtspCamera(video, parts_of_picture(20)) as camera:
        numbers = _numbers(_read(camera))

    assert set(numbers) >= set(range(19)) | set(range(40, FRAMES))
    assert not set(numbers) & set(range(20, 40))


def test_leap_of_the_times_is_a_lost_picture(video: Path) -> None:
    with LossyRtspCamera(video, leaps={30: 0.1}) as camera:
        items = _read(camera)

    assert _numbers(items) == [*range(30), *range(40, FRAMES)]
    (told,) = _told(items)
    assert "time leaps by 0.12 s where 0.02 s are usual" in told


def test_leap_before_a_keyframe_spoils_nothing_and_is_told(video: Path) -> None:
    with LossyRtspCamera(video, leaps={40: 5.0}) as camera:
        items = _read(camera)

    assert _numbers(items) == list(range(FRAMES))
    (told,) = _told(items)
    assert "pictures were lost" in told


def test_camera_that_begins_in_the_middle_is_not_silent_while_it_sends(tmp_path: Path) -> None:
    """2 s without a keyframe, with a time-out of 1.5 s."""
    rare = write_video(tmp_path / "rare.mp4", "libx264", bf="0", tune="zerolatency", g="50")
    with LossyRtspCamera(rare, start=1, fps=20) as camera:
        started_s = time.monotonic()
        items = _read(camera)

    assert _numbers(items) == list(range(50, FRAMES))
    assert len(items) == FRAMES - 1
    (told,) = _told(items)
    assert "begins between two keyframes" in told
    assert time.monotonic() - started_s > 2.5


def _gaps(times_s: list[float]) -> list[int]:
    gaps = TimeGaps()
    return [place for place, time_s in enumerate(times_s) if gaps.gap_before(time_s) is not None]


def test_uneven_times_set_their_own_measure() -> None:
    times_s, time_s = [0.0], 0.0
    for number in range(100):
        time_s += (0.03, 0.05, 0.08)[number % 3]
        times_s.append(time_s)

    assert _gaps(times_s) == []


def test_turn_to_a_slower_rate_is_told_once() -> None:
    fast = [number / 25 for number in range(50)]
    slow = [fast[-1] + number / 10 for number in range(1, 50)]

    assert _gaps(fast + slow) == [50]


def test_time_that_goes_back_is_told() -> None:
    assert _gaps([number / 25 for number in [*range(40), *range(10)]]) == [40]
