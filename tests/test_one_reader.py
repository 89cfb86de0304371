"""The same file is the same picture, or is refused, on every way into the product."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from export.gate.parity import read_images
from f2pnet.cli import app
from f2pnet.config.sources import FolderSource
from f2pnet.errors import ConfigError
from f2pnet.pictures.preprocess import Image
from f2pnet.pictures.stream import find_inputs, pictures
from pipeline.sources import BadFrame, Frame, SourceEnded, open_source
from tests.f2pnet.pictures.files import damaged_files, files_of_several_pictures, whole_files
from tests.servers.reading import read_until
from training.data.check import check_dataset
from training.data.duplicates import structures
from training.data.examples import UnusableImage, read_example, read_frame
from training.data.records import ImageFile, read_records
from training.layouts.find import list_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole, damaged and manifold files of all formats, a deep one, and links."""
    folder = tmp_path_factory.mktemp("files")
    for name, data in (whole_files() | damaged_files() | files_of_several_pictures()).items():
        (folder / name).write_bytes(data)
    cv2.imwrite(str(folder / "deep.png"), np.full((20, 20), 3000, np.uint16))
    (folder / "link.png").symlink_to(folder / "a.png")
    (folder / "broken-link.png").symlink_to(folder / "nowhere.png")
    return folder


@pytest.fixture(scope="module")
def by_inspect(folder: Path) -> dict[str, Image | None]:
    found = find_inputs([folder], ignore=folder / "out")
    return {picture.file.path.name: picture.image for picture in pictures(found.files)}


def _assert_same(first: Image | None, second: Image | None, name: str) -> None:
    assert (first is None) == (second is None), name
    if first is not None and second is not None:
        assert np.array_equal(first, second), name


def test_line_and_inspect_see_the_same(folder: Path, by_inspect: dict[str, Image | None]) -> None:
    with open_source(FolderSource(path=folder)) as source:
        items, _ = read_until(source, SourceEnded)

    by_line = {item.file.name: item.image if isinstance(item, Frame) else None for item in items if item.file}
    assert [item.file.name for item in items if item.file] == list(by_inspect)
    for name, image in by_inspect.items():
        _assert_same(image, by_line[name], name)
    assert sum(image is None for image in by_inspect.values()) > 30
    assert {item.reason for item in items if isinstance(item, BadFrame)} == {"unreadable"}


def test_training_and_checks_see_the_same(folder: Path, by_inspect: dict[str, Image | None]) -> None:
    for name, image in by_inspect.items():
        try:
            read: Image | None = read_frame(ImageFile(folder / name))
        except UnusableImage:
            read = None
        _assert_same(image, read, name)
    names = list(by_inspect)
    _, usable = structures([ImageFile(folder / name) for name in names])
    assert [names[place] for place in usable] == [name for name in names if by_inspect[name] is not None]


def test_parity_sees_the_same(folder: Path, by_inspect: dict[str, Image | None]) -> None:
    whole = [name for name, image in by_inspect.items() if image is not None]
    (folder / "test.json").write_text(json.dumps([{"image": name} for name in whole]))
    for name, image in zip(whole, read_images(folder), strict=True):
        _assert_same(by_inspect[name], image, name)

    (folder / "test.json").write_text(json.dumps([{"image": "hole-a.jpg"}]))
    with pytest.raises(ConfigError, match=r"hole-a\.jpg: .*Corrupt JPEG data"):
        read_images(folder)


def test_check_of_a_data_set_refuses_what_the_line_refuses(tmp_path: Path) -> None:
    damaged = damaged_files() | files_of_several_pictures()
    records = []
    for name, data in (damaged | whole_files()).items():
        (tmp_path / name).write_bytes(data)
        records.append({"id": name, "image": name, "label": 0, "class_name": "good"})
    (tmp_path / "train.json").write_text(json.dumps(records))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "spare.png").write_bytes(whole_files()["a.png"])

    check = check_dataset(tmp_path, "train.json", "test.json")

    counts = {finding.what: finding.count for finding in check.findings}
    assert counts[UnusableImage.kind] == len(damaged)
    assert counts["picture that none of the lists names"] == 1
    assert counts["passed over: file ending in .txt"] == 1


@pytest.fixture
def deep(tmp_path: Path) -> dict[str, Image]:
    """A data set of 12-bit values in 16-bit files that say nothing of their range, with the pixels that they are."""
    expected = {}
    for folder in ("images", "masks"):
        (tmp_path / "parts" / folder).mkdir(parents=True)
    for number in range(8):
        values = np.random.default_rng(number).integers(0, 4096, (24, 32)).astype(np.uint16)
        name = f"part-{number}.png"
        expected[name] = (values >> 4).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "parts/images" / name), values)
        mask = np.zeros((24, 32), np.uint8)
        mask[4:9, 5:11] = 255 * (number % 2)
        cv2.imwrite(str(tmp_path / "parts/masks" / name), mask)
    return expected


def test_the_bit_depth_of_a_data_set_holds_on_every_way_in(deep: dict[str, Image], tmp_path: Path) -> None:
    out = tmp_path / "indexed"
    words = ["data", "index", str(tmp_path / "parts"), "--out", str(out), "--bit-depth", "12"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lists = ("train.json", "test.json")

    records = [record for name in lists for record in read_records(out, name)]
    assert sorted(record.image.name for record in records) == sorted(deep)
    for record in records:
        assert np.array_equal(read_example(record).image, deep[record.image.name])
    assert check_dataset(out, *lists).passes
    for name in lists:
        listed = dict(list_images(str(out), Path(), name))
        found = find_inputs(list(listed), tmp_path / "out", depths=listed)
        for by_inspect, by_parity in zip(pictures(found.files), read_images(out, name), strict=True):
            assert by_inspect.image is not None, by_inspect.detail
            assert np.array_equal(by_inspect.image, deep[by_inspect.file.path.name])
            assert np.array_equal(by_parity, by_inspect.image)


def test_a_data_set_of_16_bit_pictures_without_a_depth_is_refused_with_the_cure(
    deep: dict[str, Image], tmp_path: Path
) -> None:
    words = ["train", "--dataset", str(tmp_path / "parts"), "--exp-dir", str(tmp_path / "exp"), "--sam-type", "nano"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "f2p data index --bit-depth" in done.output


@pytest.mark.parametrize("depth", [8, 17, "12", 12.0, True])
def test_a_bit_depth_that_can_not_be_is_refused(tmp_path: Path, depth: object) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    record = {"id": "a", "image": "a.png", "label": 0, "bit_depth": depth}
    (tmp_path / "train.json").write_text(json.dumps([record]))
    with pytest.raises(ConfigError, match=r"'bit_depth' is .*, wanted a number from 9 to 16"):
        read_records(tmp_path, "train.json")
    assert not check_dataset(tmp_path, "train.json", "test.json").passes
