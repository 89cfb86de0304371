"""Videos: what was predicted from a damaged or lost picture is not inspected, and everything else is."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from f2pnet.pictures.video import UnreadableVideo, VideoCutShort, VideoFile, VideoPicture
from tests.f2pnet.pictures.videos import (
    FRAMES,
    HEIGHT,
    KEYFRAME_EVERY,
    WIDTH,
    Damage,
    asks_for_a_quarter_turn,
    cut,
    lost,
    number_of,
    picture,
    scrambled,
    with_damage,
    write_video,
    zeroed,
)

HIT = 30  # the packet that is damaged, in the middle of the pictures 20 to 39
SPOILED = range(HIT, 2 * KEYFRAME_EVERY)
NO_B_FRAMES = {"bf": "0"}


def _read(path: Path) -> list[VideoPicture]:
    with VideoFile(path) as video:
        return list(video.pictures())


def _whole(pictures: list[VideoPicture]) -> list[int]:
    """Numbers of the pictures that were given."""
    return [number_of(each.pixels) for each in pictures if each.pixels is not None]


def _without(spoiled: range) -> list[int]:
    return [number for number in range(FRAMES) if number not in spoiled]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("several-references.mkv", "libx264", {"refs": "4", "bf": "3", "b-pyramid": "normal"}),
        ("baseline.mp4", "libx264", {"profile": "baseline"}),
        ("slices.ts", "libx264", {"slices": "4"}),
        ("open-gop.mp4", "libx264", {"x264-params": "open-gop=1"}),
        ("interlaced.ts", "libx264", {"x264-params": "interlaced=1"}),
        ("a.mov", "libx265", {"x265-params": "log-level=none"}),
        ("h265.ts", "libx265", {"x265-params": "log-level=none:bframes=0"}),
        ("a.avi", "mpeg4", {}),
        ("a.mpg", "mpeg2video", {}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("vp8.webm", "libvpx", {"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    ],
)
def test_whole_video_gives_every_picture(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    pictures = _read(write_video(tmp_path / name, codec, **options))

    assert [each.problem for each in pictures] == [None] * FRAMES
    assert _whole(pictures) == list(range(FRAMES))


@pytest.mark.parametrize("damage", [lost, zeroed, cut, scrambled])
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_damage_of_h264_spoils_everything_up_to_the_next_keyframe(tmp_path: Path, suffix: str, damage: Damage) -> None:
    whole = write_video(tmp_path / f"whole{suffix}", "libx264", **NO_B_FRAMES)

    pictures = _read(with_damage(whole, tmp_path / f"damaged{suffix}", {HIT: damage}))

    assert _whole(pictures) == _without(SPOILED)
    first, *others = [each for each in pictures if each.problem is not None]
    assert "nothing is inspected until the next keyframe" in str(first.problem)
    assert not first.follows
    assert all(each.follows for each in others)
    assert len(pictures) == (FRAMES - 1 if damage is lost else FRAMES)


@pytest.mark.parametrize("damage", [lost, zeroed, cut])
def test_damage_of_h264_with_reordered_pictures_spoils_no_picture_before_it(tmp_path: Path, damage: Damage) -> None:
    whole = write_video(tmp_path / "whole.mp4", "libx264", bf="2", refs="3")

    pictures = _read(with_damage(whole, tmp_path / "damaged.mp4", {21: damage}))

    assert set(_whole(pictures)) <= set(_without(range(24, 40)))
    assert set(_whole(pictures)) >= set(range(20)) | set(range(40, 60))


@pytest.mark.parametrize("damage", [lost, zeroed, cut])
@pytest.mark.parametrize("open_gop", [0, 1])
def test_damage_of_h265_spoils_everything_up_to_the_next_keyframe(
    tmp_path: Path, open_gop: int, damage: Damage
) -> None:
    params = f"log-level=none:bframes=0:open-gop={open_gop}"
    whole = write_video(tmp_path / "whole.mp4", "libx265", **{"x265-params": params})

    pictures = _read(with_damage(whole, tmp_path / "damaged.mp4", {HIT: damage}))

    assert _whole(pictures) == _without(SPOILED)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.ts", "mpeg2video")])
@pytest.mark.parametrize("damage", [zeroed, cut, scrambled])
def test_damage_of_older_formats_spoils_everything_up_to_the_next_keyframe(
    tmp_path: Path, name: str, codec: str, damage: Damage
) -> None:
    whole = write_video(tmp_path / name, codec)

    pictures = _read(with_damage(whole, tmp_path / f"damaged-{name}", {HIT: damage}))

    assert _whole(pictures) == _without(SPOILED)


def test_damaged_keyframe_spoils_its_pictures_and_no_others(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", "libx264", **NO_B_FRAMES)

    pictures = _read(with_damage(whole, tmp_path / "damaged.mp4", {20: zeroed}))

    assert _whole(pictures) == _without(range(20, 40))


def test_damage_in_two_places_is_told_twice(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", "libx264", **NO_B_FRAMES)

    pictures = _read(with_damage(whole, tmp_path / "damaged.mp4", {10: zeroed, 50: cut}))

    assert _whole(pictures) == [*range(10), *range(20, 50)]
    assert sum(each.problem is not None and not each.follows for each in pictures) == 2


def test_lost_transport_packet_spoils_everything_up_to_the_next_keyframe(tmp_path: Path) -> None:
    """188 bytes are missing in the middle of a picture: MPEG-TS counts its packets, and the count has a gap."""
    path = write_video(tmp_path / "a.ts", "libx264", **NO_B_FRAMES)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data, at = path.read_bytes(), (packets[HIT].pos or 0) + 188
    path.write_bytes(data[:at] + data[at + 188 :])

    given = set(_whole(_read(path)))

    assert given >= set(range(HIT - 1)) | set(range(40, 60))
    assert not given & set(SPOILED)


def test_recording_that_begins_between_two_keyframes(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.ts", "libx264", **NO_B_FRAMES)
    without_start = dict.fromkeys(range(5), lost)

    pictures = _read(with_damage(whole, tmp_path / "late.ts", without_start))

    assert _whole(pictures) == list(range(20, 60))
    assert "begins between two keyframes" in str(pictures[0].problem)
    assert len(pictures) == 55


def test_pauses_of_a_triggered_camera_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "triggered.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        times = [*range(10), *range(80, 90), *range(400, 410)]
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    assert [each.problem for each in _read(path)] == [None] * 30


def test_rotation_that_the_container_asks_for_is_told_and_not_applied(tmp_path: Path) -> None:
    """As on the line: regions of interest and sizes are those of the sensor."""
    path = asks_for_a_quarter_turn(write_video(tmp_path / "a.mp4", "libx264", frames=5))

    with VideoFile(path) as video:
        assert {each.pixels.shape for each in video.pictures() if each.pixels is not None} == {(HEIGHT, WIDTH, 3)}
        assert "shown turned by 90 degrees clockwise" in str(video.note)


def test_a_video_that_is_upright_has_no_note(tmp_path: Path) -> None:
    with VideoFile(write_video(tmp_path / "a.mp4", "libx264", frames=5)) as video:
        list(video.pictures())
        assert video.note is None


def test_damage_at_the_end_is_not_taken_for_a_missing_end(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", "libx264", **NO_B_FRAMES)

    assert _whole(_read(with_damage(whole, tmp_path / "damaged.mp4", {50: zeroed}))) == list(range(50))


def test_file_that_breaks_off_says_where(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", "libx264", **NO_B_FRAMES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with (
        VideoFile(path) as video,
        pytest.raises(VideoCutShort, match=r"broke off after frame \d+, at [01]\.\d+ of 2\.4"),
    ):
        list(video.pictures())


def test_picture_that_would_take_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", "libx264", frames=3)

    with VideoFile(path, max_bytes=WIDTH * HEIGHT) as video:
        pictures = list(video.pictures())

    assert [(each.pixels, each.too_large) for each in pictures] == [(None, True)] * 3
    assert "max_frame_mb" in str(pictures[0].problem)


def test_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")

    with pytest.raises(UnreadableVideo, match="is it whole, and a video"):
        VideoFile(tmp_path / "a.mp4")
