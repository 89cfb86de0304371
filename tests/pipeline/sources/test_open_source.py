"""The table of kinds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from f2pnet.config.sources import FolderSource, SourceConfig, VideoSource
from f2pnet.errors import MissingExtra
from pipeline.sources import SOURCES, open_source


def test_every_configurable_kind_can_be_opened() -> None:
    union = get_args(SourceConfig)[0]
    kinds = {model.model_fields["kind"].default for model in get_args(union)}

    assert kinds == {name.partition(" ")[0] for name in SOURCES}


def test_folder_needs_no_video_library(tmp_path: Path) -> None:
    code = (
        "import sys; import pipeline.sources.files.folder, pipeline.sources.synthetic;"
        "print([name for name in ('av', 'torch', 'zmq') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_missing_package_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [
        name
        for name in sys.modules
        if name == "av" or name.startswith(("av.", "pipeline.sources.streams.video", "f2pnet.pictures.video"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(MissingExtra, match=r"pip install 'f2pnet\[camera\]'"):
        open_source(VideoSource(path=tmp_path / "x.mp4"))


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    source = open_source(FolderSource(path=tmp_path))

    source.close()
    source.close()

    assert not source.live
