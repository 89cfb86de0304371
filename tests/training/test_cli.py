from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from f2pnet.config.base import load_yaml
from f2pnet.errors import ConfigError, MissingResource
from training.cli import test as score
from training.cli import train
from training.recipe import TrainingRecipe

REPOSITORY = Path(__file__).resolve().parents[2]
SHORT = {"image_size": 64, "steps": 4, "batch": 2, "warmup_steps": 1, "evaluate_every": 4, "log_every": 2}


def test_train_and_test_from_the_command_line(spots: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "short.yaml"
    recipe.write_text(yaml.safe_dump(SHORT))

    train(dataset=["spots"], config=recipe, data_dir=spots.parent, exp_dir=tmp_path / "exp")

    checkpoint = tmp_path / "exp/spots_nano_fullshot/best.pth"
    facts = json.loads(checkpoint.with_name("metrics.json").read_text())
    assert set(facts["thresholds"]) == {"pixel", "score", "min_area_px"}
    assert facts["metrics"][0]["protocol"] == "auto"

    score(dataset=[str(spots)], ckpt_path=checkpoint, json_file=tmp_path / "sheet.json")
    (sheet,) = json.loads((tmp_path / "sheet.json").read_text())
    assert (sheet["dataset"], sheet["split"], sheet["images"]) == ("spots", "test.json", 4)
    assert {"iou", "image_auroc", "escape_rate", "false_reject_rate"} <= set(sheet["values"])


def test_a_misspelt_key_in_a_recipe_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("stepps: 3\n")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        load_yaml(tmp_path / "r.yaml", TrainingRecipe)


def test_the_model_to_score_is_named_once(spots: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ckpt-path"):
        score(dataset=[str(spots)])
    with pytest.raises(MissingResource, match=r"no\.pth"):
        score(dataset=[str(spots)], ckpt_path=tmp_path / "no.pth")


def test_a_file_that_is_no_checkpoint_is_told_as_such(spots: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"bad\.pth"):
        score(dataset=[str(spots)], ckpt_path=tmp_path / "bad.pth")


def test_a_recipe_without_data_sets_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--dataset"):
        train(exp_dir=tmp_path)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/training").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_loads(path: Path) -> None:
    assert load_yaml(path, TrainingRecipe).steps > 0
