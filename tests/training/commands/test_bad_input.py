"""What a user may have wrong is told before training starts, all at once, by the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.conftest import write_spots


def f2p(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "f2pnet.cli", *words], capture_output=True, text=True, timeout=120, check=False
    )


def train(data_dir: Path, *names: str) -> subprocess.CompletedProcess[str]:
    sets = [word for name in names for word in ("--dataset", name)]
    return f2p("train", *sets, "--data-dir", str(data_dir), "--exp-dir", str(data_dir / "exp"))


def test_every_kind_of_bad_record_is_told_at_once(tmp_path: Path) -> None:
    spots = write_spots(tmp_path / "spots")
    cv2.imwrite(str(spots / "masks/1.png"), np.full((9, 9), 255, np.uint8))
    (spots / "images/2.png").write_bytes(b"not a picture")
    cv2.imwrite(str(spots / "masks/3.png"), np.zeros((64, 64), np.uint8))
    (spots / "images/5.png").unlink()
    entries = json.loads((spots / "train.json").read_text())
    entries[8]["id"] = "9"
    (spots / "train.json").write_text(json.dumps(entries))

    done = train(tmp_path, "spots")

    assert done.returncode == 2, done.stderr
    for told in (
        "mask of another size than its image: 1",
        "damaged, or not one picture of a kind that is read: 2 (",
        "its mask is empty: 3",
        "id stands more than once in a list: 9",
    ):
        assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "exp").rglob("*") if path.is_file()]


@pytest.mark.parametrize(("kept", "told"), [([], "empty list"), ([0, 2, 4, 6, 8, 10, 12, 14], "no defective image")])
def test_a_list_that_teaches_nothing_is_refused(tmp_path: Path, kept: list[int], told: str) -> None:
    spots = write_spots(tmp_path / "spots")
    entries = json.loads((spots / "train.json").read_text())
    (spots / "train.json").write_text(json.dumps([entries[n] for n in kept]))
    done = train(tmp_path, "spots")
    assert done.returncode == 2
    assert told in done.stderr


def test_two_data_sets_that_are_not_there_are_told_together_with_the_nearest_names(tmp_path: Path) -> None:
    write_spots(tmp_path / "spots")
    done = train(tmp_path, "spotz", "NEU_Sge")
    assert done.returncode == 2
    assert "did you mean 'spots'?" in done.stderr
    assert "did you mean 'NEU_Seg'?" in done.stderr


def test_index_and_few_shot_lists_come_from_the_command_line(tmp_path: Path) -> None:
    from tests.training.layouts import drawn

    drawn.kolektor_sdd2(tmp_path / "source")
    done = f2p("data", "index", str(tmp_path / "source"), "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"train": {"good": 3, "defect": 3}, "test": {"good": 2, "defect": 1}}
    assert list(json.loads((tmp_path / "out/few_shot.json").read_text())) == ["1"]
    again = f2p("data", "few-shot", str(tmp_path / "out"))
    assert again.returncode == 2
    assert "--out-list" in again.stderr
