"""Whether an NVIDIA driver works here, asked of the driver itself.

TensorRT's runtime kills the process where there is none, so this is asked before it is imported. The driver's library
comes with the driver: neither torch nor a CUDA toolkit is needed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from f2pnet.errors import BackendError, DeviceLost, MissingResource

LIBRARY = "libcuda.so.1"

LOST = frozenset({214, 220, 226, 700, 702, 709, 710, *range(714, 720), 999})
"""Errors after which no call of this process succeeds any more: uncorrectable memory (214), NVLink (220), a contained
memory fault (226), an illegal address (700), a launch that took too long (702), a context that is gone (709), an
assertion (710), faults of an instruction, address or launch (714 to 719), and what the driver knows no name for (999).
"""

MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR in cuda.h
NAME_BYTES = 256


@dataclass(frozen=True)
class DriverFacts:
    """The driver and its first GPU."""

    cuda_version: str  # the newest CUDA that the driver serves, "13.0"
    gpu_name: str
    compute_capability: str  # "9.0"


def probe(load: Callable[[str], Any] = ctypes.CDLL) -> DriverFacts:
    """Start the driver and ask for its first GPU.

    Raises MissingResource with one line that says what is missing: the driver, a GPU, or a driver that starts.
    """
    try:
        driver = load(LIBRARY)
    except OSError as error:
        raise MissingResource(
            f"no NVIDIA driver here ({LIBRARY} is not installed): install the driver, in a container start it with "
            "--gpus all, or use a backend of the CPU"
        ) from error
    check(driver, "cuInit", 0)
    count, version, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    check(driver, "cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise MissingResource("the NVIDIA driver sees no GPU: look at `nvidia-smi` and CUDA_VISIBLE_DEVICES")
    check(driver, "cuDriverGetVersion", ctypes.byref(version))
    check(driver, "cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(NAME_BYTES)
    check(driver, "cuDeviceGetName", name, NAME_BYTES, device)
    capability = ".".join(str(_attribute(driver, number, device)) for number in (MAJOR, MINOR))
    return DriverFacts(f"{version.value // 1000}.{version.value % 1000 // 10}", name.value.decode(), capability)


@cache
def library() -> Any:
    """The driver's library, once `probe` has passed."""
    return ctypes.CDLL(LIBRARY)


def check(driver: Any, function: str, *arguments: Any) -> None:
    """Call a function of the driver. Raises MissingResource with the driver's own name for what went wrong."""
    if code := getattr(driver, function)(*arguments):
        raise MissingResource(
            f"{_described(driver, function, code)}: look at `nvidia-smi`; a driver that was updated needs a restart, a "
            "container its own --gpus all"
        )


def check_running(driver: Any, function: str, *arguments: Any) -> None:
    """Call a function of the driver while an engine runs. Raises DeviceLost where nothing heals, else BackendError."""
    if code := getattr(driver, function)(*arguments):
        text = _described(driver, function, code)
        if code in LOST:
            raise DeviceLost(f"{text}: this process can't use the GPU any more; look at `nvidia-smi` and `dmesg`")
        raise BackendError(f"{text}: look at `nvidia-smi`")


def _described(driver: Any, function: str, code: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(text))
    name = text.value.decode() if text.value else "unknown"
    return f"the NVIDIA driver answers {function} with error {code} ({name})"


def _attribute(driver: Any, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    check(driver, "cuDeviceGetAttribute", ctypes.byref(value), number, device)
    return value.value
