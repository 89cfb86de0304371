"""timm without torchvision, whose wheels do not fit the CPU build of torch that tests run on.

timm imports names of torchvision that its networks' own code never uses here; each becomes an empty class.
"""

from __future__ import annotations

import sys
from enum import Enum
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

MODULES = (
    "torchvision", "torchvision.datasets", "torchvision.models", "torchvision.models.feature_extraction",
    "torchvision.ops", "torchvision.ops.misc", "torchvision.transforms", "torchvision.transforms.functional",
    "torchvision.utils",
)  # fmt: skip
InterpolationMode = Enum("InterpolationMode", ["NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS"])


class _Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return InterpolationMode if name == "InterpolationMode" else type(name, (), {})


def import_timm() -> Any:
    """The package, or a skip where it is not installed (`make test` installs it)."""
    if find_spec("timm") is None:
        pytest.skip("needs the package timm: pip install --no-deps timm")
    if "timm" not in sys.modules and find_spec("torchvision") is None:
        modules = {name: _Empty(name) for name in MODULES}
        for name, module in modules.items():
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(modules[parent], child, module)
        sys.modules.update(modules)
        try:
            import timm
        finally:
            for name in modules:
                sys.modules.pop(name)
    import timm

    return timm
