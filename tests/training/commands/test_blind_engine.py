"""A network that finds nothing: training, test and export say so, and end without success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from f2pnet.cli import app
from models.configuration import network_config
from models.f2pnet import build_network
from models.files.checkpoint import save_checkpoint
from tests.training.conftest import write_spots

SHORT = {"image_size": 64, "steps": 2, "batch": 2, "warmup_steps": 1, "evaluate_every": 2, "learning_rate": 1e-9}
METRICS = {"dataset": "spots", "split": "validation", "protocol": "auto", "images": 40, "defective": 20}


def f2p(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def blind_checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    facts = {
        "thresholds": {"pixel": 0.99, "score": 0.99},
        "metrics": [{**METRICS, "values": {"frame_recall": 0.05, "image_auroc": 0.5}}],
    }
    save_checkpoint(tmp_path / "blind.pth", build_network(network_config("nano", 64)), facts)
    return tmp_path / "blind.pth"


def test_training_says_so_and_ends_with_exit_code_1(tmp_path: Path) -> None:
    write_spots(tmp_path / "spots", count=80)
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(SHORT))
    words = ["--dataset", tmp_path / "spots", "--config", tmp_path / "short.yaml", "--exp-dir", tmp_path / "exp"]
    done = f2p("train", *words)
    facts = json.loads((tmp_path / "exp/spots_nano_fullshot/metrics.json").read_text())
    (sheet,) = facts["metrics"]
    assert sheet["defective"] >= 4
    assert sheet["values"]["frame_recall"] <= 0.1, "an untrained network is blind"
    assert done.exit_code == 1
    assert "BLIND: " in done.stderr
    assert f"of {sheet['defective']} defective images of spots" in done.stderr
    assert "pretrained" in done.stderr
    assert "step 2, validation: spots: IoU" in done.stderr


def test_test_says_so_and_writes_its_sheets_all_the_same(blind_checkpoint: Path, tmp_path: Path) -> None:
    spots = write_spots(tmp_path / "spots")
    words = ["--dataset", spots, "--test-list", "train.json", "--ckpt-path", blind_checkpoint]
    done = f2p("test", *words, "--json", tmp_path / "sheets.json", "--page", tmp_path / "page.html")
    assert done.exit_code == 1
    assert "BLIND: none of 8 defective images of spots (train.json) would be rejected" in done.stderr
    assert json.loads((tmp_path / "sheets.json").read_text())[0]["defective"] == 8
    assert "none of 8 defective images" in (tmp_path / "page.html").read_text()


def test_a_trivial_baseline_that_finds_nothing_is_no_engine(tmp_path: Path) -> None:
    spots = write_spots(tmp_path / "spots")
    assert f2p("test", "--dataset", spots, "--test-list", "train.json", "--trivial", "nothing").exit_code == 0


def test_export_refuses_a_blind_engine_and_names_the_way_around(blind_checkpoint: Path, tmp_path: Path) -> None:
    done = f2p("export", blind_checkpoint, "--out", tmp_path / "engine")
    assert done.exit_code == 1
    assert "only 1 of 20 defective images of spots" in done.stderr
    assert "--force" in done.stderr
    assert not (tmp_path / "engine").exists()
