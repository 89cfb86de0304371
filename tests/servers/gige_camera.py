"""A GigE Vision camera on loopback: the fake one of Aravis, a real device to everybody who speaks the protocol."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from types import TracebackType
from typing import Self

import pytest

from pipeline.sources.genicam.aravis_library import cameras_found

PROGRAM = "arv-fake-gv-camera-0.8"
START_TIMEOUT_S = 15


def need_aravis() -> None:
    """Skip the test, or fail it in CI, where Aravis is not installed."""
    if shutil.which(PROGRAM) is None:
        reason = "needs Aravis' fake camera: apt-get install aravis-tools"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


class GigeCamera:
    """512x512 Mono8 at 25 frames per second; `lost_per_mille` of its packets never arrive. One at a time."""

    def __init__(self, serial: str = "F2P-1", lost_per_mille: int = 0) -> None:
        self.serial = serial
        self._command = [PROGRAM, "-i", "127.0.0.1", "-s", serial]
        if lost_per_mille:
            self._command += ["-r", str(lost_per_mille)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + START_TIMEOUT_S
        while not any(serial == self.serial for _, serial, _ in cameras_found()):
            if time.monotonic() > until_s or self._process.poll() is not None:
                self.kill()
                raise TimeoutError(f"the GigE test camera is not found within {START_TIMEOUT_S} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def hang(self) -> None:
        """It answers nothing more."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)
