"""A watched folder: each picture once, in the order of arrival, whatever is done to the folder meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from f2pnet.config.line import CameraConfig
from f2pnet.config.sources import FolderSource
from f2pnet.errors import ConfigError, MissingResource
from pipeline.frames.file_ref import FileRef
from pipeline.sources import BadFrame, Frame, Source, SourceFault, open_source
from pipeline.sources.files import hot_folder as hot
from pipeline.sources.files import hot_folder_journal as journals

QUIET_S = 1.0  # several looks: whatever comes would have come by then


def _picture(number: int) -> bytes:
    return cv2.imencode(".png", np.full((20, 30), number, np.uint8))[1].tobytes()


def _arrive(folder: Path, name: str, number: int) -> None:
    """As careful writers do: under another name, then renamed."""
    (folder / f"{name}.part").write_bytes(_picture(number))
    (folder / f"{name}.part").rename(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def _open(folder: Path, **options: object) -> Source:
    opening = {name: options.pop(name) for name in ("in_flight", "start_index", "owner") if name in options}
    return open_source(FolderSource.model_validate({"path": folder, "watch": True, **options}), **opening)  # type: ignore[arg-type]


def _read(source: Source, count: int, timeout_s: float = 15) -> list[Frame | BadFrame]:
    """The next `count` pictures, and none after them for a while."""
    items: list[Frame | BadFrame] = []
    until_s = time.monotonic() + timeout_s
    while len(items) < count and time.monotonic() < until_s:
        if (item := source.read(0.1)) is not None:
            items.append(item)
    assert len(items) == count
    until_s = time.monotonic() + QUIET_S
    while time.monotonic() < until_s:
        assert source.read(0.1) is None
    return items


def _names(items: list[Frame | BadFrame]) -> list[str]:
    return [item.file.name for item in items if item.file]


def _settle(source: Source, items: list[Frame | BadFrame]) -> None:
    for item in items:
        assert item.file is not None
        source.settled(item.file)


def test_pictures_come_once_in_the_order_of_their_arrival(folder: Path) -> None:
    with _open(folder) as source:
        assert source.read(0.1) is None
        _arrive(folder, "z.png", 1)
        time.sleep(0.05)
        _arrive(folder, "a.png", 2)
        first = _read(source, 2)
        _arrive(folder, "m.png", 3)
        second = _read(source, 1)

    assert _names(first + second) == ["z.png", "a.png", "m.png"]
    assert [item.index for item in first + second] == [0, 1, 2]
    assert [int(item.image[0, 0]) for item in first + second if isinstance(item, Frame)] == [1, 2, 3]


def test_what_is_there_at_the_first_start_is_inspected(folder: Path) -> None:
    for number in range(3):
        _arrive(folder, f"part{number}.png", number)

    with _open(folder) as source:
        assert _names(_read(source, 3)) == ["part0.png", "part1.png", "part2.png"]


def test_restart_knows_pictures_by_their_names(folder: Path) -> None:
    for number in range(4):
        _arrive(folder, f"part{number}.png", number)
    with _open(folder, owner="line.cam1") as source:
        items = _read(source, 4)
        _settle(source, items[:2])  # the line ends before the verdicts of the others are durable
    (folder / "part0.png").unlink()
    _arrive(folder, "part9.png", 9)

    with _open(folder, owner="line.cam1", start_index=4) as source:
        again = _read(source, 3)

    assert sorted(_names(again)) == ["part2.png", "part3.png", "part9.png"]
    assert [item.index for item in again] == [4, 5, 6]


def test_pictures_that_a_ring_still_holds_are_not_captured_again(folder: Path) -> None:
    for number in range(3):
        _arrive(folder, f"part{number}.png", number)

    with _open(folder, in_flight={"part1.png"}) as source:
        assert _names(_read(source, 2)) == ["part0.png", "part2.png"]
        source.settled(FileRef("part1.png"))
        assert _read(source, 0) == []


def test_two_lines_watch_one_folder_each_for_itself(folder: Path) -> None:
    _arrive(folder, "a.png", 1)
    for owner in ("first.cam1", "second.cam1"):
        with _open(folder, owner=owner) as source:
            (item,) = _read(source, 1)
            assert isinstance(item, Frame)
            assert item.image[0, 0] == 1
            _settle(source, [item])


def test_another_picture_of_the_same_name_is_another_picture(folder: Path) -> None:
    with _open(folder) as source:
        _arrive(folder, "latest.png", 1)
        first = _read(source, 1)
        _arrive(folder, "latest.png", 2)
        second = _read(source, 1)
        _settle(source, first + second)
        assert _read(source, 0) == []

    assert [int(item.image[0, 0]) for item in first + second if isinstance(item, Frame)] == [1, 2]


def test_slow_writer_is_waited_for(folder: Path) -> None:
    data = cv2.imencode(".bmp", np.full((60, 90), 7, np.uint8))[1].tobytes()
    with _open(folder) as source, (folder / "slow.bmp").open("wb") as file:
        for at in range(0, len(data), len(data) // 4 + 1):
            file.write(data[at : at + len(data) // 4 + 1])
            file.flush()
            until_s = time.monotonic() + 0.7
            while time.monotonic() < until_s and at < len(data) * 3 // 4:
                assert source.read(0.05) is None
        (item,) = _read(source, 1)

    assert isinstance(item, Frame)
    assert item.image.shape == (60, 90)


def test_file_that_stays_unfinished_is_unreadable_after_a_while(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "UNFINISHED_S", 1.0)
    with _open(folder) as source:
        (folder / "torn.png").write_bytes(_picture(1)[:50])
        started_s = time.monotonic()
        (item,) = _read(source, 1)
        waited_s = time.monotonic() - started_s - QUIET_S

    assert isinstance(item, BadFrame)
    assert item.file == FileRef("torn.png")
    assert waited_s > 0.8


def test_finished_pictures_are_moved_and_none_is_overwritten(folder: Path, tmp_path: Path) -> None:
    done = tmp_path / "done"
    with _open(folder, done_dir=done) as source:
        for number in (1, 2):
            _arrive(folder, "part.png", number)
            items = _read(source, 1)
            assert (folder / "part.png").exists()
            _settle(source, items)
            assert not (folder / "part.png").exists()

    assert (done / "part.png").read_bytes() == _picture(1)
    assert (done / "part-2.png").read_bytes() == _picture(2)


def test_newer_picture_of_the_same_name_is_not_moved_with_the_older(folder: Path, tmp_path: Path) -> None:
    with _open(folder, done_dir=tmp_path / "done") as source:
        _arrive(folder, "part.png", 1)
        first = _read(source, 1)
        _arrive(folder, "part.png", 2)
        _settle(source, first)
        assert (folder / "part.png").read_bytes() == _picture(2)
        assert len(_read(source, 1)) == 1


def test_names_that_are_not_utf8_are_kept(folder: Path) -> None:
    name = os.fsdecode(b"part-\xff\xfe.png")
    (folder / name).write_bytes(_picture(1))
    with _open(folder) as source:
        items = _read(source, 1)
        _settle(source, items)
    with _open(folder) as source:
        assert _read(source, 0) == []

    assert items[0].file == FileRef(name)
    assert items[0].file.as_result().file == r"part-\xff\xfe.png"


def test_folder_that_vanishes_is_a_fault_and_comes_back(folder: Path) -> None:
    with _open(folder) as source:
        folder.rename(folder.with_name("away"))
        time.sleep(0.3)
        with pytest.raises(SourceFault, match="can't be read"):
            source.read(0.5)
    with pytest.raises(MissingResource):
        _open(folder)
    folder.with_name("away").rename(folder)
    _arrive(folder, "a.png", 1)
    with _open(folder) as source:
        assert len(_read(source, 1)) == 1


def test_journal_does_not_grow_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "GROWN_LINES", 3)
    with _open(folder, owner="bar.cam1") as source:
        for number in range(8):
            _arrive(folder, f"part{number}.png", number)
            _settle(source, _read(source, 1))
            (folder / f"part{number}.png").unlink()

    assert len((folder / ".bar.cam1.inspected").read_text().splitlines()) <= 5


def test_journal_that_was_cut_off_costs_one_entry(folder: Path) -> None:
    for number in range(2):
        _arrive(folder, f"part{number}.png", number)
    with _open(folder, owner="bar.cam1") as source:
        _settle(source, _read(source, 2))
    journal = folder / ".bar.cam1.inspected"
    journal.write_bytes(journal.read_bytes()[:-10])

    with _open(folder, owner="bar.cam1") as source:
        assert _names(_read(source, 1)) == ["part1.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_can_not_be_written_is_refused_with_the_cure(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        with pytest.raises(ConfigError, match="journal"):
            _open(folder)
    finally:
        folder.chmod(0o755)


def test_done_dir_that_is_a_file_is_refused_with_the_cure(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "done").write_text("a file")
    with pytest.raises(ConfigError, match=r"done.*can't be written.*done_dir"):
        _open(folder, done_dir=tmp_path / "done")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"done_dir": "done"}, "add watch: true"),
        ({"watch": True, "loop": True}, "remove loop"),
        ({"watch": True, "done_dir": "in"}, "another folder"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FolderSource.model_validate({"path": "in", **options})


def test_watched_folder_waits_for_room_unless_told_otherwise() -> None:
    source = {"kind": "folder", "path": "in", "watch": True}

    assert CameraConfig.model_validate({"id": "a", "source": source}).on_overload == "block"
    assert CameraConfig.model_validate({"id": "a", "source": source | {"watch": False}}).on_overload == "drop_oldest"
