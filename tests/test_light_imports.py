"""What a package must not pull in, seen from a fresh interpreter (import-linter holds the rules file by file)."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTS = {
    "f2pnet": {"torch", "zmq", "redis", "onnxruntime"},
    "f2pnet.cli": {"torch", "zmq", "redis", "onnxruntime", "cv2", "numpy"},
    "pipeline.workers.assembly": {"torch", "onnxruntime", "av"},
    "pipeline.status.stored": {"torch", "onnxruntime", "av", "cv2", "numpy", "zmq", "pipeline.supervision"},
    "pipeline.status.summary": {"torch", "onnxruntime", "av", "zmq", "redis", "pipeline.supervision"},
    "pipeline.commands.status": {"torch", "onnxruntime", "av", "cv2", "zmq", "pipeline.supervision"},
    "pipeline.commands.run": {"torch", "onnxruntime", "av"},
    "models": {"cv2", "zmq", "redis", "pydantic"},
}


@pytest.mark.parametrize("module", IMPORTS)
def test_importing_a_package_brings_in_no_more_than_it_needs(module: str) -> None:
    script = f"import sys, {module}; print(sorted({IMPORTS[module]!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
