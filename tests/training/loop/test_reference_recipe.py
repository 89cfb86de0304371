from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from f2pnet.errors import ConfigError
from training.commands.named_recipes import named_recipe
from training.data.masks import foreground
from training.loop.data import load_data
from training.loop.loop import train
from training.recipe import TrainingRecipe
from training.steps.reference_prompts import draw_reference_prompts, first_objects, noisy, objects

MASK = np.zeros((64, 64), np.uint8)
MASK[4:14, 6:20] = 1
MASK[30:50, 40:48] = 1
MASK[60, 60] = 1


def test_objects_are_the_regions_above_twenty_pixels() -> None:
    labels, _ = ndimage.label(MASK, structure=np.ones((3, 3)))
    expected = [labels == number for number in (1, 2)]
    assert [np.array_equal(found, wanted) for found, wanted in zip(objects(MASK), expected, strict=True)] == [True] * 2


def test_a_prompt_stands_for_each_object_and_none_on_a_good_image() -> None:
    masks = torch.from_numpy(np.stack([MASK, 0 * MASK])[:, None].astype(np.float32))
    kinds = set()
    for seed in range(30):
        defective, good = draw_reference_prompts(masks, np.random.default_rng(seed))
        prompts = defective.prompts(32, torch.device("cpu"))
        assert prompts is not None
        assert prompts.labels.shape[:2] == (1, 2)
        assert defective.targets.shape == (2, 1, 64, 64)
        assert good.prompts(32, torch.device("cpu")) is None
        assert not good.targets.any()
        if defective.kind == "box":
            assert defective.places.tolist() == [[6, 4, 19, 13], [40, 30, 47, 49]]
        kinds.add(defective.kind)
    assert kinds == {"box", "point", "mask"}


def test_a_mask_prompt_is_noisy_only_along_the_edge() -> None:
    target = torch.zeros(1, 1, 64, 64)
    target[..., 16:48, 16:48] = 1
    changed = noisy(target, 64, seed=1) != target
    assert changed.any()
    assert not changed[..., 26:38, 26:38].any()
    assert not changed[..., :6, :6].any()


def test_the_pixel_target_of_the_reference_is_one_object() -> None:
    masks = torch.from_numpy(MASK[None, None].astype(np.float32))
    assert first_objects(masks).sum() == 10 * 14


def test_the_mask_rule_of_the_reference_drops_all_but_the_highest_index() -> None:
    indices = np.array([[0, 1, 2, 3]], np.uint8)
    assert foreground(indices, "reference").tolist() == [[0, 0, 0, 1]]
    assert foreground(indices).tolist() == [[0, 1, 1, 1]]


def test_the_reference_recipe_trains_and_chooses_on_the_test_list(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    said = TrainingRecipe(image_size=64, datasets=tiny_recipe.datasets, steps=4, stop_after=3, warmup_steps=0)
    recipe = named_recipe("reference", said)  # validates at the end of every run
    assert (recipe.prompts, recipe.batch, recipe.weight_decay) == ("reference", 4, 1e-4)
    data = load_data(recipe)
    assert (len(data.training), len(data.validation["spots"])) == (16, 4)
    assert train(recipe, data, tmp_path / "exp").is_file()
    assert cv2.imread(str(tmp_path / "exp/best-spots.png")) is not None


def test_selection_on_the_test_list_is_refused_elsewhere() -> None:
    with pytest.raises(ValueError, match="select_on is 'test'"):
        TrainingRecipe(select_on="test")


def test_an_unknown_recipe_name_is_told() -> None:
    with pytest.raises(ConfigError, match="wanted one of: default, fine-tune, few-shot, few-shot-from-scratch, ref"):
        named_recipe("paper", TrainingRecipe())
