"""Other layouts become ours: the records that come out are compared with what was drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from f2pnet.errors import ConfigError
from tests.training.layouts import drawn
from training.data.images import read_class_mask, read_pair
from training.data.records import Record, class_names, read_records
from training.layouts.find import find_dataset
from training.layouts.index import index, recognised

# layout: how to draw it, and the images of each class in (train.json, test.json); None where we divide them
LAYOUTS: dict[str, tuple[Callable[[Path], None], tuple[Counter[str], Counter[str]] | None]] = {
    "neu-seg": (
        drawn.neu_seg,
        (
            Counter({"inclusion+scratches": 1, "scratches": 3, "inclusion": 3, "patches": 2}),
            Counter({"patches": 1, "scratches": 1, "inclusion": 1}),
        ),
    ),
    "mt": (drawn.magnetic_tiles, None),
    "kolektorsdd2": (
        drawn.kolektor_sdd2,
        (Counter({"good": 3, "defect": 3}), Counter({"good": 2, "defect": 1})),
    ),
    "dagm2007": (
        drawn.dagm,
        (Counter({"good": 9, "class1": 1, "class2": 1, "class10": 1}),) * 2,
    ),
    "mvtec": (drawn.mvtec, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_is_recognised_and_its_images_are_counted(name: str, tmp_path: Path) -> None:
    draw, wanted = LAYOUTS[name]
    draw(tmp_path / "source")
    assert recognised(tmp_path / "source") == name
    done = index(tmp_path / "source", tmp_path / "out")
    lists = [read_records(tmp_path / "out", list_name) for list_name in ("train.json", "test.json")]
    counts = tuple(Counter(record.class_name for record in records) for records in lists)
    assert counts == (done.counts["train"], done.counts["test"])
    if wanted is not None:
        assert counts == wanted
    for record in (record for records in lists for record in records):
        image, mask = read_pair(record)
        assert image.shape == mask.shape == (drawn.SIDE, drawn.SIDE)
        assert bool(mask.any()) == bool(record.label)


def test_a_defect_with_an_empty_mask_is_left_out_and_named(tmp_path: Path) -> None:
    drawn.magnetic_tiles(tmp_path / "MT")
    drawn.mask(tmp_path / "MT/MT_Crack/Imgs/exp1_num_1020.png", value=0)
    done = index(tmp_path / "MT", tmp_path / "out")
    assert done.left_out == ("crack/exp1_num_1020",)
    assert sum(sum(counts.values()) for counts in done.counts.values()) == 12 * 3 - 1


def test_tiles_shot_in_turn_are_one_part_and_stay_on_one_side(tmp_path: Path) -> None:
    drawn.magnetic_tiles(tmp_path / "MT")
    index(tmp_path / "MT", tmp_path / "out")
    training, test = (read_records(tmp_path / "out", name) for name in ("train.json", "test.json"))
    parts = Counter(record.part_id for record in [*training, *test])
    assert list(parts.values()) == [3] * 12
    assert {r.part_id for r in training}.isdisjoint(r.part_id for r in test)
    assert {r.class_name for r in test} == {"good", "crack", "blowhole"}


def test_pictures_of_one_thing_stay_on_one_side_whatever_their_names_say(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for tile in range(12):
        surface = cv2.GaussianBlur(random.normal(128, 60, (96, 96)), (0, 0), 1.5).clip(0, 255).astype(np.uint8)
        stem = f"MT_{('Free', 'Crack')[tile % 2]}/Imgs/exp1_num_"
        for number, shot in ((tile * 1000, surface), (tile * 1000 + 500_000, np.rot90(surface))):
            drawn.picture(tmp_path / f"MT/{stem}{number}.jpg")
            cv2.imwrite(str(tmp_path / f"MT/{stem}{number}.jpg"), shot)
            drawn.mask(tmp_path / f"MT/{stem}{number}.png")
    index(tmp_path / "MT", tmp_path / "out")
    training, test = (read_records(tmp_path / "out", name) for name in ("train.json", "test.json"))
    assert test
    for records in (training, test):
        tiles = Counter(int(record.id.rsplit("_", 1)[1]) % 500_000 for record in records)
        assert set(tiles.values()) == {2}
        assert len({record.part_id for record in records}) == len(tiles)


def test_defects_of_mvtec_are_shared_out_and_its_good_images_stay(tmp_path: Path) -> None:
    drawn.mvtec(tmp_path / "bottle")
    index(tmp_path / "bottle", tmp_path / "out")
    training, test = (read_records(tmp_path / "out", name) for name in ("train.json", "test.json"))
    assert Counter(r.class_name for r in training)["good"] == 6
    assert Counter(r.class_name for r in test)["good"] == 2
    for kind in ("scratch", "dent"):
        counts = [sum(r.class_name == kind for r in records) for records in (training, test)]
        assert sum(counts) == 6
        assert min(counts) >= 1


def test_class_masks_of_neu_seg_are_read_as_classes(tmp_path: Path) -> None:
    drawn.neu_seg(tmp_path / "NEU_Seg")
    index(tmp_path / "NEU_Seg", tmp_path / "out")
    records = read_records(tmp_path / "out", "train.json")
    mixed = next(record for record in records if "+" in record.class_name)
    names = class_names(records)
    _, mask = read_pair(mixed)
    found = read_class_mask(mixed, mask, names)
    assert names == ("inclusion", "patches", "scratches")
    assert [names[found[6, 8] - 1], names[found[18, 0] - 1]] == ["inclusion", "scratches"]


def coco_file(folder: Path) -> dict[str, np.ndarray]:
    """COCO with a polygon, a run length and a good image; the masks wanted, drawn by hand."""
    for name in ("a.png", "b.png", "c.png", "d.png"):
        drawn.picture(folder / "images" / name)
    side = drawn.SIDE
    block = np.zeros((side, side), bool)
    block[5:10, 3:8] = True
    runs = []  # column by column, as COCO counts them, beginning with zeros
    value, length = False, 0
    for pixel in block.T.ravel():
        if pixel != value:
            runs.append(length)
            value, length = bool(pixel), 0
        length += 1
    runs.append(length)
    images = [
        {"id": n, "file_name": name, "width": side, "height": side}
        for n, name in enumerate(("a.png", "b.png", "c.png"))
    ]
    run_length = {"size": [side, side], "counts": runs}
    polygon = [[3, 5, 8, 5, 8, 10, 3, 10]]
    annotations = [
        {"id": 1, "image_id": 0, "category_id": 7, "segmentation": polygon, "iscrowd": 0},
        {
            "id": 2,
            "image_id": 1,
            "category_id": 9,
            "segmentation": run_length,
            "iscrowd": 1,
        },
    ]
    categories = [{"id": 7, "name": "scratch"}, {"id": 9, "name": "dent"}, {"id": 1, "name": "never used"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations").mkdir()
    (folder / "annotations/instances_train.json").write_text(json.dumps(content))
    test = {**content, "images": [{"id": 5, "file_name": "d.png", "width": side, "height": side}], "annotations": []}
    (folder / "annotations/instances_test.json").write_text(json.dumps(test))
    return {"train/a.png": block, "train/b.png": block, "train/c.png": np.zeros_like(block)}


def test_polygons_and_run_lengths_of_coco_become_masks(tmp_path: Path) -> None:
    wanted = coco_file(tmp_path / "labelled")
    index(tmp_path / "labelled", tmp_path / "out")
    records = {record.id: record for record in read_records(tmp_path / "out", "train.json")}
    assert set(records) == set(wanted)
    for identity, record in records.items():
        assert np.array_equal(read_pair(record)[1].astype(bool), wanted[identity]), identity
    assert class_names(list(records.values())) == ("dent", "scratch")
    assert [r.label for r in read_records(tmp_path / "out", "test.json")] == [0]


def test_a_coco_box_without_an_outline_is_refused(tmp_path: Path) -> None:
    coco_file(tmp_path / "labelled")
    path = tmp_path / "labelled/annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="annotation 1: has no segmentation"):
        index(tmp_path / "labelled", tmp_path / "out")


def test_a_folder_without_a_known_layout_is_told_what_is_known(tmp_path: Path) -> None:
    drawn.picture(tmp_path / "pictures/1.png")
    with pytest.raises(ConfigError, match=r"no known layout.*mvtec"):
        index(tmp_path / "pictures", tmp_path / "out")


def test_dataset_takes_a_foreign_layout_by_name_and_indexes_it_once(tmp_path: Path) -> None:
    drawn.kolektor_sdd2(tmp_path / "KolektorSDD2")
    folder = find_dataset("KolektorSDD2", tmp_path)
    assert folder.name == "KolektorSDD2"
    assert len(read_records(folder, "train.json")) == 6
    written = (folder / "train.json").stat().st_mtime_ns
    assert find_dataset("KolektorSDD2", tmp_path) == folder
    assert (folder / "train.json").stat().st_mtime_ns == written


def test_a_mask_with_an_index_that_neu_seg_does_not_have_is_refused(tmp_path: Path) -> None:
    drawn.neu_seg(tmp_path / "NEU_Seg")
    path = tmp_path / "NEU_Seg/annotations/training/000002.png"
    cv2.imwrite(str(path), np.full((drawn.SIDE, drawn.SIDE), 9, np.uint8))
    with pytest.raises(ConfigError, match=r"000002\.png: holds class index 9"):
        index(tmp_path / "NEU_Seg", tmp_path / "out")


def test_the_record_says_which_image_is_defective(tmp_path: Path) -> None:
    drawn.dagm(tmp_path / "DAGM2007")
    index(tmp_path / "DAGM2007", tmp_path / "out")
    by_id: dict[str, Record] = {record.id: record for record in read_records(tmp_path / "out", "train.json")}
    assert by_id["Class10/Train/0002"].label == 1
    assert by_id["Class10/Train/0001"].mask is None
