"""The fake CUDA driver of fake_cuda.c, compiled: a `libcuda.so.1` that needs no GPU."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_cuda.c")


def compile_fake_cuda(folder: Path) -> Path:
    """`folder`/libcuda.so.1, for LD_LIBRARY_PATH or for ctypes."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-pthread", "-o", library, SOURCE], check=True, timeout=60)
    return library
