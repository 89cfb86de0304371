"""Two real processes on CPUs, started as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from f2pnet.errors import ConfigError, MissingResource
from training.loop.journal import read_journal
from training.loop.processes import Processes, find_device
from training.recipe import TrainingRecipe

REPOSITORY = Path(__file__).resolve().parents[3]
RUN = """
import sys
import torch
torch.set_num_threads(1)
from models.configuration import SIZES
SIZES["nano"]["cnn_norm"] = "group"
from pathlib import Path
from training.loop.data import load_data
from training.loop.loop import train
from training.loop.processes import joined
from training.recipe import TrainingRecipe
recipe = TrainingRecipe.model_validate_json(sys.argv[1])
with joined(recipe.device) as processes:
    train(recipe, load_data(recipe), Path(sys.argv[2]), processes=processes)
"""


def run(recipe: TrainingRecipe, folder: Path, count: int) -> dict[str, torch.Tensor]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    command = [sys.executable, "-c", RUN, recipe.model_dump_json(), str(folder)]
    started = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | meeting | {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
        )
        for rank in range(count)
    ]
    try:
        assert [process.wait(100) for process in started] == [0] * count
    finally:
        for process in started:
            process.kill()
            process.wait(10)
    return torch.load(folder / "last.pth", weights_only=True)["network"]  # type: ignore[no-any-return]


def steps_of(log: Path) -> list[dict[str, Any]]:
    return [line for line in read_journal(log) if line["kind"] == "step"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_processes_train_to_the_weights_of_one(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    # With group norm: on CPUs batch norm sees the images of its own process alone.
    recipe = tiny_recipe.model_copy(
        update={"steps": 4, "batch": 5, "prompted_share": 0.5, "warmup_steps": 1, "device": "cpu", "evaluate_every": 4}
    )
    one = run(recipe, tmp_path / "one", 1)
    two = run(recipe.model_copy(update={"accumulate": 2}), tmp_path / "two", 2)
    assert one.keys() == two.keys()
    for name, value in one.items():
        # A key's bias has no true gradient: what it gets is rounding, which Adam makes as large as any other step.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(two[name], value, atol=3e-4, rtol=1e-3, msg=name)
    losses = [[line["mask"] for line in steps_of(tmp_path / name / "log.jsonl")] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert len(losses[0]) == 4


def test_every_image_of_a_step_has_one_taker() -> None:
    recipe = TrainingRecipe(batch=7, accumulate=2)
    cpu = torch.device("cpu")
    parts = [part for rank in range(3) for part in Processes(cpu, rank, 3).own_parts(recipe)]
    assert sorted(image for part in parts for image in range(7)[part]) == list(range(7))


def test_a_batch_too_small_to_divide_is_told() -> None:
    with pytest.raises(ConfigError, match="batch is 2, wanted at least 3"):
        Processes(torch.device("cpu"), 0, 3).own_parts(TrainingRecipe(batch=2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told() -> None:
    assert find_device("auto").type == "cpu"
    with pytest.raises(MissingResource, match="device is 'cuda'"):
        find_device("cuda")
