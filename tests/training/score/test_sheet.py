from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from f2pnet.engine.bundle import Thresholds
from f2pnet.inspection.regions import regions
from tests.training.verdicts import verdict_counts
from training.data.records import Record
from training.metrics.evaluate import Predicted
from training.metrics.thresholds import Choice, Validated
from training.score.bootstrap import intervals
from training.score.image_stats import NEVER, image_stats, reject_level, select
from training.score.sheet import by_size, full_sheet, score_sheet
from training.score.sheet_figures import plain_figures, weighted_figures

SIDE, COUNT = 40, 24
CHOICE = Choice("mask", Thresholds(pixel=0.5, score=0.3, min_area_px=8))


@pytest.fixture(scope="module")
def answers() -> Validated:
    """Noisy maps of 24 images; every second one has a square defect, found now and then."""
    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 0.55, (COUNT, SIDE, SIDE)).astype(np.float32)
    masks = [np.zeros((SIDE, SIDE), np.uint8) for _ in range(COUNT)]
    for number in range(1, COUNT, 2):
        row, column, side = rng.integers(2, 20, 3)
        masks[number][row : row + side, column : column + side] = 1
        maps[number][masks[number] > 0] += rng.uniform(0, 0.45)
    labels = [number % 2 for number in range(COUNT)]
    score = np.clip(rng.normal(0.4, 0.2, COUNT) + 0.2 * np.array(labels), 0, 1).astype(np.float32)
    return Validated(Predicted(maps, maps, score), masks, labels)


@pytest.fixture
def records() -> list[Record]:
    """Three images of each part."""
    return [
        Record(f"{n}", Path("x"), None, n % 2, "spot" if n % 2 else "good", f"part-{n // 3}", "set")
        for n in range(COUNT)
    ]


def test_the_sheet_agrees_with_scikit_learn(answers: Validated) -> None:
    sheet = score_sheet(answers, CHOICE)
    found = (np.asarray(answers.predicted.mask) >= 0.5).ravel()
    truth = np.stack(answers.masks).ravel() > 0
    assert sheet["iou"] == pytest.approx(jaccard_score(truth, found), abs=1e-4)
    assert sheet["f1"] == pytest.approx(f1_score(truth, found), abs=1e-4)
    assert sheet["mean_iou"] == pytest.approx(jaccard_score(truth, found, average="macro"), abs=1e-4)
    assert sheet["image_auroc"] == pytest.approx(roc_auc_score(answers.labels, answers.predicted.score), abs=1e-4)
    assert sheet["PxR"] == pytest.approx(sheet["precision"] * sheet["recall"], abs=1e-3)


def test_frame_figures_are_those_of_the_verdicts(answers: Validated) -> None:
    sheet, verdicts = score_sheet(answers, CHOICE), verdict_counts(answers, CHOICE)
    assert sheet["frame_recall"] == pytest.approx(verdicts.recall, abs=1e-4)
    assert sheet["escape_rate"] == pytest.approx(1 - verdicts.recall, abs=1e-4)
    assert sheet["false_reject_rate"] == pytest.approx(verdicts.false_reject_rate, abs=1e-4)
    assert sheet["frame_precision"] == pytest.approx(verdicts.precision, abs=1e-4)


@pytest.mark.parametrize("score", [0.2, 0.45, 0.6])
def test_the_curve_by_score_says_what_another_gate_would_do(answers: Validated, score: float) -> None:
    moved = Choice("mask", CHOICE.thresholds.model_copy(update={"score": score}))
    rejected = image_stats(answers, moved).rejected
    assert np.array_equal(rejected, image_stats(answers, CHOICE).by_score >= score)


@pytest.mark.parametrize("pixel", [0.4, 0.6, 0.8])
def test_the_curve_by_map_says_what_another_pixel_threshold_would_do(answers: Validated, pixel: float) -> None:
    moved = Choice("mask", CHOICE.thresholds.model_copy(update={"pixel": pixel}))
    rejected = image_stats(answers, moved).rejected
    assert np.array_equal(rejected, image_stats(answers, CHOICE).by_map >= pixel)


def test_the_level_is_the_highest_threshold_that_leaves_a_large_region() -> None:
    probabilities = np.random.default_rng(1).random((30, 30)).astype(np.float32)
    level = reject_level(probabilities, 20)
    grid = np.linspace(0, 1, 2001)
    holds = [at for at in grid if regions((probabilities >= at).astype(np.uint8), 20)]
    assert level == pytest.approx(max(holds), abs=1e-3)
    assert reject_level(probabilities, 901) == NEVER


def test_a_weighted_sheet_is_that_of_the_repeated_images(answers: Validated) -> None:
    stats = image_stats(answers, CHOICE)
    weights = np.random.default_rng(2).integers(0, 3, COUNT)
    weighted = weighted_figures(stats, weights[None].astype(float))
    repeated = plain_figures(select(stats, np.repeat(np.arange(COUNT), weights).tolist()))
    assert {name: value[0] for name, value in weighted.items()} == pytest.approx(repeated)


def test_intervals_follow_the_spread_over_parts(answers: Validated, records: list[Record]) -> None:
    stats = image_stats(answers, CHOICE)
    parts = [record.part_id for record in records]
    rng = np.random.default_rng(3)
    names = sorted(set(parts))
    loop = []
    for _ in range(400):
        drawn = rng.choice(names, len(names))
        chosen = [index for name in drawn for index, part in enumerate(parts) if part == name]
        loop.append(plain_figures(select(stats, chosen))["iou"])
    low, high = intervals(stats, parts)["iou"]
    assert (low, high) == pytest.approx(np.percentile(loop, [2.5, 97.5]), abs=0.02)


def test_one_part_gives_no_interval(answers: Validated) -> None:
    assert intervals(image_stats(answers, CHOICE), ["only"] * COUNT) == {}


def test_without_good_images_their_figures_are_left_out_and_the_sheet_says_so(
    answers: Validated, records: list[Record]
) -> None:
    defective = list(range(1, COUNT, 2))
    sheet = full_sheet(select(image_stats(answers, CHOICE), defective), [records[index] for index in defective])
    assert not {"image_auroc", "false_reject_rate", "frame_precision"} & set(sheet["values"])
    assert "frame_recall" in sheet["values"]
    assert "no good images" in sheet["note"]
    assert sheet["curves"] == {}


def test_figures_by_class_are_those_of_its_images(answers: Validated, records: list[Record]) -> None:
    stats = image_stats(answers, CHOICE)
    renamed = [replace(record, class_name="rare") if record.id == "1" else record for record in records]
    sheet = full_sheet(stats, renamed)["by_class"]
    assert {name: row["images"] for name, row in sheet.items()} == {"good": 12, "rare": 1, "spot": 11}
    assert sheet["rare"]["iou"] == round(plain_figures(select(stats, [1]))["iou"], 4)
    assert set(sheet["good"]) == {"images", "false_alarms_per_image", "false_reject_rate"}


def test_every_defect_is_in_one_class_of_size(answers: Validated) -> None:
    rows = by_size(image_stats(answers, CHOICE))
    areas = [int(mask.sum()) for mask in answers.masks if mask.any()]
    for row in rows:
        inside = [area for area in areas if row["from_px"] <= area < (row["below_px"] or 10**9)]
        assert row["objects"] == row["images"] == len(inside)
