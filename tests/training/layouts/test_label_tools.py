"""What label tools write becomes the masks that were drawn by hand; what can't be drawn is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from f2pnet.errors import ConfigError, F2pError
from tests.training.layouts import tools
from training.data.examples import read_example
from training.data.records import read_records
from training.layouts.find import find_dataset
from training.layouts.index import index, recognised
from training.layouts.label_tools.coco import unpacked
from training.layouts.label_tools.label_studio_brush import decoded

OFFICIAL_BRUSH = [
    0, 0, 9, 0, 57, 27, 255, 1, 151, 0, 194, 255, 249, 28, 3, 11, 255, 228, 112, 12, 47, 255, 145, 192, 48, 191, 254,
    71, 0, 194, 255, 252, 23, 60, 0,
]  # fmt: skip
"""Rows 4 to 8, columns 6 to 11 of 24 x 24 pixels, packed by `encode_rle` of label-studio-converter 0.0.59."""


@pytest.mark.parametrize("name", tools.ALL)
def test_the_layout_is_recognised_and_its_masks_are_what_was_drawn(name: str, tmp_path: Path) -> None:
    tools.ALL[name](tmp_path / "source")
    assert recognised(tmp_path / "source") == name
    index(tmp_path / "source", tmp_path / "out")
    records = [r for list_name in ("train.json", "test.json") for r in read_lists(tmp_path / "out", list_name)]
    assert sum(record.label for record in records) == 2
    assert sum(1 - record.label for record in records) >= 2
    for record in records:
        example = read_example(record)
        assert np.array_equal(example.mask.astype(bool), tools.rect() & bool(record.label)), record.id
        assert record.class_name == (("defect" if name == "plain" else "scratch") if record.label else "good")


def read_lists(folder: Path, name: str) -> list[Any]:
    return read_records(folder, name) if json.loads((folder / name).read_text()) else []


def test_the_same_folder_gives_the_same_lists(tmp_path: Path) -> None:
    tools.plain(tmp_path / "source")
    first, second = (index(tmp_path / "source", tmp_path / out) for out in ("one", "two"))
    assert first.counts == second.counts
    assert (tmp_path / "one/train.json").read_text().replace("one", "two") == (tmp_path / "two/train.json").read_text()
    assert "divided here" in " ".join(first.remarks)
    assert "1 images without a mask" not in " ".join(first.remarks)
    assert "2 images without a mask or an annotation count as good" in " ".join(first.remarks)


def test_ignored_border_of_voc_is_neither_defect_nor_background(tmp_path: Path) -> None:
    tools.voc(tmp_path / "source")
    index(tmp_path / "source", tmp_path / "out")
    record = next(r for r in read_records(tmp_path / "out", "train.json") if r.label)
    example = read_example(record)
    assert example.ignored is not None
    assert example.ignored.sum() == 8
    assert not example.mask[3].any()


def test_brushes_packed_by_label_studio_itself_are_read() -> None:
    pixels = decoded(OFFICIAL_BRUSH, 24 * 24 * 4).reshape(24, 24, 4)[:, :, 3] > 0
    wanted = np.zeros((24, 24), bool)
    wanted[4:9, 6:12] = True
    assert np.array_equal(pixels, wanted)


@pytest.mark.parametrize("data", [OFFICIAL_BRUSH[:-6], OFFICIAL_BRUSH[3:], [300], "text", None])
def test_damaged_brushes_are_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="brush"):
        decoded(data, 24 * 24 * 4)


def test_compressed_run_lengths_agree_with_pycocotools() -> None:
    from pycocotools import mask as reference

    random = np.random.default_rng(4)
    for share in (0.02, 0.3, 0.9):
        pixels = (random.random((17, 23)) < share).astype(np.uint8)
        packed = reference.encode(np.asfortranarray(pixels))
        counts = unpacked(packed["counts"].decode())
        assert np.array_equal(np.repeat(np.arange(len(counts)) % 2, counts).reshape(23, 17).T, pixels)


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def coco_with(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.coco(folder)
        edit_json(folder / "labels.json", change)

    return write


def first_shape(**values: Any) -> Callable[[Path], None]:
    return coco_with(lambda content: content["annotations"][0].update(values))


def yolo_line(line: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.yolo(folder)
        (folder / "labels/train/p0.txt").write_text(line + "\n")

    return write


def cvat_with(old: str, new: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.cvat(folder)
        path = folder / "annotations.xml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return write


def labelme_shape(**values: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.labelme(folder)
        edit_json(folder / "p0.json", lambda content: content["shapes"][0].update(values))

    return write


def studio_result(**values: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.label_studio(folder)
        edit_json(folder / "project-1.json", lambda tasks: tasks[0]["annotations"][0]["result"][0].update(values))

    return write


def studio_task(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.label_studio(folder)
        edit_json(folder / "project-1.json", lambda tasks: change(tasks[0]))

    return write


def plain_with(name: str, pixels: np.ndarray) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tools.plain(folder)
        tools.write_mask(folder / name, pixels)

    return write


FAR = 1e9
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "coco: two points": (first_shape(segmentation=[[1, 2, 3, 4]]), r"labels\.json: annotation 1: outline of 2 points"),
    "coco: an empty outline": (first_shape(segmentation=[[]]), r"annotation 1: outline of 0 points"),
    "coco: a line without area": (first_shape(segmentation=[[1, 1, 9, 1, 5, 1]]), "annotation 1: covers no pixel"),
    "coco: outside": (first_shape(segmentation=[[90, 90, 99, 90, 99, 99]]), "annotation 1: outline lies outside"),
    "coco: far outside": (first_shape(segmentation=[[0, 0, FAR, 0, FAR, FAR]]), "annotation 1: outline reaches far"),
    "coco: words": (first_shape(segmentation=[["a", "b", "c", "d", "e", "f"]]), "annotation 1: .*numbers"),
    "coco: odd count": (first_shape(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 1: outline of 7 numbers"),
    "coco: a number": (first_shape(segmentation=7), "annotation 1: has a segmentation that is 7"),
    "coco: only a box": (first_shape(segmentation=[]), "annotation 1: has no segmentation"),
    "coco: unknown category": (first_shape(category_id=9), "annotation 1: has category 9"),
    "coco: orphan": (first_shape(image_id=99), "annotation 1: belongs to image 99"),
    "coco: no image id": (first_shape(image_id=None), "annotation 1: belongs to image null"),
    "coco: run lengths too short": (
        first_shape(segmentation={"size": list(tools.SIDE), "counts": [3, 4]}), "annotation 1: run lengths don't"),
    "coco: run lengths damaged": (
        first_shape(segmentation={"size": list(tools.SIDE), "counts": "~~~"}), "annotation 1: has damaged run"),
    "coco: run lengths of another size": (
        first_shape(segmentation={"size": [9, 9], "counts": [81]}), "annotation 1: is of size"),
    "coco: no annotations": (coco_with(lambda c: c.update(annotations=None)), "'annotations' is null"),
    "coco: no categories": (coco_with(lambda c: c.pop("categories")), "'categories' is null"),
    "coco: two images of one id": (coco_with(lambda c: c["images"][1].update(id=1)), "has the id of p0.png"),
    "coco: image without an id": (coco_with(lambda c: c["images"][1].pop("id")), "has no id"),
    "coco: one image twice": (coco_with(lambda c: c["images"][1].update(file_name="p0.png")), "stands 2 times"),
    "coco: other sides": (coco_with(lambda c: c["images"][0].update(width=99)), "states 99x24"),
    "coco: outside file": (
        coco_with(lambda c: c["images"][0].update(file_name="../../../etc/hosts.png")), "not in the data set's folder"),
    "coco: absolute file": (
        coco_with(lambda c: c["images"][0].update(file_name="/etc/none.png")), "not in the data set's folder"),
    "coco: no file name": (coco_with(lambda c: c["images"][0].pop("file_name")), "file name is 'None'"),
    "coco: class good": (coco_with(lambda c: c["categories"][0].update(name="good")), "class is 'good'"),
    "coco: text instead of an object": (coco_with(lambda c: c["annotations"].append("x")), "annotation 3 of the list"),
    "yolo: a box": (yolo_line("0 0.5 0.5 0.2 0.2"), r"p0\.txt: line 1: is only a box"),
    "yolo: words": (yolo_line("scratch 0.1 0.1 0.2 0.2 0.3 0.1"), r"p0\.txt: line 1: 'scratch"),
    "yolo: no such class": (yolo_line("7 0.1 0.1 0.2 0.2 0.3 0.1"), r"p0\.txt: line 1: has class 7"),
    "yolo: two points": (yolo_line("0 0.1 0.1 0.2 0.2 0.3"), r"p0\.txt: line 1: outline of 5 numbers"),
    "yolo: pixels instead of shares": (yolo_line("0 6 4 12 4 12 9"), r"p0\.txt: line 1: outline lies outside"),
    "cvat: a box": (cvat_with("</image>", '<box label="a" xtl="1" ytl="1" xbr="4" ybr="4"/></image>'), "is only a box"),
    "cvat: a line": (
        cvat_with("</image>", '<polyline label="a" points="1,1;5,5"/></image>'), "of the kind 'polyline'"),
    "cvat: run lengths too short": (cvat_with('rle="0, 30"', 'rle="0, 29"'), r"\(p1\.png\), mask 1: is damaged: run"),
    "cvat: reaches out": (cvat_with('left="6"', 'left="26"'), r"\(p1\.png\), mask 1: mask of 6x5 at \(26, 4\)"),
    "cvat: a tag alone": (cvat_with("></image>", '><tag label="bad"/></image>'), "has the tag 'bad'"),
    "cvat: entities": (
        cvat_with("<annotations>", '<!DOCTYPE a [<!ENTITY x "y">]><annotations>'), "declares entities"),
    "cvat: cut off": (cvat_with("</annotations>", ""), "is not XML"),
    "labelme: a box": (labelme_shape(shape_type="rectangle"), r"p0\.json: shape 1: is only a box"),
    "labelme: a line": (labelme_shape(shape_type="linestrip"), r"p0\.json: shape 1: is of the kind 'linestrip'"),
    "labelme: two points": (labelme_shape(points=[[1, 1], [2, 2]]), r"p0\.json: shape 1: outline of 2 points"),
    "labelme: a damaged mask": (labelme_shape(shape_type="mask", mask="AAAA"), r"p0\.json: shape 1: holds a mask that"),
    "labelme: no label": (labelme_shape(label=""), "class is ''"),
    "label-studio: a box": (studio_result(type="rectanglelabels"), "task 0, result a: is only a box"),
    "label-studio: turned": (studio_result(image_rotation=90), "task 0, result a: is drawn on an image turned by 90"),
    "label-studio: other sides": (studio_result(original_width=99), "task 0: states 99x24"),
    "label-studio: two annotators": (
        studio_task(lambda task: task["annotations"].append(task["annotations"][0])), "task 0: has 2 annotations"),
    "label-studio: no such image": (
        studio_task(lambda task: task["data"].update(image="/data/upload/1/none.png")), "task 0: image .*none.png"),
    "plain: a mask without an image": (plain_with("masks/other.png", tools.rect()), "belongs to no image"),
    "plain: grey areas": (
        plain_with("masks/p0.png", tools.rect() * np.uint8(100) + (np.arange(30) > 20) * np.uint8(250)),
        "areas of grey 100"),
    "f2pnet: no mask": (lambda folder: f2pnet_without(folder, "mask_path"), "'p0': is defective and has no"),
    "f2pnet: no label": (lambda folder: f2pnet_without(folder, "label"), "'p0': 'label' is null"),
}  # fmt: skip


def f2pnet_without(folder: Path, key: str) -> None:
    tools.f2pnet(folder)
    edit_json(folder / "test.json", lambda content: content["p0"].pop(key))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_a_line_that_names_it(name: str, tmp_path: Path) -> None:
    write, told = REFUSED[name]
    write(tmp_path / "source")
    with pytest.raises(F2pError, match=told):
        index(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists(), "half an index was left behind"


def accepted(name: object) -> Callable[[Path], None]:
    return coco_with(lambda content: content["images"][0].update(file_name=str(name)))


@pytest.mark.parametrize("name", ["../images/p0.png", "/home/anna/project/images/p0.png", "C:\\data\\images\\p0.png"])
def test_names_of_another_machine_are_found_inside_the_folder_and_masks_stay_inside_out(
    name: str, tmp_path: Path
) -> None:
    accepted(name)(tmp_path / "source")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    index(tmp_path / "source", tmp_path / "out")
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(tmp_path / "out") for path in new)
    records = [r for n in ("train.json", "test.json") for r in read_lists(tmp_path / "out", n)]
    assert sum(record.label for record in records) == 2


def test_a_byte_order_mark_and_missing_sides_are_read(tmp_path: Path) -> None:
    coco_with(lambda content: [image.pop("width") for image in content["images"]])(tmp_path / "source")
    path = tmp_path / "source/labels.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    done = index(tmp_path / "source", tmp_path / "out")
    assert sum(sum(counts.values()) for counts in done.counts.values()) == 4


def test_tasks_that_nobody_labelled_are_left_out_and_named(tmp_path: Path) -> None:
    tools.label_studio(tmp_path / "source")
    edit_json(tmp_path / "source/project-1.json", lambda tasks: tasks[2].update(annotations=[]))
    done = index(tmp_path / "source", tmp_path / "out")
    assert done.left_out == ("images/p2.png",)
    assert any("not labelled yet" in remark and "p2.png" in remark for remark in done.remarks)


def test_json_min_of_label_studio_is_read(tmp_path: Path) -> None:
    tools.label_studio(tmp_path / "source")
    path = tmp_path / "source/project-1.json"
    tasks = json.loads(path.read_text())
    flat = []
    for task in tasks:
        (annotation,) = task["annotations"]
        shapes = [
            {**r["value"], **{k: r[k] for k in ("original_width", "original_height")}} for r in annotation["result"]
        ]
        flat.append(
            {"image": task["data"]["image"], "id": task["id"], "annotator": 1, "annotation_id": 3, "label": shapes}
        )
    path.write_text(json.dumps(flat))
    assert recognised(tmp_path / "source") == "label-studio"
    index(tmp_path / "source", tmp_path / "out")
    for record in (r for n in ("train.json", "test.json") for r in read_lists(tmp_path / "out", n)):
        assert np.array_equal(read_example(record).mask.astype(bool), tools.rect() & bool(record.label))


def test_an_image_without_json_of_labelme_is_left_out(tmp_path: Path) -> None:
    tools.labelme(tmp_path / "source")
    (tmp_path / "source/p3.json").unlink()
    assert index(tmp_path / "source", tmp_path / "out").left_out == ("p3.png",)


def test_labels_changed_since_are_indexed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.plain(tmp_path / "parts")
    folder = find_dataset(str(tmp_path / "parts"), tmp_path)
    assert "indexed as images/ and masks/" in capsys.readouterr().err
    count = sum(len(json.loads((folder / name).read_text())) for name in ("train.json", "test.json"))
    find_dataset(str(tmp_path / "parts"), tmp_path)
    assert capsys.readouterr().err == ""
    tools.picture(tmp_path / "parts/good/g1.png", 11)
    find_dataset(str(tmp_path / "parts"), tmp_path)
    assert "its files have changed" in capsys.readouterr().err
    assert sum(len(json.loads((folder / name).read_text())) for name in ("train.json", "test.json")) == count + 1


def test_an_out_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    tools.plain(tmp_path / "source")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't be written"):
        index(tmp_path / "source", tmp_path / "file/out")


def test_outlines_of_a_turned_photo_lie_where_they_were_drawn(tmp_path: Path) -> None:
    """An image with EXIF orientation 6 is shown turned; outlines that state the stored sides are turned with it."""
    tools.coco(tmp_path / "source")
    path = tmp_path / "source/images/p0.png"
    stored = np.zeros(tools.SIDE, np.uint8)
    stored[tools.ROWS, tools.COLUMNS] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(path, exif=exif)
    index(tmp_path / "source", tmp_path / "out")
    (record,) = (r for n in ("train.json", "test.json") for r in read_lists(tmp_path / "out", n) if r.image == path or
                 r.image.samefile(path))  # fmt: skip
    example = read_example(record)
    assert example.image.shape == tools.SIDE[::-1]
    assert np.array_equal(example.image > 100, example.mask > 0)
    assert cv2.imread(str(record.mask), cv2.IMREAD_UNCHANGED).shape == tools.SIDE[::-1]


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio"])
def test_pictures_that_the_annotations_do_not_name_are_told(name: str, tmp_path: Path) -> None:
    tools.ALL[name](tmp_path / "source")
    assert not [remark for remark in index(tmp_path / "source", tmp_path / "a").remarks if "not named" in remark]

    cv2.imwrite(str(tmp_path / "source/images/forgotten.png"), np.zeros((8, 8), np.uint8))

    (remark,) = [remark for remark in index(tmp_path / "source", tmp_path / "b").remarks if "not named" in remark]
    assert remark == "1 pictures are not named by the annotations, and not used: images/forgotten.png"


def test_a_key_that_stands_twice_in_a_yolo_data_set_is_refused(tmp_path: Path) -> None:
    tools.yolo(tmp_path / "source")
    with (tmp_path / "source/data.yaml").open("a") as settings:
        settings.write("names: [scratch, dent]\n")
    with pytest.raises(ConfigError, match="'names' stands twice, on lines 4 and 5"):
        index(tmp_path / "source", tmp_path / "out")
