"""`make gpu-check` on a machine without a GPU, and what it writes where steps failed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from f2pnet.backends.cuda_driver import probe
from f2pnet.engine.bundle import open_bundle
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


def test_the_page_of_a_run_that_was_cut_short_has_what_was_measured(check: ModuleType) -> None:
    steps = {"peak": {"state": "done", "facts": {"fp16_tflops": 100.0}}}
    driver = {"gpu_name": "NVIDIA L4", "cuda_version": "13.0", "compute_capability": "8.9"}
    facts = {"driver": driver, "made": "2026-01-02T03:04", "packages": {}, "python": "3", "cores": 2, "steps": steps}

    assert "| peak | done |  |" in check.page(facts).splitlines()


def test_a_refused_engine_is_no_engine_to_measure(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tensorrt-fp16.refused").mkdir()
    (tmp_path / "tensorrt-fp32").mkdir()
    (tmp_path / "tensorrt-fp32/manifest.json").write_text("{}")

    assert check.built_engines(tmp_path) == [tmp_path / "tensorrt-fp32"]


def test_the_network_of_the_shipped_engine_can_be_built_in_torch(check: ModuleType) -> None:
    from models.configuration import network_config

    config = check.network_of(open_bundle(check.SHIPPED), network_config)

    assert (config.sam_type, config.image_size, config.num_classes) == ("nano", 256, 0)


def test_every_step_ends_before_a_lent_machine_does(check: ModuleType) -> None:
    assert check.STEP_LIMIT_S < 600


def test_the_tests_that_need_a_gpu_are_where_the_step_looks_for_them(check: ModuleType) -> None:
    tests = SCRIPT.parents[1] / "tests"
    marked = [path for path in tests.rglob("test_*.py") if re.search(r"mark\.gpu\b", path.read_text())]

    assert marked
    assert all(path.is_relative_to(check.GPU_TESTS) for path in marked if path != Path(__file__))
