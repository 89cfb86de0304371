"""Starts and torments the RTSP test camera (`rtsp_server.py`), and reads what its pictures say."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pytest

SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's GStreamer bindings belong to the system's own Python
SERVER = Path(__file__).with_name("rtsp_server.py")
BITS = 16
START_TIMEOUT_S = 15


def need_gstreamer() -> None:
    """Skip the test, or fail it in CI, where GStreamer's RTSP server is not installed."""
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        found = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, timeout=30).returncode == 0
    except FileNotFoundError:
        found = False
    if not found:
        reason = "needs GStreamer's RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi (and plug-ins)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


class RtspCamera:
    """A camera in a process of its own. `user` and `password`: it wants to be asked politely."""

    def __init__(
        self,
        *,
        width: int = 320,
        height: int = 240,
        fps: int = 30,
        port: int = 0,
        codec: Literal["h264", "h265"] = "h264",
        user: str | None = None,
        password: str = "",
    ) -> None:
        login = [user, password] if user else []
        self._command = [SYSTEM_PYTHON, str(SERVER), str(width), str(height), str(fps), str(port), codec, *login]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        if not ready:
            self.kill()
            raise TimeoutError(f"the RTSP test server did not start within {START_TIMEOUT_S} s")
        self.port = int(self._process.stdout.readline().split()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def address(self) -> str:
        """HOST:PORT/PATH"""
        return f"127.0.0.1:{self.port}/cam"

    def hang(self) -> None:
        """The camera stays connected and says nothing more."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """The camera goes away."""
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def number_shown(image: npt.NDArray[np.uint8]) -> int:
    """The number of the frame, from its upper stripes."""
    return _stripes(image, image.shape[0] // 4)


def sent_ms_shown(image: npt.NDArray[np.uint8]) -> int:
    """When the frame was sent, in ms modulo 2^16, from its lower stripes."""
    return _stripes(image, image.shape[0] * 3 // 4)


def _stripes(image: npt.NDArray[np.uint8], row: int) -> int:
    bright = image[row].reshape(image.shape[1], -1).mean(1) > 128
    middles = ((np.arange(BITS) + 0.5) * image.shape[1] / BITS).astype(int)
    return int("".join("1" if bright[x] else "0" for x in middles), 2)
