"""Masks as tools write them: what counts as defect, worked out by hand, and the same for check, train and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from f2pnet.errors import ConfigError
from tests.training.conftest import write_spots
from training.data.check import check_dataset
from training.data.examples import fitted_mask, read_example, turned
from training.data.images import load_images
from training.data.masks import UnusableMask, decide, read_mask
from training.data.records import Record, read_records
from training.recipe import Augmentation
from training.score.sheet import read_fitted
from training.steps.batches import draw_batch
from training.steps.losses import hidden, mask_loss

SHAPE = (20, 30)
RECT = np.zeros(SHAPE, bool)
RECT[5:12, 8:18] = True
AROUND = cv2.dilate(RECT.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~RECT
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 756 + [224, 224, 192]


def grey(value: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.where(RECT, value, 0).astype(dtype)


def paletted(indices: np.ndarray, palette: list[int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(palette)
    return image


def coloured(*colour: int, background: tuple[int, ...] | None = None) -> np.ndarray:
    return np.where(RECT[..., None], colour, background or (0,) * len(colour)).astype(np.uint8)


ACCEPTED: dict[str, Any] = {
    "0 and 255": grey(255),
    "0 and 1": grey(1),
    "0 and 100": grey(100),
    "0 and 40": grey(40),
    "bool": RECT,
    "class indices": np.where(RECT, 1 + (np.arange(30) > 12), 0).astype(np.uint8),
    "16 bit, 0 and 1000": grey(1000, np.uint16),
    "16 bit, 0 and 65535": grey(65535, np.uint16),
    "16 bit, class indices": grey(3, np.uint16),
    "rgb, white": coloured(255, 255, 255),
    "rgb, red": coloured(200, 0, 0),
    "rgb, two classes": coloured(200, 0, 0) + (np.arange(30) > 12)[None, :, None] * coloured(0, 90, 0),
    "rgba, opaque": coloured(255, 255, 255, 255, background=(0, 0, 0, 255)),
    "rgba, colour on transparent": coloured(10, 200, 10, 255),
    "rgba, black on transparent": coloured(0, 0, 0, 255),
    "grey and alpha": coloured(255, 255, background=(0, 255)),
    "palette, index 1": paletted(grey(1), VOC),
    "palette, index 200": paletted(grey(200), [0, 0, 0] + [7, 8, 9] * 255),
    "palette of greys": paletted(grey(255), [value for grey_ in range(256) for value in (grey_,) * 3]),
    "palette whose black is not 0": paletted(np.where(RECT, 0, 1), [255, 0, 0, 0, 0, 0]),
    "soft edges": np.clip(grey(255).astype(int) + AROUND * 90, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_mask_that_marks_the_rectangle_is_read_so(name: str, tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path, ACCEPTED[name]))
    assert np.array_equal(mask.defect.astype(bool), RECT)
    assert mask.ignored is None


IGNORED: dict[str, Any] = {
    "1 beside 255": np.where(AROUND, 255, grey(1)).astype(np.uint8),
    "16 bit, 1 beside 255": np.where(AROUND, 255, grey(1)).astype(np.uint16),
    "16 bit, 2 beside 65535": np.where(AROUND, 65535, grey(2)).astype(np.uint16),
    "palette": paletted(np.where(AROUND, 255, grey(1)), VOC),
    "colours of VOC": np.where(AROUND[..., None], (224, 224, 192), coloured(128, 0, 0)).astype(np.uint8),
}


@pytest.mark.parametrize("name", IGNORED)
def test_ignored_pixels_are_neither_defect_nor_background(name: str, tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path, IGNORED[name]))
    assert np.array_equal(mask.defect.astype(bool), RECT)
    assert mask.ignored is not None
    assert np.array_equal(mask.ignored.astype(bool), AROUND)


def test_void_alone_is_no_defect(tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path, paletted(grey(255), VOC)))
    assert not mask.defect.any()
    assert mask.ignored is not None


LEFT, RIGHT = np.arange(30) < 8, np.arange(30) > 20
REFUSED: dict[str, tuple[Any, str]] = {
    "two greys": (np.where(LEFT, 100, np.where(RIGHT, 255, 0)), "areas of grey 100"),
    "three greys": (np.where(LEFT, 85, np.where(RIGHT, 170, 0)), "areas of grey 85"),
    "a faint spot": (np.where(RIGHT, 255, 0) + cv2.GaussianBlur(grey(110), (0, 0), 3), "spot of grey"),
    "one grey everywhere": (np.full((1, 30), 77), "value 77 everywhere"),
    "object numbers": (np.where(LEFT, 1000, np.where(RIGHT, 2000, 0)).astype(np.uint16), "object numbers"),
    "many colours": (np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)), "more than 31 colours"),
    "colours without black": (coloured(1, 2, 3, background=(9, 9, 8)), "without black"),
    "transparent colours": (coloured(1, 2, 3, 0), "fully transparent"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mask_with_two_readings_is_refused(name: str, tmp_path: Path) -> None:
    values, told = REFUSED[name]
    values = np.broadcast_to(values, SHAPE if np.ndim(values) < 3 else values.shape)
    path = save(tmp_path, values if values.dtype == np.uint16 else values.astype(np.uint8))
    with pytest.raises(UnusableMask, match=told) as caught:
        read_mask(path)
    assert str(path) in str(caught.value)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path, np.random.default_rng(0).integers(0, 2, (200, 200)).astype(np.uint8) * 255)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "text.png").write_text("no picture")
    pages = [Image.fromarray(grey(255))] * 2
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    for name in ("cut.png", "text.png", "pages.tif", "none.png"):
        with pytest.raises(UnusableMask):
            read_mask(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_and_image_are_brought_to_one_orientation_or_refused(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(grey(200)).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(grey(255)).save(tmp_path / "plain.png")
    Image.fromarray(grey(255)).save(tmp_path / "tagged.png", exif=exif)
    Image.fromarray(turned(grey(255), orientation)).save(tmp_path / "shown.png")

    def read(mask: str) -> bool:
        example = read_example(Record("a", tmp_path / "image.png", tmp_path / mask, 1, "spot", "p", "d"))
        return np.array_equal(example.image > 100, example.mask > 0)

    assert read("tagged.png")
    if orientation in (2, 3, 4):  # the sides are alike: nothing tells whether the mask was turned
        for mask in ("plain.png", "shown.png"):
            with pytest.raises(UnusableMask, match="EXIF orientation"):
                read(mask)
    else:
        assert read("plain.png")
        assert read("shown.png")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableMask, match=r"30x20 .*wanted 20x30"):
        fitted_mask(tmp_path / "m.png", decide(grey(255)), tmp_path / "i.png", SHAPE[::-1])


def save(folder: Path, content: Any, name: str = "mask.png") -> Path:
    image = content if isinstance(content, Image.Image) else Image.fromarray(content)
    image.save(folder / name)
    return folder / name


def ignoring(folder: Path) -> Path:
    """The spots, with a part of each picture marked 255 beside class index 1."""
    write_spots(folder)
    for path in (folder / "masks").glob("*.png"):
        indices = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0).astype(np.uint8)
        indices[:4] = 255
        cv2.imwrite(str(path), indices)
    return folder


def test_training_gets_no_loss_and_no_gradient_from_ignored_pixels(tmp_path: Path) -> None:
    images = load_images(read_records(ignoring(tmp_path / "spots"), "train.json"), 64)
    assert images.ignored is not None
    chances = np.array([float(record.label) for record in images.records])
    batch = draw_batch(images, chances, 4, Augmentation(), np.random.default_rng(3))
    assert batch.ignored is not None
    assert batch.ignored.any()
    assert not (batch.ignored & (batch.masks > 0)).any()
    logits = torch.randn(4, 1, 64, 64, requires_grad=True)
    mask_loss(hidden(logits, batch.ignored), batch.masks).backward()
    assert logits.grad is not None
    assert not logits.grad[batch.ignored].any()
    assert logits.grad[~batch.ignored].any()


def test_the_score_sheet_does_not_count_what_is_found_on_ignored_pixels(tmp_path: Path) -> None:
    from f2pnet.engine.bundle import Thresholds
    from training.metrics.thresholds import Choice
    from training.score.model import Model
    from training.score.sheet import answers_for, score_sheet

    records = [record for record in read_records(ignoring(tmp_path / "spots"), "train.json") if record.label]
    _, masks, _ = read_fitted(records, 64, "stretch")
    found = np.stack(masks).astype(np.float32)
    found[:, :4] = 1  # everything that is ignored

    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        assert len(images) == len(found)
        return {"mask": found, "pixel_map": found, "score": np.ones(len(found), np.float32)}

    choice = Choice("mask", Thresholds())
    values = score_sheet(answers_for(Model(answer, choice, 64, 16), records), choice)
    assert values["iou"] == values["precision"] == 1
    assert values["false_alarms_per_image"] == 0


def test_masks_that_disagree_about_255_are_refused_by_check_and_training(tmp_path: Path) -> None:
    spots = ignoring(tmp_path / "spots")
    plain = np.zeros((64, 64), np.uint8)
    plain[30:40, 30:40] = 255
    cv2.imwrite(str(spots / "masks/1.png"), plain)
    assert any("two kinds" in finding.what for finding in check_dataset(spots, "train.json", "test.json").findings)
    with pytest.raises(ConfigError, match="two kinds"):
        load_images(read_records(spots, "train.json"), 64)
    with pytest.raises(ConfigError, match="two kinds"):
        read_fitted(read_records(spots, "train.json"), 64, "stretch")


FORMS = {**ACCEPTED, **IGNORED, **{name: values for name, (values, _) in REFUSED.items() if np.ndim(values) >= 2}}


@pytest.mark.parametrize("name", FORMS)
def test_check_training_and_test_agree_on_every_form(name: str, tmp_path: Path) -> None:
    content = FORMS[name]
    if not isinstance(content, Image.Image):
        content = np.broadcast_to(content, SHAPE if np.ndim(content) < 3 else content.shape)
        content = content if content.dtype in (np.uint16, bool) else content.astype(np.uint8)
    save(tmp_path, content)
    entries = []
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, SHAPE).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.GaussianBlur(noise, (0, 0), 1 + number / 2))
        defective = number % 2
        entries.append({"id": f"{number}", "image": f"{number}.png", "label": defective} |
                       ({"mask": "mask.png"} if defective else {}))  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps(entries))
    errors = [f for f in check_dataset(tmp_path, "train.json", "test.json").findings if f.gravity == "error"]
    records = read_records(tmp_path, "train.json")
    outcomes = []
    for read in (lambda: load_images(records, 32), lambda: read_fitted(records, 32, "stretch")):
        try:
            read()
            outcomes.append(True)
        except ConfigError:
            outcomes.append(False)
    assert outcomes == [not errors] * 2
