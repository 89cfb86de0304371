"""Outputs are refused before the work begins, with their option, the reason and no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from f2pnet.commands.output_places import OutputRefused, refuse_shared, try_file, try_folder, write_file
from f2pnet.errors import ExitCode

needs_permissions = pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")


@pytest.fixture
def in_the_way(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("in the way")
    return path


def test_a_folder_is_made_and_tried(tmp_path: Path, in_the_way: Path) -> None:
    try_folder(tmp_path / "a" / "b", "--out")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    for folder in (in_the_way, in_the_way / "below"):
        with pytest.raises(OutputRefused, match=r"--out .*file.* can't be written: .*name another place"):
            try_folder(folder, "--out")
    assert OutputRefused.exit_code == ExitCode.USAGE


def test_a_look_at_a_folder_leaves_nothing(tmp_path: Path) -> None:
    try_folder(tmp_path / "a" / "b", "--out", keep=False)
    assert not (tmp_path / "a").exists()
    (tmp_path / "kept").mkdir()
    try_folder(tmp_path / "kept", "--out", keep=False)
    assert (tmp_path / "kept").is_dir()


def test_trying_a_file_changes_nothing(tmp_path: Path, in_the_way: Path) -> None:
    try_file(tmp_path / "new.json", "--summary")
    try_file(in_the_way, "--summary")
    try_file(Path("/dev/null"), "--summary")
    assert in_the_way.read_text() == "in the way"
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize("name", ["", "nowhere/s.json", "file/s.json", "x" * 300])
def test_a_file_that_can_not_be_written_is_refused(tmp_path: Path, in_the_way: Path, name: str) -> None:
    with pytest.raises(OutputRefused, match="--summary"):
        try_file(tmp_path / name, "--summary")
    with pytest.raises(OutputRefused, match="--summary"):
        write_file(tmp_path / name, "{}", "--summary")


@needs_permissions
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputRefused, match="Permission denied"):
            try_folder(tmp_path / "out", "--out")
        with pytest.raises(OutputRefused, match="Permission denied"):
            try_file(tmp_path / "s.json", "--summary")
    finally:
        tmp_path.chmod(0o755)


def test_a_file_is_written_whole_through_a_link(tmp_path: Path, in_the_way: Path) -> None:
    link = tmp_path / "latest.json"
    link.symlink_to(in_the_way)
    write_file(link, "{}\n", "--json")
    assert link.is_symlink()
    assert in_the_way.read_text() == "{}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "latest.json"]


def test_two_outputs_never_share_a_file(tmp_path: Path) -> None:
    one, again = tmp_path / "a.json", tmp_path / "sub" / ".." / "a.json"
    (tmp_path / "sub").mkdir()
    with pytest.raises(OutputRefused, match="--page and --json are the same file"):
        refuse_shared({"--json": one, "--page": again})
    with pytest.raises(OutputRefused, match=r"--summary and LINE\.yaml are the same file"):
        refuse_shared({"--summary": one}, {"LINE.yaml": again})
    refuse_shared({"--json": one, "--page": None, "--summary": tmp_path / "b.json"}, {"LINE.yaml": None})
    refuse_shared({"--json": Path("/dev/null"), "--page": Path("/dev/null")})
