"""`make gpu-check` on a machine without a GPU, and what it writes where steps failed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from f2pnet.backends.cuda_driver import probe
from f2pnet.errors import MissingResource

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/gpu_check.py"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so_in_one_line_and_exits_3() -> None:
    try:
        probe()
    except MissingResource:
        pass
    else:
        pytest.skip("this machine has a GPU")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_step_that_crashed_is_told_by_its_code_and_last_line(check: ModuleType) -> None:
    assert check.answer_of("", "one\nSegmentation fault\n", -11) == {
        "state": "failed",
        "why": "ended with code -11: Segmentation fault",
    }


def test_the_page_has_a_line_for_each_step_and_each_rate(check: ModuleType) -> None:
    rates = {"8": {"p50_ms": 2.0, "p99_ms": 3.0, "images_per_s": 4000.0, "overlapped_images_per_s": 5000.0}}
    steps = {name: {"state": "skipped", "why": "not here"} for name in check.STEPS}
    steps["peak"] = {"state": "done", "facts": {"fp16_tflops": 100.0}}
    steps["torch"] = {"state": "done", "facts": {"flop_per_image": 2e9}}
    steps["tensorrt"] = {"state": "done", "facts": {"tensorrt fp16": rates}}
    driver = {"gpu_name": "NVIDIA L4", "cuda_version": "13.0", "compute_capability": "8.9"}
    facts = {"driver": driver, "made": "2026-01-02T03:04", "packages": {}, "python": "3", "cores": 2, "steps": steps}

    lines = check.page(facts).splitlines()

    assert "| build int8 | skipped | not here |" in lines
    assert "| tensorrt fp16 | 8 | 2.00 | 3.00 | 4000 | 5000 | 10.0% |" in lines
