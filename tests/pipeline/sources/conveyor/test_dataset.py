"""The data set on disk."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from f2pnet.config.sources import DEFECTS, SyntheticSource
from f2pnet.errors import ConfigError
from pipeline.sources.conveyor import Conveyor, belts, write_dataset
from pipeline.sources.conveyor.dataset import few_shot_lists

BASE = SyntheticSource(size="128x96", defect_rate=0.5)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conveyor") / "set"
    facts = write_dataset(belts(BASE, ["cast", "woven"], 40, 5), folder, 150)
    assert (facts.train, facts.test) == (120, 30)
    return folder


def _records(folder: Path, split: str) -> list[dict[str, object]]:
    records: list[dict[str, object]] = json.loads((folder / f"{split}.json").read_text())
    return records


def _pixels(folder: Path, name: object) -> npt.NDArray[np.integer | np.floating]:
    pixels = cv2.imread(str(folder / str(name)), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, name
    return pixels


def test_files_hold_what_the_belt_drew(written: Path) -> None:
    for record in [*_records(written, "train"), *_records(written, "test")]:
        texture, seed, index = str(record["id"]).rsplit("-", 2)
        frame = Conveyor(BASE.model_copy(update={"texture": texture, "seed": int(seed)})).frame(int(index))
        image = _pixels(written, record["image"])
        assert np.array_equal(image, frame.image)
        assert record["label"] == int(frame.mask.any())
        if not record["label"]:
            assert (record["mask"], record["class_name"]) == (None, "good")
            continue
        mask = _pixels(written, record["mask"])
        classes = _pixels(written, record["mask_class"])
        assert np.array_equal(mask, frame.mask)
        assert np.array_equal(classes, frame.class_mask)
        assert record["class_name"] in DEFECTS


def test_train_and_test_share_no_belt(written: Path) -> None:
    train, test = ({record["part_id"] for record in _records(written, split)} for split in ("train", "test"))

    assert not train & test
    assert test == {"cast-44", "woven-44"}


def test_ids_are_unique_and_few_shot_lists_are_nested(written: Path) -> None:
    ids = [record["id"] for record in _records(written, "train")]
    few_shot = json.loads((written / "few_shot.json").read_text())

    assert len(ids) == len(set(ids))
    assert list(few_shot) == ["1", "4", "16", "32", "64"]
    for smaller, larger in zip(list(few_shot.values()), list(few_shot.values())[1:], strict=False):
        assert larger[: len(smaller)] == smaller
    assert set(few_shot["64"]) <= set(ids)


def test_few_shot_lists_take_the_kinds_in_turn() -> None:
    records: list[dict[str, object]] = [
        {"id": f"{name}{number}", "class_name": name} for name in ("good", "pit", "crack") for number in range(2)
    ]

    lists = few_shot_lists(records, seed=0)

    assert [identity.rstrip("01") for identity in lists["4"]] == ["pit", "crack", "good", "pit"]
    assert list(lists) == ["1", "4"]


def test_readme_tells_the_facts(written: Path) -> None:
    text = (written / "README.md").read_text()

    assert "120 train frames" in text
    assert "Seeds 40 to 44" in text


def test_folder_with_files_is_left_alone(written: Path) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        write_dataset(belts(BASE, ["cast"], 0, 2), written, 4)


def test_one_belt_can_not_be_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cast has one belt"):
        write_dataset([BASE.model_copy(update={"texture": "cast"})], tmp_path / "new", 4)


def test_fewer_frames_than_belts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 frames are too few for 4 belts"):
        write_dataset(belts(BASE, ["cast"], 0, 4), tmp_path / "new", 3)
