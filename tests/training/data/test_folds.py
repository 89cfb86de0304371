"""Thresholds from folds: every image is answered once, by a run that did not see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from f2pnet.errors import ConfigError
from training.data.records import folds_by_part, read_records
from training.loop.data import load_data
from training.loop.finish import OUT_OF_FOLD
from training.loop.run import complete_run, fold_name, fold_recipe, out_of_fold_answers, steps_of_run
from training.recipe import TrainingRecipe


@pytest.fixture
def folded(tiny_recipe: TrainingRecipe) -> TrainingRecipe:
    return tiny_recipe.model_copy(update={"folds": 2, "steps": 6, "fold_share": 0.5, "evaluate_every": 6, "batch": 2})


def test_folds_share_no_part_and_hold_every_image_once(tiny_recipe: TrainingRecipe) -> None:
    records = read_records(tiny_recipe.datasets[0].path, "train.json")

    groups = folds_by_part(records, 3, seed=1)

    ids = [record.id for group in groups for record in group]
    assert sorted(ids) == sorted(record.id for record in records)
    parts = [{record.part_id for record in group} for group in groups]
    assert sum(len(of_fold) for of_fold in parts) == len(set().union(*parts)) == 8
    assert all(len(group) in (4, 6) for group in groups)  # parts of two images


def test_the_run_that_is_kept_trains_on_all_images(folded: TrainingRecipe) -> None:
    kept, first = load_data(folded), load_data(folded, fold=0)

    assert (len(kept.training), kept.validation) == (16, {})
    assert len(first.training) + len(first.validation["spots"]) == 16


def test_thresholds_come_from_answers_that_no_run_gave_about_its_own_images(
    folded: TrainingRecipe, tmp_path: Path
) -> None:
    facts = complete_run(folded, tmp_path)

    assert facts is not None
    assert (facts["training_images"], facts["step"]) == (16, 6)
    assert [sheet["split"] for sheet in facts["metrics"]] == [OUT_OF_FOLD]
    assert facts["metrics"][0]["images"] == 16
    assert json.loads((tmp_path / "metrics.json").read_text()) == facts
    for fold in range(2):
        seen = json.loads((tmp_path / fold_name(fold) / "metrics.json").read_text())
        assert seen["step"] == 3
    assert len(out_of_fold_answers(folded, tmp_path)["spots"].labels) == 16
    assert steps_of_run(folded) == 12


def test_a_run_that_was_cut_after_a_fold_goes_on_to_the_same_weights(folded: TrainingRecipe, tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def cut_in_the_second_fold(step: int, _: object) -> None:
        if step == fold_recipe(folded).steps + 1:
            raise Cut

    complete_run(folded, tmp_path / "whole")
    with pytest.raises(Cut):
        complete_run(folded, tmp_path / "cut", report=cut_in_the_second_fold)
    first = (tmp_path / "cut/fold-0/best.pth").stat().st_mtime_ns
    complete_run(folded, tmp_path / "cut", resume=True)

    assert (tmp_path / "cut/fold-0/best.pth").stat().st_mtime_ns == first
    whole, resumed = (torch.load(tmp_path / name / "last.pth", weights_only=True) for name in ("whole", "cut"))
    assert all(torch.equal(value, resumed["averaged"][name]) for name, value in whole["averaged"].items())


def test_more_folds_than_defective_parts_is_an_error(folded: TrainingRecipe, spots: Path) -> None:
    records = json.loads((spots / "train.json").read_text())
    (spots / "train.json").write_text(json.dumps([r for r in records if not r["label"] or r["id"] in ("1", "3")]))

    with pytest.raises(ConfigError, match="fewer `folds`"):
        load_data(folded.model_copy(update={"folds": 3}))
