"""What a frame is found to hold does not depend on how much of it is looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from f2pnet.backends.base import BackendFacts
from f2pnet.engine.bundle import Bundle
from f2pnet.inspection.grading import Grader, as_defects
from f2pnet.inspection.judging import Judge
from f2pnet.inspection.recipe import Recipe
from f2pnet.inspection.tiles import Window, merge
from tests.toy_engine import SIDE, write_toy_bundle

RECIPES = (
    {},
    {"tiles": {"size_px": 48, "overlap_px": 12}},
    {"roi": {"include": [[[10, 10], [150, 20], [90, 100]]]}, "min_area": {"px": 9}},
    {"thresholds": {"per_class": {"pit": 0.9}}},
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("engines")
    return write_toy_bundle(folder / "toy", classes=["scratch", "pit"])


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(RECIPES), st.integers(0, 2**32), st.integers(40, 200), st.integers(40, 200), st.integers(0, 6))
def test_only_what_lies_around_high_cells_is_looked_at_with_the_same_result(
    bundle: Bundle, recipe: dict[str, object], seed: int, width: int, height: int, spots: int
) -> None:
    rules = Recipe.model_validate(recipe)
    judge = Judge(bundle, BackendFacts("none", "none", 64, SIDE), rules)
    plan, rng = judge.plan(width, height), np.random.default_rng(seed)
    count = len(plan.windows)
    mask = rng.random((count, SIDE, SIDE)).astype(np.float32) ** 3 * np.float32(0.45)
    for _ in range(spots):
        n, y, x = rng.integers(count), *rng.integers(SIDE - 8, size=2)
        mask[n, y : y + rng.integers(1, 8), x : x + rng.integers(1, 8)] = rng.uniform(0.4, 1.0)
    outputs = {
        "mask": mask,
        "score": mask.max(axis=(1, 2)),
        "class_map": rng.random((count, 2, SIDE, SIDE)).astype(np.float32),
    }
    views = judge.views(outputs, plan.windows)
    grader = Grader(rules, bundle.manifest)
    suspicious = [view for view in views if grader.may_hold_defect(view)]
    whole = grader.grade(merge(suspicious, Window(0, 0, width, height)), plan.roi_mask) if suspicious else []

    assert as_defects(judge.find(views, plan)) == as_defects(whole)
