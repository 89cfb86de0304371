from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from f2pnet.errors import ConfigError, MissingResource
from models.files.checkpoint import load_checkpoint
from training.loop.data import load_data
from training.loop.journal import read_journal
from training.loop.loop import backward, new_run, train
from training.recipe import TrainingRecipe
from training.steps.batches import draw_batch, step_generator
from training.steps.step import StepLosses


def test_twenty_steps_lower_the_loss_and_leave_what_the_contract_names(
    tiny_recipe: TrainingRecipe, tmp_path: Path
) -> None:
    best = train(tiny_recipe, load_data(tiny_recipe), tmp_path / "exp")

    lines = [line for line in read_journal(tmp_path / "exp/log.jsonl") if line["kind"] == "step"]
    losses = [line["mask"] + line["pixel"] + line["image"] for line in lines]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    network, facts = load_checkpoint(best)
    assert network.config.sam_type == "nano"
    assert facts["images_seen"] in (40, 80)
    names = {path.name for path in (tmp_path / "exp").iterdir()}
    assert {
        "best.pth",
        "last.pth",
        "metrics.json",
        "log.jsonl",
        "curves.png",
        "worst-spots.png",
        "best-spots.png",
        "tensorboard",
    } <= names
    assert json.loads((tmp_path / "exp/metrics.json").read_text()) == facts


def test_a_run_that_was_cut_resumes_to_the_same_weights(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def cut_at_13(step: int, _: dict[str, Any]) -> None:
        if step == 13:
            raise Cut

    data = load_data(tiny_recipe)
    train(tiny_recipe, data, tmp_path / "whole")
    with pytest.raises(Cut):
        train(tiny_recipe, data, tmp_path / "cut", report=cut_at_13)
    train(tiny_recipe, data, tmp_path / "cut", resume=True)

    whole, resumed = (torch.load(tmp_path / name / "last.pth", weights_only=True) for name in ("whole", "cut"))
    for part in ("network", "averaged"):
        assert whole[part].keys() == resumed[part].keys()
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), name
    steps = [line["step"] for line in read_journal(tmp_path / "cut/log.jsonl") if line["kind"] == "step"]
    assert steps == list(range(1, 21))


def test_a_run_ends_where_the_recipe_stops_it(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    stopped = tiny_recipe.model_copy(update={"stop_after": 3})
    train(stopped, load_data(stopped), tmp_path / "exp")
    assert [line["step"] for line in read_journal(tmp_path / "exp/log.jsonl")] == [1, 2, 3, 3]


def test_a_run_ends_early_when_validation_does_not_get_better(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    # A learning rate of nearly nothing: no validation can be better than the first.
    still = {"evaluate_every": 2, "patience": 2, "learning_rate": 1e-12, "final_learning_rate": 0.0, "steps": 40}
    recipe = tiny_recipe.model_copy(update={**still, "warmup_steps": 0, "ema_decay": 0.0, "batch": 2})
    data = load_data(recipe)
    run = train(recipe, data, tmp_path / "exp").with_name("last.pth")
    stopped_at = torch.load(run, weights_only=True)["step"]
    assert stopped_at < 40
    train(recipe, data, tmp_path / "exp", resume=True)
    assert torch.load(run, weights_only=True)["step"] == stopped_at


def test_parts_of_a_batch_give_the_gradients_of_the_whole(tiny_recipe: TrainingRecipe) -> None:
    recipe = tiny_recipe.model_copy(update={"prompted_share": 1.0, "batch": 5})
    data = load_data(recipe)
    rng = step_generator(recipe.seed, 0, 0)
    batch = draw_batch(data.training, data.chances, recipe.batch, recipe.augmentation, rng)
    gradients = []
    for parts in ([slice(0, 5)], [slice(0, 2), slice(2, 5)]):
        network = new_run(recipe).network.eval()  # batch norm would see other images in the parts
        terms = backward(StepLosses(network, recipe, torch.device("cpu")), batch, recipe, 0, parts, 1)  # type: ignore[arg-type]
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
        assert "prompted" in terms
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, summed, atol=1e-5, rtol=1e-3)


def test_a_run_starts_from_the_weights_of_an_earlier_one(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    first = tiny_recipe.model_copy(update={"steps": 2, "warmup_steps": 1})
    best = train(first, load_data(first), tmp_path / "first")
    second = new_run(tiny_recipe.model_copy(update={"start_from": best, "seed": 1}))
    network, _ = load_checkpoint(best)
    for name, value in network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_there_is_nothing_to_resume_in_a_new_folder(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"no .*last\.pth"):
        train(tiny_recipe, load_data(tiny_recipe), tmp_path / "new", resume=True)


def test_a_run_is_not_resumed_with_another_recipe(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    short = tiny_recipe.model_copy(update={"steps": 2, "warmup_steps": 1})
    data = load_data(short)
    train(short, data, tmp_path / "exp")
    with pytest.raises(ConfigError, match="another recipe"):
        train(tiny_recipe, data, tmp_path / "exp", resume=True)


def test_a_damaged_state_is_told_as_such(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/last.pth").write_bytes(b"not a state")
    with pytest.raises(ConfigError, match="damaged"):
        train(tiny_recipe, load_data(tiny_recipe), tmp_path / "exp", resume=True)
