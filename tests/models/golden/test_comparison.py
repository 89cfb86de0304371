from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.golden.__main__ import kind_of, main
from models.golden.comparison import relative_error, sample, statistics


def test_the_sample_starts_half_a_stride_in() -> None:
    values = np.arange(24).reshape(4, 6)

    assert sample(values, np.array([1, 3])).tolist() == [[1, 4], [7, 10], [13, 16], [19, 22]]


def test_statistics_are_mean_deviation_minimum_and_maximum() -> None:
    assert statistics(np.array([1.0, 3.0], dtype=np.float32)).tolist() == [2, 1, 1, 3]


@pytest.mark.parametrize(
    ("ours", "expected", "error"),
    [([3.0, 4.0], [3.0, 4.0], 0), ([3.0, 4.5], [3.0, 4.0], 0.1), ([0.0], [0.0], 0), ([1.0], [0.0], math.inf),
     ([math.nan], [1.0], math.inf)],
)  # fmt: skip
def test_relative_error_is_that_of_the_norm(ours: list[float], expected: list[float], error: float) -> None:
    assert relative_error(np.array(ours), np.array(expected)) == pytest.approx(error)


def test_kinds_forget_picture_and_case() -> None:
    assert kind_of("A__box__sparse__stats") == "sparse stats"
    assert kind_of("hq_feature") == "hq_feature"


def test_a_folder_without_golden_files_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2

    assert "needs cases.json" in capsys.readouterr().err


def test_a_file_of_an_unknown_network_fails_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cases.json").write_text('{"salt": "s", "images": []}')
    np.savez(tmp_path / "f2p_vit_x.npz", A__crc=np.uint32(1))

    assert main([str(tmp_path)]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert "names no network" in lines[1]
    assert lines[-1] == "worst relative error inf"


@pytest.fixture
def one_picture(shared_dir: Path, tmp_path: Path) -> Path:
    """A golden folder with picture A of the vit_b file, its cases without a prompt and with a box."""
    shutil.copy(shared_dir / "golden" / "cases.json", tmp_path)
    with np.load(shared_dir / "golden" / "f2p_vit_b_generalised.npz") as whole:
        kept = {name: whole[name] for name in whole.files if name.startswith(("hq_feature", "A__"))}
    cases = ("__point__", "__mask__", "__boxpoint__")
    np.savez(tmp_path / "f2p_vit_b.npz", **{n: v for n, v in kept.items() if not any(case in n for case in cases)})
    return tmp_path


@pytest.mark.timeout(300)
def test_a_small_golden_folder_agrees(one_picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole of vit_b at 1024 x 1024 in reference mode, encoder and decoder."""
    assert main([str(one_picture), "--threads", "1"]) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("worst relative error ")
    assert float(last.split()[-1]) < 2e-5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_weights_do_not_agree(one_picture: Path) -> None:
    cases = json.loads((one_picture / "cases.json").read_text())
    (one_picture / "cases.json").write_text(json.dumps(cases | {"salt": "another"}))

    assert main([str(one_picture), "--threads", "1"]) == 1
