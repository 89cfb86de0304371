"""Which source a configuration or a word on the command line means."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from f2pnet.config.base import StrictModel, parse_config
from f2pnet.config.sources import (
    FolderSource,
    MjpegSource,
    RtspSource,
    SourceConfig,
    SyntheticSource,
    VideoSource,
    source_from_uri,
)
from f2pnet.errors import ConfigError, MissingResource


class Holder(StrictModel):
    source: SourceConfig


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'folder', 'video', 'rtsp', 'mjpeg', 'v4l2', 'genicam', 'synthetic'"):
        parse_config({"source": {"kind": "webcam"}}, Holder, source="line.yaml")


def test_misspelt_option_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'loop'"):
        parse_config({"source": {"kind": "folder", "path": "x", "lop": True}}, Holder, source="line.yaml")


def test_relative_path_is_meant_from_the_folder_of_its_file() -> None:
    holder = parse_config({"source": {"kind": "folder", "path": "images"}}, Holder, source="l", folder=Path("/lines"))

    assert isinstance(holder.source, FolderSource)
    assert holder.source.path == Path("/lines/images")


def test_password_of_a_camera_does_not_show() -> None:
    source = RtspSource(url="rtsp://operator:s3cret@cam1/stream")

    assert "s3cret" not in f"{source!r} {source} {source.model_dump_json()}"
    assert source.url.get_secret_value() == "rtsp://operator:s3cret@cam1/stream"


@pytest.mark.parametrize("url", ["http://host/live", "rtsp:///live", "host/live"])
def test_rtsp_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="rtsp://host/path"):
        RtspSource(url=url)


@pytest.mark.parametrize("size", ["512", "512x", "0x512", "95x512", "512x8193", "a x b", "512x512x3"])
def test_size_outside_of_what_can_be_drawn_is_refused(size: str) -> None:
    with pytest.raises(ValidationError):
        SyntheticSource(size=size)


def test_a_file_waits_and_a_camera_does_not(tmp_path: Path) -> None:
    assert not FolderSource(path=tmp_path).live
    assert not VideoSource(path=tmp_path).live
    assert RtspSource(url="rtsp://host/live").live
    assert MjpegSource(url="http://host/live").live
    assert SyntheticSource(fps=30).live
    assert not SyntheticSource(fps=None).live


def test_uri_schemes_mean_cameras() -> None:
    assert isinstance(source_from_uri("rtsp://host/live"), RtspSource)
    assert isinstance(source_from_uri("https://host/video"), MjpegSource)


def test_paths_mean_a_folder_or_a_video(tmp_path: Path) -> None:
    assert source_from_uri(str(tmp_path)) == FolderSource(path=tmp_path)
    (tmp_path / "shift1.MP4").touch()
    assert source_from_uri(str(tmp_path / "shift1.MP4")) == VideoSource(path=tmp_path / "shift1.MP4")
    (tmp_path / "shift 2.mkv").touch()
    assert source_from_uri(f"file://{tmp_path}/shift%202.mkv") == VideoSource(path=tmp_path / "shift 2.mkv")


def test_a_relative_path_on_the_command_line_is_meant_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    monkeypatch.chdir(tmp_path)

    assert source_from_uri("parts/") == FolderSource(path=tmp_path / "parts")
    assert source_from_uri(".") == FolderSource(path=tmp_path)


@pytest.mark.parametrize(
    ("source", "finite"),
    [
        (FolderSource(path=Path("x")), True),
        (FolderSource(path=Path("x"), loop=True), False),
        (VideoSource(path=Path("x")), True),
        (RtspSource(url="rtsp://host/live"), False),
        (SyntheticSource(), False),
        (SyntheticSource(frames=3), True),
    ],
)
def test_a_finite_source_ends_by_itself(source: SourceConfig, finite: bool) -> None:
    assert source.finite is finite


def test_synthetic_uri_carries_options() -> None:
    source = source_from_uri("synthetic:cast?seed=7&size=640x480&fps=60&frames=10")

    assert source == SyntheticSource(texture="cast", seed=7, size="640x480", fps=60, frames=10)
    assert source_from_uri("synthetic") == SyntheticSource()


def test_wrong_option_in_a_uri_is_named() -> None:
    with pytest.raises(ConfigError, match="speed"):
        source_from_uri("synthetic:cast?speed=7")


def test_wrong_address_is_reported_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        source_from_uri("rtsp://u:s3cret@/live")

    assert "s3cret" not in str(caught.value)


def test_missing_folder_is_missing_and_a_text_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(MissingResource, match="nowhere"):
        source_from_uri(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="not a video file"):
        source_from_uri(str(tmp_path / "notes.txt"))
