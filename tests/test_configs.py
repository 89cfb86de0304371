"""Every file in configs/ loads with the model it is meant for, and none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from f2pnet.config import load_line
from f2pnet.engine.bundle import open_bundle
from f2pnet.inspection.recipe import load_recipe
from tests.conftest import REPOSITORY

CONFIGS = REPOSITORY / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))


def _load_training(path: Path) -> object:
    from training.recipe import load_recipe as load_training_recipe

    return load_training_recipe(path)


def _load_study(path: Path) -> object:
    from benchmarks.accuracy_runs import recipes

    return list(recipes(path))


LOADERS: dict[str, Callable[[Path], object]] = {
    "lines": load_line,
    "recipes": load_recipe,
    "training": _load_training,
    "studies": _load_study,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_configuration_loads(path: Path) -> None:
    assert LOADERS[path.relative_to(CONFIGS).parts[0]](path)


@pytest.mark.parametrize("path", sorted((CONFIGS / "lines").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_line_names_an_engine_and_a_recipe_that_are_there(path: Path) -> None:
    line = load_line(path)
    assert open_bundle(line.engine.bundle).engine_id
    assert line.recipe is None or load_recipe(line.recipe).recipe_id


def test_the_shipped_engines_are_small_enough() -> None:
    for bundle in (CONFIGS / "engines").iterdir():
        size_mb = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 2**20
        assert size_mb <= 20, bundle.name
