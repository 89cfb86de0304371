from __future__ import annotations

import pytest

from f2pnet.errors import ConfigError
from training.loop.data import load_data
from training.recipe import DatasetChoice, TrainingRecipe


def test_what_is_held_out_does_not_hang_on_the_seed_of_the_run(tiny_recipe: TrainingRecipe) -> None:
    held = [
        [record.id for record in load_data(tiny_recipe.model_copy(update={"seed": seed})).validation["spots"].records]
        for seed in (1, 2)
    ]
    assert held[0] == held[1]


def test_the_chances_of_all_sets_of_a_mix_follow_their_weights(tiny_recipe: TrainingRecipe) -> None:
    (choice,) = tiny_recipe.datasets
    mix = (choice.model_copy(update={"weight": 3.0}), choice)
    data = load_data(tiny_recipe.model_copy(update={"datasets": mix}))
    half = len(data.chances) // 2
    assert data.chances.sum() == pytest.approx(1)
    assert data.chances[:half].sum() == pytest.approx(0.75)


def test_too_few_parts_to_hold_any_out_is_an_error(tiny_recipe: TrainingRecipe) -> None:
    (choice,) = tiny_recipe.datasets
    shy = DatasetChoice(path=choice.path, val_share=0.01)
    with pytest.raises(ConfigError, match="can't be split"):
        load_data(tiny_recipe.model_copy(update={"datasets": (shy,)}))
