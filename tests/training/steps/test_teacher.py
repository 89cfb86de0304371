"""A teacher's answers are those of its engine, at its own input size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.configuration import network_config
from models.decoders.afdec import Predictions
from models.f2pnet import build_network
from models.files.checkpoint import save_checkpoint
from training.loop.data import load_data
from training.loop.journal import read_journal
from training.loop.loop import train
from training.metrics.evaluate import network_predictor
from training.recipe import TrainingRecipe
from training.steps.teacher import Taught, Teacher, taught_loss


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "teacher.pth"
    save_checkpoint(path, build_network(network_config("nano", 96)).eval(), {})
    return path


def test_a_teacher_answers_as_its_engine_would(checkpoint: Path) -> None:
    torch.manual_seed(0)
    network = build_network(network_config("nano", 96)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)

    taught = Teacher(checkpoint, torch.device("cpu")).answers(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())

    wanted = network_predictor(network)(pixels)
    np.testing.assert_allclose(taught.mask[:, 0].numpy(), wanted["mask"], atol=1e-5)
    np.testing.assert_allclose(taught.score.numpy(), wanted["score"], atol=1e-5)


def test_the_loss_is_the_cross_entropy_with_the_teachers_probabilities() -> None:
    rng = np.random.default_rng(1)
    logits, wanted = rng.normal(0, 2, (2, 1, 4, 4)), rng.random((2, 1, 4, 4))
    score_logits, scores = rng.normal(0, 1, 2), rng.random(2)

    def cross_entropy(x: np.ndarray, p: np.ndarray) -> float:
        q = 1 / (1 + np.exp(-x))
        return float(-(p * np.log(q) + (1 - p) * np.log(1 - q)).mean())

    tensors = [torch.tensor(values, dtype=torch.float32) for values in (logits, wanted, score_logits, scores)]
    found = taught_loss(
        Predictions(tensors[0], tensors[0], tensors[2], None), Taught(tensors[1], tensors[1], tensors[3])
    )

    expected = 2 * cross_entropy(logits, wanted) + cross_entropy(score_logits, scores)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_run_with_a_teacher_logs_what_it_is_taught(
    tiny_recipe: TrainingRecipe, checkpoint: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe.model_copy(update={"teacher": checkpoint, "steps": 3, "evaluate_every": 3})

    train(recipe, load_data(recipe), tmp_path / "exp")

    steps = [line for line in read_journal(tmp_path / "exp/log.jsonl") if line["kind"] == "step"]
    assert all(line["taught"] > 0 for line in steps)
