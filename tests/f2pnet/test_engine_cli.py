"""`f2p engine`: a sound bundle is described and timed, a damaged or mad one is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from f2pnet.errors import ExitCode
from tests.toy_engine import write_toy_bundle


def f2p_engine(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "f2pnet.cli", "engine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "toy").folder


def test_verify_states_device_and_time(bundle: Path) -> None:
    done = f2p_engine("verify", str(bundle), "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["backend"], facts["device"]) == ("onnxruntime", "cpu")
    assert facts["median_ms"] > 0


def test_one_changed_byte_is_refused_in_one_line(bundle: Path) -> None:
    model = bundle / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    done = f2p_engine("verify", str(bundle))
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "model.onnx" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_engine_whose_answers_are_no_probabilities_is_refused(tmp_path: Path) -> None:
    mad = write_toy_bundle(tmp_path / "mad", poison=float("nan")).folder
    done = f2p_engine("verify", str(mad))
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "probabilities" in done.stderr


def test_info_shows_the_manifest(bundle: Path) -> None:
    assert json.loads(f2p_engine("info", str(bundle), "--json").stdout)["name"] == "toy"
    assert "thresholds" in f2p_engine("info", str(bundle)).stdout
