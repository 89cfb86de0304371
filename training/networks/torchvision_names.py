"""Names of torchvision, for libraries that import it and do not need it here.

timm and segmentation-models-pytorch import torchvision's modules when they are loaded. PyPI's torchvision is built for
one build of torch and cannot be loaded beside a CPU build, and neither the encoder nor the decoder of our baseline uses
a line of it (docs/adr/0015-torchvision-by-name-only.md). Where torchvision is installed and loads, it is used.
"""

from __future__ import annotations

import enum
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any

NAME = "torchvision"


class InterpolationMode(enum.Enum):
    """As torchvision.transforms has it; timm makes a table of it while it is loaded."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def stand_in_for_torchvision() -> None:
    """Let `import torchvision...` succeed in this process, with empty classes, unless the real one loads."""
    try:
        importlib.import_module(NAME)
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Finder())


class _Module(types.ModuleType):
    """Every capitalised name is an empty class, every other one a submodule or a function that must not be called."""

    __path__: list[str] = []  # noqa: RUF012 (a module's attribute, never changed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == InterpolationMode.__name__:
            return InterpolationMode
        if name[0].isupper():
            return type(name, (), {})
        return _unusable


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != NAME:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = _Module(spec.name)
        if spec.name == NAME:
            module.__version__ = "0"  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run: the names come from `_Module`."""


def _unusable(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("torchvision is not installed: this process stands in for its names alone")
