"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# A runner in the background ignores Ctrl-C, and what it starts would inherit that: tests press Ctrl-C on real commands.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference data beside the project (images, golden outputs); absent on most machines."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI runs with reference data in {folder}, and it is not there")
        pytest.skip("needs the reference data folder ../shared")
    return folder
