from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from f2pnet.errors import ConfigError
from models.files.checkpoint import load_checkpoint
from training.data.images import read_class_mask
from training.data.records import class_names, read_records
from training.loop.data import load_data
from training.loop.journal import read_journal
from training.loop.loop import train
from training.metrics.evaluate import class_ious
from training.recipe import TrainingRecipe
from training.steps.batches import class_targets
from training.steps.losses import NO_CLASS


@pytest.fixture
def two_classes(tiny_recipe: TrainingRecipe) -> TrainingRecipe:
    """The spots, every second one called a stain."""
    path = tiny_recipe.datasets[0].path / "train.json"
    records = json.loads(path.read_text())
    for number, record in enumerate(record for record in records if record["label"]):
        record["class_name"] = ("spot", "stain")[number % 2]
    path.write_text(json.dumps(records))
    changes = {"class_map": True, "steps": 4, "evaluate_every": 4, "split_seed": 1}
    return tiny_recipe.model_copy(update=changes)


def test_a_class_map_is_trained_measured_and_named_in_the_checkpoint(
    two_classes: TrainingRecipe, tmp_path: Path
) -> None:
    best = train(two_classes, load_data(two_classes), tmp_path / "exp")
    network, facts = load_checkpoint(best)
    assert network.config.num_classes == 2
    assert facts["classes"] == ["spot", "stain"]
    lines = read_journal(tmp_path / "exp/log.jsonl")
    assert lines[0]["classes"] == pytest.approx(np.log(2), abs=0.5)
    assert set(lines[-1]["datasets"]["spots"]["class_iou"]) == {"spot", "stain"}


def test_one_class_is_too_few_for_a_class_map(tiny_recipe: TrainingRecipe) -> None:
    with pytest.raises(ConfigError, match="two or more"):
        load_data(tiny_recipe.model_copy(update={"class_map": True}))


def test_a_class_mask_on_disk_goes_before_the_name_of_the_record(two_classes: TrainingRecipe, tmp_path: Path) -> None:
    record = read_records(two_classes.datasets[0].path, "train.json")[1]
    mask = np.zeros((64, 64), np.uint8)
    mask[:2] = 1
    assert read_class_mask(record, mask, ("spot", "stain")).tolist() == mask.tolist()
    cv2.imwrite(str(tmp_path / "c.png"), 2 * mask)
    on_disk = replace(record, class_mask=tmp_path / "c.png")
    assert read_class_mask(on_disk, mask, ("spot", "stain")).tolist() == (2 * mask).tolist()
    with pytest.raises(ConfigError, match="at most 1"):
        read_class_mask(on_disk, mask, ("spot",))


def test_names_joined_by_a_plus_are_several_classes(two_classes: TrainingRecipe) -> None:
    first = read_records(two_classes.datasets[0].path, "train.json")[1]
    assert class_names([replace(first, class_name="b+a"), replace(first, class_name="b")]) == ("a", "b")


def test_a_pixel_has_a_class_where_it_is_defective() -> None:
    classes = np.array([[0, 1], [2, 2]], np.uint8)
    masks = np.array([[[[1, 1], [1, 0]]]], np.float32)
    from_numpy = class_targets([classes], torch.from_numpy(masks))
    assert from_numpy.tolist() == [[[NO_CLASS, 0], [1, NO_CLASS]]]


def test_class_ious_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 3, (16, 16)).astype(np.uint8) for _ in range(3)]
    answers = [
        {"mask": rng.random((1, 16, 16), np.float32), "class_map": rng.random((1, 2, 16, 16), np.float32)}
        for _ in range(3)
    ]
    queue = iter(answers)
    found = class_ious(lambda _: next(queue), [np.zeros((16, 16, 1), np.uint8)] * 3, truths, ("a", "b"))
    said = [np.where(a["mask"][0] >= 0.5, 1 + a["class_map"][0].argmax(0), 0) for a in answers]
    expected = jaccard_score(np.ravel(truths), np.ravel(said), labels=[1, 2], average=None)
    assert list(found.values()) == pytest.approx(list(expected))
