"""The data of a run: training and validation images of all data sets of the recipe's mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from f2pnet.errors import ConfigError
from training.data.check import unusable
from training.data.images import ImageSet, Pixels, load_images
from training.data.records import Record, class_names, few_shot, folds_by_part, read_records, split_by_part
from training.recipe import DatasetChoice, TrainingRecipe
from training.steps.batches import draw_weights


@dataclass(frozen=True)
class TrainingData:
    """`chances` (N,) of each training image to be drawn; `validation` holds one set of images for each data set.

    `classes` names the defect classes of a run with a class map; empty otherwise.
    """

    training: ImageSet
    chances: np.ndarray
    validation: dict[str, ImageSet]
    classes: tuple[str, ...] = ()


def load_data(recipe: TrainingRecipe, fold: int | None = None) -> TrainingData:
    """Read and split all data sets of the recipe. The test lists are not touched, but for `select_on: test`.

    Of a recipe with folds, `fold` is the one held out; None: none is, and `validation` is empty.

    Raises ConfigError with what is wrong in any of them, all at once.
    """
    if not recipe.datasets:
        raise ConfigError("the recipe names no data set: give --dataset, or list them under 'datasets'")
    try:
        data = _load(recipe, fold)
    except ConfigError as error:
        if problems := unusable([(choice.path, choice.train_list) for choice in recipe.datasets]):
            raise ConfigError("the data can't be trained on:\n  " + "\n  ".join(problems)) from error
        raise
    if not any(record.label for record in data.training.records):
        names = ", ".join(str(choice.path / choice.train_list) for choice in recipe.datasets)
        raise ConfigError(f"{names}: no defective image to train on, wanted at least one with label 1 and a mask")
    return data


def _load(recipe: TrainingRecipe, fold: int | None) -> TrainingData:
    splits = [split_dataset(choice, recipe, fold) for choice in recipe.datasets]
    classes = _classes(recipe, splits) if recipe.class_map else ()
    kept, held = (
        [load_images(split[side], recipe.image_size, classes, recipe.mask_rule, recipe.resize) for split in splits]
        for side in (0, 1)
    )
    chances = [
        draw_weights(
            images,
            choice.weight,
            recipe.defective_share if choice.defective_share is None else choice.defective_share,
            recipe.even_classes,
        )
        for images, choice in zip(kept, recipe.datasets, strict=True)
    ]
    return TrainingData(
        training=_joined(kept),
        chances=np.concatenate(chances) / sum(choice.weight for choice in recipe.datasets),
        validation={choice.path.name: images for choice, images in zip(recipe.datasets, held, strict=True) if images},
        classes=classes,
    )


def split_dataset(
    choice: DatasetChoice, recipe: TrainingRecipe, fold: int | None = None
) -> tuple[list[Record], list[Record]]:
    """(training, validation) records of one data set; no part is on both sides. See `load_data` for `fold`.

    Only a recipe that says `select_on: test` reads the test list here, in place of held-out parts.
    """
    records = read_records(choice.path, choice.train_list)
    if recipe.shots is not None:
        records = few_shot(records, choice.path, recipe.shots, choice.few_shot_list)
    if recipe.select_on == "test":
        return records, read_records(choice.path, "test.json")
    if recipe.folds is not None:
        return _without_fold(choice, records, recipe.folds, recipe.split_seed, fold)
    training, validation = split_by_part(records, choice.val_share, recipe.split_seed)
    if not training or not validation:
        parts = len({record.part_id for record in records})
        raise ConfigError(
            f"{choice.path}: {len(records)} images of {parts} parts can't be split into training and validation "
            f"at val_share {choice.val_share}: give more parts, or another share"
        )
    return training, validation


def _without_fold(
    choice: DatasetChoice, records: list[Record], folds: int, seed: int, fold: int | None
) -> tuple[list[Record], list[Record]]:
    groups = folds_by_part(records, folds, seed)
    if not all(any(record.label for record in group) for group in groups):
        parts = len({record.part_id for record in records if record.label})
        raise ConfigError(
            f"{choice.path}: {len(records)} images with {parts} defective parts can't be divided into {folds} folds "
            "with a defective image in each: give more parts, or a recipe with fewer `folds`"
        )
    held = [] if fold is None else groups[fold]
    names = {record.id for record in held}
    return [record for record in records if record.id not in names], held


def _classes(recipe: TrainingRecipe, splits: Sequence[tuple[list[Record], list[Record]]]) -> tuple[str, ...]:
    """The classes of the map: of one data set, since another's class masks would count from 1 again."""
    if len(recipe.datasets) > 1:
        raise ConfigError(f"class_map is on for {len(recipe.datasets)} data sets, wanted one: their classes differ")
    classes = class_names([record for part in splits[0] for record in part])
    if len(classes) < 2:
        raise ConfigError(f"class_map is on and the data set has the classes {list(classes)}, wanted two or more")
    return classes


def _joined(sets: Sequence[ImageSet]) -> ImageSet:
    return ImageSet(
        records=[record for images in sets for record in images.records],
        images=[image for images in sets for image in images.images],
        masks=[mask for images in sets for mask in images.masks],
        filled=[part for images in sets for part in images.filled],
        classes=sets[0].classes,  # a class map is learnt from one data set alone
        ignored=_ignored(sets),
    )


def _ignored(sets: Sequence[ImageSet]) -> list[Pixels | None] | None:
    if all(images.ignored is None for images in sets):
        return None
    return [each for images in sets for each in images.ignored or [None] * len(images)]
