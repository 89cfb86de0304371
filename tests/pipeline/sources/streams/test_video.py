"""A video file as a camera."""

from __future__ import annotations

import time
from pathlib import Path

import av
import numpy as np
import pytest

from f2pnet.config.sources import VideoSource
from f2pnet.errors import MissingResource
from pipeline.sources import BadFrame, Frame, SourceEnded, SourceFault, open_source
from tests.f2pnet.pictures.videos import asks_for_a_quarter_turn
from tests.servers.reading import read_frames, read_until

FRAMES, FPS = 40, 25


def _write_video(path: Path, codec: str, **options: str) -> Path:
    """Frame n is a flat grey of 5 n, with some noise so that packets have a size."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(FRAMES):
            noise = np.random.default_rng(number).integers(0, 12, (120, 160, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise + np.uint8(5 * number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_video(tmp_path_factory.mktemp("video") / "belt.mp4", "libx264", movflags="faststart")


def _numbers(items: list[Frame | BadFrame]) -> list[int]:
    return [round((float(item.image.mean()) - 5.5) / 5) for item in items if isinstance(item, Frame)]


def test_every_frame_comes_once_then_the_source_ends(video: Path) -> None:
    with open_source(VideoSource(path=video, fps=1000)) as source:
        assert not source.live
        items, _ = read_until(source, SourceEnded)

    assert _numbers(items) == list(range(FRAMES))
    assert [item.index for item in items] == list(range(FRAMES))
    first = items[0]
    assert isinstance(first, Frame)
    assert first.image.shape == (120, 160, 3)
    assert first.image.flags.c_contiguous


def test_file_plays_at_its_own_rate(video: Path) -> None:
    started_s = time.monotonic()
    with open_source(VideoSource(path=video)) as source:
        read_frames(source, 11)

    assert 10 / FPS <= time.monotonic() - started_s < 10 / FPS + 3


def test_reading_goes_on_where_it_stopped(video: Path) -> None:
    with open_source(VideoSource(path=video, fps=1000), start_index=37) as source:
        items, _ = read_until(source, SourceEnded)

    assert [item.index for item in items] == [37, 38, 39]
    assert _numbers(items) == [37, 38, 39]


def test_looped_file_begins_again(video: Path) -> None:
    with open_source(VideoSource(path=video, fps=1000, loop=True), start_index=10 * FRAMES + 38) as source:
        frames = read_frames(source, 4)

    assert [frame.index for frame in frames] == [438, 439, 440, 441]
    assert _numbers([*frames]) == [38, 39, 0, 1]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("belt.mp4", "libx264", {"movflags": "faststart"}),
        ("belt.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("belt.mkv", "libx264", {}),
        ("belt.avi", "mjpeg", {}),
    ],
)
@pytest.mark.parametrize("share", [0.95, 0.5])
def test_cut_off_file_is_a_fault_that_names_the_frame(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], share: float
) -> None:
    path = _write_video(tmp_path / name, codec, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with open_source(VideoSource(path=path, fps=1000)) as source:
        items, fault = read_until(source, SourceFault)

    assert f"broke off after frame {len(items)}" in str(fault)
    assert 0.6 * share * FRAMES < len(items) < FRAMES
    good = _numbers(items)
    assert good == sorted(set(good))
    assert len(items) - len(good) <= 1


def test_file_whose_index_is_missing_is_a_fault_at_once(tmp_path: Path) -> None:
    path = _write_video(tmp_path / "belt.mp4", "libx264")  # the index stands at the end
    path.write_bytes(path.read_bytes()[:-2000])

    with pytest.raises(SourceFault, match=r"belt\.mp4: it can't be opened"):
        open_source(VideoSource(path=path))


def test_whole_file_is_not_taken_for_a_cut_off_one(tmp_path: Path) -> None:
    for name, codec in (("a.mkv", "libx264"), ("b.avi", "mjpeg"), ("c.ts", "libx264"), ("d.mp4", "libx264")):
        with open_source(VideoSource(path=_write_video(tmp_path / name, codec), fps=1000)) as source:
            assert _numbers(read_until(source, SourceEnded)[0]) == list(range(FRAMES)), name


def test_video_that_asks_to_be_turned_is_read_as_stored_with_a_note(video: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(video.read_bytes())
    with open_source(VideoSource(path=asks_for_a_quarter_turn(turned), fps=1000)) as source:
        first = source.read(5)
        assert isinstance(first, Frame)
        assert first.image.shape == (120, 160, 3)
        assert "turned by 90 degrees clockwise" in str(source.note)
    with open_source(VideoSource(path=video, fps=1000)) as source:
        source.read(5)
        assert source.note is None


def test_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"no video file .*nowhere\.mp4"):
        open_source(VideoSource(path=tmp_path / "nowhere.mp4"))


def test_file_that_is_no_video_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")

    with pytest.raises(SourceFault, match="is it whole, and a video"):
        open_source(VideoSource(path=tmp_path / "notes.mp4"))
