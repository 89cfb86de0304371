from __future__ import annotations

import math

import pytest

from training.recipe import TrainingRecipe
from training.steps.schedule import learning_rate

RECIPE = TrainingRecipe(steps=110, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)


def test_it_warms_up_to_the_peak_and_falls_to_the_end_without_rising_again() -> None:
    rates = [learning_rate(step, RECIPE) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


def test_half_way_through_the_cosine_it_is_half_way_down() -> None:
    assert learning_rate(60, RECIPE) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
