"""`make gpu-quick`, rehearsed without a GPU: what each part needs, what is missing, and what its steps are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_check, gpu_quick
from f2pnet.backends.cuda_driver import probe
from f2pnet.errors import MissingResource
from tests.f2pnet.backends.fake_cuda import compile_fake_cuda

SCRIPT = Path(gpu_quick.__file__)


@pytest.fixture(autouse=True)
def _no_gpu() -> None:
    try:
        probe()
    except MissingResource:
        return
    pytest.skip("this machine has a GPU")


@pytest.mark.parametrize("part", gpu_quick.PARTS)
def test_a_part_without_a_gpu_says_so_and_names_the_files_that_are_missing(part: int, tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--part", str(part), "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 3
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"gpu-quick {part}: no GPU: ")
    wanted = [path for portion in gpu_quick.PARTS[part].portions for path in portion]
    for path in wanted:
        assert (str(path.relative_to(gpu_quick.REPOSITORY)) in told) != path.exists()
    assert "repository " in done.stdout
    assert "does NOT fit" not in done.stdout
    assert not any(tmp_path.iterdir())


def test_every_step_of_every_part_exists() -> None:
    known = {*gpu_quick.STEPS, *gpu_check.STEPS}

    assert {step for part in gpu_quick.PARTS.values() for step in part.steps} <= known


def test_a_portion_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_quick, "REPOSITORY", tmp_path)
    monkeypatch.setattr(gpu_quick, "tracked", list)
    large = tmp_path / "large"
    large.write_bytes(b"")
    os.truncate(large, 65 << 20)

    assert any("does NOT fit" in line for line in gpu_quick.needs(gpu_quick.Part([], [[large]])))


def test_archives_in_pieces_come_together_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_quick, "KITS", tmp_path)
    content = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole/library.so").write_bytes(content)
    pieces = [tmp_path / "rtx.tar.xz.0", tmp_path / "rtx.tar.xz.1"]
    gpu_quick._split(tmp_path / "whole", pieces)
    gpu_quick._unpack(pieces)

    assert all(piece.stat().st_size < 60_000 for piece in pieces)
    assert (tmp_path / "rtx/library.so").read_bytes() == content


def test_a_data_set_goes_through_one_array_file(tmp_path: Path) -> None:
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/train.json").write_text("[]")
    (tmp_path / "set/images/a.png").write_bytes(b"\x89PNG")
    archive = gpu_quick.pack_training(tmp_path / "set", tmp_path / "kits/training.npz")
    out = gpu_quick.unpack_training(archive, tmp_path / "out")

    assert (out / "train.json").read_text() == "[]"
    assert (out / "images/a.png").read_bytes() == b"\x89PNG"


def test_the_driver_step_runs_on_the_fake_driver(tmp_path: Path) -> None:
    library = compile_fake_cuda(tmp_path)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    command = [sys.executable, SCRIPT, "--part", "1", "--out", tmp_path, "--step", "driver"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert '"plain_exact": true' in done.stdout
    assert '"graph_exact": true' in done.stdout
