from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from f2pnet.config.base import load_yaml
from f2pnet.errors import ConfigError
from training.commands.train import train
from training.recipe import TrainingRecipe

REPOSITORY = Path(__file__).resolve().parents[3]
SHORT = {"image_size": 64, "steps": 4, "batch": 2, "warmup_steps": 1, "evaluate_every": 4, "log_every": 2}


def test_a_run_from_the_command_line_leaves_thresholds_and_figures(spots: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "short.yaml"
    recipe.write_text(yaml.safe_dump(SHORT))

    train(dataset=["spots"], config=recipe, data_dir=spots.parent, exp_dir=tmp_path / "exp")

    checkpoint = tmp_path / "exp/spots_nano_fullshot/best.pth"
    facts = json.loads(checkpoint.with_name("metrics.json").read_text())
    assert set(facts["thresholds"]) == {"pixel", "score", "min_area_px"}
    assert facts["metrics"][0]["protocol"] == "auto"


def test_a_misspelt_key_in_a_recipe_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("stepps: 3\n")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        load_yaml(tmp_path / "r.yaml", TrainingRecipe)


def test_a_recipe_without_data_sets_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--dataset"):
        train(exp_dir=tmp_path)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/training").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_loads(path: Path) -> None:
    assert load_yaml(path, TrainingRecipe).steps > 0
