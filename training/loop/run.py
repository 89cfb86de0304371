"""A whole run: the training, and the thresholds that its checkpoint ships with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.loop.data import load_data, split_dataset
from training.loop.finish import finish
from training.loop.loop import BEST, LAST, Report, train
from training.loop.processes import Processes, find_device
from training.metrics.evaluate import Predicted
from training.metrics.thresholds import Validated
from training.networks.trainable import read_network
from training.pretrained.start import Prior
from training.recipe import TrainingRecipe
from training.score.model import open_network
from training.score.sheet import answers_for

Validation = Callable[[int | None, int, dict[str, Any]], None]


def complete_run(
    recipe: TrainingRecipe,
    folder: Path,
    *,
    resume: bool = False,
    report: Report = lambda step, values: None,
    processes: Processes | None = None,
    pretrained: Path | None = None,
    started: Callable[[list[Prior]], None] = lambda priors: None,
    validated: Validation = lambda fold, step, sheet: None,
) -> dict[str, Any] | None:
    """Train into `folder`, and choose thresholds; returns the checkpoint's facts in the leading process, else None.

    Of a recipe with folds, the run of each fold comes first, in a folder of its own; `report` counts the steps of
    all. With `resume`, goes on in whichever of them was cut. `validated` is given the figures of every validation, with
    the number of the fold, None for the run itself.
    """
    processes = processes or Processes(find_device(recipe.device))
    data = load_data(recipe)
    done = 0
    for fold in range(recipe.folds or 0):
        own = fold_recipe(recipe)
        place = folder / fold_name(fold)
        if not (resume and _is_trained(place, own)):
            train(
                own,
                load_data(recipe, fold),
                place,
                resume=resume and (place / LAST).exists(),
                report=_after(done, report),
                processes=processes,
                pretrained=pretrained,
                validated=partial(validated, fold),
            )
        done += own.steps
    best = train(
        recipe,
        data,
        folder,
        # A run that was cut in one of its folds has no state of its own yet.
        resume=resume and (recipe.folds is None or (folder / LAST).exists()),
        report=_after(done, report),
        processes=processes,
        pretrained=pretrained,
        started=started,
        validated=partial(validated, None),
    )
    if not processes.leads:
        return None
    return finish(best, recipe, None if recipe.folds is None else out_of_fold_answers(recipe, folder))


def steps_of_run(recipe: TrainingRecipe) -> int:
    """All optimiser steps of a run, those of its folds included."""
    return (recipe.stop_after or recipe.steps) + (recipe.folds or 0) * fold_recipe(recipe).steps


def fold_recipe(recipe: TrainingRecipe) -> TrainingRecipe:
    """The recipe of one fold's run: shorter, and validated at its end only, since nothing is chosen in it."""
    steps = max(2, round(recipe.steps * recipe.fold_share))
    changes = {
        "steps": steps,
        "stop_after": None,
        "warmup_steps": min(recipe.warmup_steps, steps // 2),
        "evaluate_every": steps,
        "patience": None,
    }
    return recipe.model_copy(update=changes)


def fold_name(fold: int) -> str:
    """Folder of a fold's run, inside that of the run."""
    return f"fold-{fold}"


def out_of_fold_answers(recipe: TrainingRecipe, folder: Path) -> dict[str, Validated]:
    """For each data set, what the folds' runs say about the training images that they were trained without."""
    models = [open_network(folder / fold_name(fold) / BEST) for fold in range(recipe.folds or 0)]
    return {
        choice.path.name: _joined(
            [answers_for(model, split_dataset(choice, recipe, fold)[1]) for fold, model in enumerate(models)]
        )
        for choice in recipe.datasets
    }


def _joined(each: Sequence[Validated]) -> Validated:
    predicted = Predicted(
        [one for answers in each for one in answers.predicted.mask],
        [one for answers in each for one in answers.predicted.pixel_map],
        np.concatenate([answers.predicted.score for answers in each]),
    )
    return Validated(
        predicted,
        [mask for answers in each for mask in answers.masks],
        [label for answers in each for label in answers.labels],
    )


def _is_trained(place: Path, recipe: TrainingRecipe) -> bool:
    if not (place / BEST).exists():
        return False
    facts = read_network(place / BEST)[1]
    return facts.get("step") == recipe.steps and facts.get("recipe") == recipe.model_dump(
        mode="json", exclude={"datasets"}
    )


def _after(done: int, report: Report) -> Report:
    def shifted(step: int, values: Mapping[str, Any]) -> None:
        report(done + step, dict(values))

    return shifted
