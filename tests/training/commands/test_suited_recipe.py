"""What a run is trained by when nobody says: by the weights that are here and the number of images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.configuration import network_config
from models.f2pnet import build_network
from models.files.checkpoint import save_checkpoint
from training.commands.named_recipes import NAMED, named_recipe
from training.commands.suited_recipe import FEW_IMAGES, has_few_images, starts_pretrained, suited_recipe
from training.recipe import TrainingRecipe


@pytest.mark.parametrize(
    ("pretrained", "few", "sam_type", "wanted"),
    [
        (True, True, None, "few-shot"),
        (True, False, None, "fine-tune"),
        (True, True, "vit_t", "few-shot"),
        (False, True, None, "few-shot-from-scratch"),
        (False, True, "nano", "few-shot-from-scratch"),
        (False, False, None, "default"),
        (False, True, "vit_b", "default"),
    ],
)
def test_each_case_has_its_recipe(pretrained: bool, few: bool, sam_type: str | None, wanted: str) -> None:
    assert suited_recipe(pretrained=pretrained, few=few, sam_type=sam_type) == wanted
    assert wanted in NAMED


def test_weights_of_both_parts_make_a_run_start_pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.pretrained.catalogue.find_spec", lambda name: None)  # no package brings them either
    assert not starts_pretrained(None, None, tmp_path)
    (tmp_path / "mobile_sam.pt").touch()
    assert not starts_pretrained(None, None, tmp_path)
    (tmp_path / "efficientnet-lite0-57934424.pth").touch()
    assert starts_pretrained(None, None, tmp_path)
    assert not starts_pretrained("nano", None, tmp_path)
    assert starts_pretrained("vit_t", None, tmp_path / "empty")  # and is refused later, with what brings the weights


def test_a_checkpoint_of_another_size_is_tuned_by_its_own_recipe(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "nano.pth", build_network(network_config("nano", 64)), {})

    assert not starts_pretrained(None, tmp_path / "nano.pth", tmp_path)


def test_a_few_shot_list_is_few_whatever_the_training_list_holds(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps([{}] * (FEW_IMAGES + 1)))

    assert has_few_images([tmp_path], "train.json", 64)
    assert not has_few_images([tmp_path], "train.json", None)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_named_recipe_is_a_whole_recipe_that_a_file_may_change(name: str) -> None:
    changed = named_recipe(name, TrainingRecipe(seed=5))

    assert changed.seed == 5
    assert changed.model_copy(update={"seed": NAMED[name].seed}) == NAMED[name]
