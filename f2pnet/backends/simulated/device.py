"""The clock of a simulated accelerator: batches take their turn in it, and nobody computes while they wait.

Until when the device is busy stands in a file that its processes map into memory. A batch that is handed in while
another one runs begins in the moment in which that one ends, as it does on a GPU, whatever its process does meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from f2pnet.errors import BackendError, DeviceLost

Fault = Literal["hang", "die", "nan"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
BUSY_BYTES = 8
HANG_STEP_S = 60.0


def fault_file(device_file: Path) -> Path:
    """Write `hang`, `die` or `nan` into this file, and the next batch takes the fault and removes the file."""
    return device_file.with_name(f"{device_file.name}.fault")


class SimulatedDevice:
    """One accelerator. `file` None: nobody else uses it."""

    def __init__(self, file: Path | None) -> None:
        self._fault_file = None if file is None else fault_file(file)
        try:
            if file is None:
                self._file = os.memfd_create("simulated-device", os.MFD_CLOEXEC)
            else:
                self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendError(f"simulated device {file} can't be opened: {error.strerror}") from error

    def submit(self, service_s: float) -> tuple[int, Fault | None]:
        """Hand a batch in: when it will be done, monotonic ns, and what goes wrong with it.

        Raises DeviceLost where the device dies with it.
        """
        fault = self._take_fault()
        if fault == "die":
            raise DeviceLost("simulated device: it died (CUDA error 719, as it were)")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            busy_until_ns = int.from_bytes(os.pread(self._file, BUSY_BYTES, 0), "little")
            done_ns = max(time.monotonic_ns(), busy_until_ns) + int(service_s * 1e9)
            os.pwrite(self._file, done_ns.to_bytes(BUSY_BYTES, "little"), 0)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return done_ns, fault

    @staticmethod
    def wait(done_ns: int, fault: Fault | None) -> None:
        """Until the batch is done; for ever when it hangs."""
        while fault == "hang":
            time.sleep(HANG_STEP_S)
        time.sleep(max(0, done_ns - time.monotonic_ns()) / 1e9)

    def close(self) -> None:
        os.close(self._file)

    def _take_fault(self) -> Fault | None:
        """The fault that somebody wrote down; each is taken by one batch of one process."""
        if self._fault_file is None:
            return None
        with suppress(OSError):
            taken = self._fault_file.with_name(f"{self._fault_file.name}.{os.getpid()}")  # only one process gets it
            self._fault_file.rename(taken)
            word = taken.read_text(encoding="utf-8").strip()
            taken.unlink()
            for fault in FAULTS:
                if word == fault:
                    return fault
        return None


def order_fault(device_file: Path, fault: Fault) -> None:
    """Have the next batch of the device go wrong."""
    file = fault_file(device_file)
    part = file.with_name(f"{file.name}.part")
    part.write_text(fault, encoding="utf-8")
    part.rename(file)
