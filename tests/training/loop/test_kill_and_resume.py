"""`f2p train`, killed in the middle and told to go on, against the same run left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
RECIPE = {
    "image_size": 64,
    "steps": 30,
    "batch": 4,
    "warmup_steps": 2,
    "evaluate_every": 12,
    "save_every": 3,
    "log_every": 1,
    "threads": 1,
    "device": "cpu",
}


def start(spots: Path, recipe: Path, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "f2pnet.cli", "train", "--dataset", str(spots), "--config", str(recipe)]
    return subprocess.Popen([*command, "--exp-dir", str(folder), *options], cwd=REPOSITORY)


def finished(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(90)
    finally:
        process.kill()
        process.wait(10)


def kill_after(process: subprocess.Popen[bytes], log: Path, steps: int) -> None:
    """SIGKILL, wherever the run just is, once its log names step `steps`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and f'"step": {steps},' in log.read_text():
            break
        time.sleep(0.02)
    process.kill()
    process.wait(10)
    assert f'"step": {steps},' in log.read_text()


def logged(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("elapsed_s", "images_per_s")} for line in lines]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_killed_twice_ends_with_the_weights_and_the_log_of_one_left_alone(spots: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    whole, cut = (tmp_path / name / "spots_nano_fullshot" for name in ("whole", "cut"))

    assert finished(start(spots, recipe, whole.parent)) == 0
    kill_after(start(spots, recipe, cut.parent), cut / "log.jsonl", 8)
    kill_after(start(spots, recipe, cut.parent, "--resume"), cut / "log.jsonl", 17)
    assert finished(start(spots, recipe, cut.parent, "--resume")) == 0

    states = [torch.load(folder / "last.pth", weights_only=True) for folder in (whole, cut)]
    for part in ("network", "averaged"):
        assert states[0][part].keys() == states[1][part].keys()
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name
    assert logged(cut / "log.jsonl") == logged(whole / "log.jsonl")
