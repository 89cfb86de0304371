"""Fixtures for the network's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def images() -> torch.Tensor:
    """(2, 3, 128, 128) RGB 0..255"""
    return torch.rand(2, 3, 128, 128) * 255


@pytest.fixture
def segment_anything(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports modules of SAM's own package by name, past its front door, which needs torchvision."""
    spec = find_spec("segment_anything")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("needs the package segment-anything")
    package = ModuleType("segment_anything")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "segment_anything", package)
    return import_module
