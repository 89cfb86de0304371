"""The two packages that offer TensorRT's API: `tensorrt`, and `tensorrt_rtx`, which also builds without a GPU."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Literal, get_args

from f2pnet.errors import MissingResource

Flavour = Literal["tensorrt", "tensorrt_rtx"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)

INSTALL = {
    "tensorrt": "pip install --extra-index-url https://pypi.nvidia.com 'f2pnet[trt]'",
    "tensorrt_rtx": "pip install 'f2pnet[trt-rtx]'",
}


def import_flavour(flavour: Flavour) -> ModuleType:
    """The module of that name. Raises MissingResource with the command that installs it."""
    try:
        return importlib.import_module(flavour)
    except ImportError as error:
        raise MissingResource(f"{flavour} can't be imported ({error}): {INSTALL[flavour]}") from error


def first_installed() -> Flavour:
    """`tensorrt` where it is there, as it is the faster one on its GPUs; else `tensorrt_rtx`.

    Raises MissingResource where neither is installed.
    """
    for flavour in FLAVOURS:
        try:
            import_flavour(flavour)
        except MissingResource:
            continue
        return flavour
    raise MissingResource(f"TensorRT engines need one of its packages: {INSTALL['tensorrt_rtx']}")
