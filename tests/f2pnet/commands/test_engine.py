"""`f2p engine`: a sound bundle is described and timed, a damaged or mad one is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from f2pnet.backends.cuda_driver import probe
from f2pnet.errors import ExitCode, MissingResource
from tests.toy_engine import write_toy_bundle


def f2p_engine(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "f2pnet.cli", "engine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def driver_is_here() -> bool:
    try:
        probe()
    except MissingResource:
        return False
    return True


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "toy").folder


def test_verify_states_device_and_time(bundle: Path) -> None:
    done = f2p_engine("verify", str(bundle), "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    (model,) = json.loads(done.stdout)["files"]
    assert (model["backend"], model["device"], model["error"]) == ("onnxruntime", "cpu", None)
    assert model["median_ms"] > 0


def test_one_changed_byte_is_refused_in_one_line(bundle: Path) -> None:
    model = bundle / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    done = f2p_engine("verify", str(bundle))
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "model.onnx" in done.stderr
    assert not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_engine_whose_answers_are_no_probabilities_is_refused(tmp_path: Path) -> None:
    mad = write_toy_bundle(tmp_path / "mad", poison=float("nan")).folder
    done = f2p_engine("verify", str(mad))
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "probabilities" in done.stderr


def test_info_shows_the_manifest(bundle: Path) -> None:
    assert json.loads(f2p_engine("info", str(bundle), "--json").stdout)["name"] == "toy"
    assert "thresholds" in f2p_engine("info", str(bundle)).stdout


def with_gpu_engine(bundle: Path) -> None:
    """Beside the ONNX file, an engine that only a GPU runs."""
    (bundle / "model.engine").write_bytes(b"for a GPU")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["artifacts"].append(
        {
            "file": "model.engine",
            "format": "tensorrt",
            "precision": "fp16",
            "sha256": hashlib.sha256(b"for a GPU").hexdigest(),
            "max_batch": 4,
            "built_with": {"tensorrt_rtx": "1.7.1"},
        }
    )
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.skipif(driver_is_here(), reason="a GPU is here; what is missing without one can't be seen")
def test_without_a_driver_verify_says_so_in_one_line_and_the_rest_still_runs(bundle: Path) -> None:
    with_gpu_engine(bundle)
    done = f2p_engine("verify", str(bundle))
    assert done.returncode == ExitCode.OK, done.stderr
    _, onnx, tensorrt = done.stdout.strip().splitlines()
    assert "model.onnx (fp32, onnxruntime): runs on cpu" in onnx
    assert "model.engine (fp16, tensorrt): not here: no NVIDIA driver here" in tensorrt


@pytest.mark.skipif(driver_is_here(), reason="a GPU is here; what is missing without one can't be seen")
def test_a_backend_that_is_asked_for_and_not_here_is_missing(bundle: Path) -> None:
    with_gpu_engine(bundle)
    done = f2p_engine("verify", str(bundle), "--backend", "tensorrt")
    assert done.returncode == ExitCode.MISSING
    assert "no NVIDIA driver here" in done.stderr


def test_a_format_that_the_bundle_lacks_is_named_with_the_cure(bundle: Path) -> None:
    done = f2p_engine("verify", str(bundle), "--backend", "openvino")
    assert done.returncode == ExitCode.MISSING
    assert "only fp32 onnx" in done.stderr
    assert "f2p export --format" in done.stderr
