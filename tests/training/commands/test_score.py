from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from export.commands.export import read_scores
from f2pnet.cli import app
from f2pnet.errors import ConfigError, MissingResource
from models.configuration import network_config
from models.f2pnet import build_network
from models.files.checkpoint import save_checkpoint
from training.commands.score import test as score
from training.score.names import TRIVIAL_NAMES

SIDE = 64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network: what it answers is measured all the same."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    save_checkpoint(path, build_network(network_config("nano", SIDE)), {"thresholds": {"pixel": 0.4}})
    return path


def test_each_protocol_stands_beside_its_figures(spots: Path, checkpoint: Path, tmp_path: Path) -> None:
    protocols = ["auto", "oracle-box", "oracle-point"]
    score(dataset=[str(spots)], ckpt_path=checkpoint, protocol=protocols, json_file=tmp_path / "sheets.json")

    sheets = json.loads((tmp_path / "sheets.json").read_text())
    assert [sheet["protocol"] for sheet in sheets] == protocols
    assert {(sheet["dataset"], sheet["split"], sheet["images"]) for sheet in sheets} == {("spots", "test.json", 4)}
    wanted = {"iou", "precision", "recall", "f1", "iou_per_image", "mean_iou", "boundary_iou", "pixel_ap", "PxR"}
    assert all(wanted <= set(sheet["values"]) for sheet in sheets)
    frames = {"image_auroc", "frame_recall", "escape_rate", "frame_precision", "false_reject_rate"}
    assert frames <= set(sheets[0]["values"])
    assert all(not frames & set(sheet["values"]) for sheet in sheets[1:])


def test_the_page_loads_nothing_and_shows_every_sheet(spots: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    score(dataset=[str(spots)], trivial=["nothing", "otsu"], page=page)
    text = page.read_text()
    assert text.count("<h2>") == 2
    assert text.count("<svg") == 4
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)


def test_trivial_baselines_are_scored_by_the_same_sheet(spots: Path, tmp_path: Path) -> None:
    score(dataset=[str(spots)], trivial=list(TRIVIAL_NAMES), json_file=tmp_path / "sheets.json")
    values = {
        sheet["model"].split()[1]: sheet["values"] for sheet in json.loads((tmp_path / "sheets.json").read_text())
    }
    assert values["nothing"]["escape_rate"] == 1
    assert values["twin"]["iou"] == 1  # the test images of this set are its first training images
    assert values["fill-box"]["iou"] == 1  # its defects are squares
    assert values["otsu"]["recall"] > 0.9  # and on good images it parts noise
    assert values["otsu-box"]["precision"] == 1


def test_an_engine_s_manifest_takes_the_figures(spots: Path, tmp_path: Path) -> None:
    score(dataset=[str(spots)], trivial=["nothing"], json_file=tmp_path / "sheets.json")
    (kept,) = read_scores(tmp_path / "sheets.json")
    assert (kept.dataset, kept.protocol, kept.values["recall"]) == ("spots", "auto", 0.0)


def test_what_to_score_is_named_once(spots: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ckpt-path"):
        score(dataset=[str(spots)])
    with pytest.raises(ConfigError, match="--trivial"):
        score(dataset=[str(spots)], ckpt_path=checkpoint, trivial=["nothing"])
    with pytest.raises(MissingResource, match=r"no\.pth"):
        score(dataset=[str(spots)], ckpt_path=tmp_path / "no.pth")


def test_names_that_do_not_exist_are_told_with_those_that_do(spots: Path) -> None:
    with pytest.raises(ConfigError, match="oracle-point"):
        score(dataset=[str(spots)], trivial=["nothing"], protocol=["oracle"])
    with pytest.raises(ConfigError, match="fill-box"):
        score(dataset=[str(spots)], trivial=["magic"])


def test_an_engine_takes_no_prompts(spots: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="engine does not take"):
        score(dataset=[str(spots)], engine=tmp_path, protocol=["oracle-box"])


def test_a_file_that_is_no_checkpoint_is_told_as_such(spots: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"bad\.pth"):
        score(dataset=[str(spots)], ckpt_path=tmp_path / "bad.pth")


def test_the_test_images_of_a_data_set_are_inspected_by_its_name_as_in_f2p_net(
    spots: Path, checkpoint: Path, tmp_path: Path
) -> None:
    for word in ("inspect", "inference"):
        words = [word, "--dataset", "spots", "--data-dir", str(spots.parent), "--ckpt-path", str(checkpoint)]
        done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / word), "--json"])
        assert done.exit_code == 0, done.output
        lines = [json.loads(line) for line in (tmp_path / word / "results.jsonl").read_text().splitlines()]
        listed = {str(spots / entry["image"]) for entry in json.loads((spots / "test.json").read_text())}
        assert {line["image"] for line in lines} == listed
        assert len(lines) == 4
