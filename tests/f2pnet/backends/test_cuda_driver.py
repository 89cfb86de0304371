"""A machine without a working driver gets one line, never a crash."""

# ruff: noqa: N802 - the fake has the names of the driver's functions

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from f2pnet.backends.cuda_driver import DriverFacts, probe
from f2pnet.errors import ExitCode, MissingResource


class FakeDriver:
    """Answers as libcuda does, with the code that a test wants."""

    def __init__(self, init: int = 0, gpus: int = 1) -> None:
        self.init, self.gpus = init, gpus

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.gpus
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13010
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = b"NVIDIA Test"
        return 0

    def cuDeviceGetAttribute(self, value: Any, number: int, device: Any) -> int:
        value._obj.value = {75: 9, 76: 0}[number]
        return 0

    def cuGetErrorName(self, code: int, text: Any) -> int:
        text._obj.value = b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        return 0


def test_a_machine_without_the_drivers_library_is_told_so_in_one_line() -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(MissingResource, match=r"no NVIDIA driver here \(libcuda") as caught:
        probe(absent)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.MISSING


def test_a_driver_that_does_not_start_is_named_with_its_own_error() -> None:
    with pytest.raises(MissingResource, match=r"cuInit with error 803 \(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\)"):
        probe(lambda name: FakeDriver(init=803))


def test_a_driver_without_a_gpu_is_named() -> None:
    with pytest.raises(MissingResource, match="sees no GPU"):
        probe(lambda name: FakeDriver(gpus=0))


def test_the_first_gpu_is_described() -> None:
    assert probe(lambda name: FakeDriver()) == DriverFacts("13.1", "NVIDIA Test", "9.0")
