"""A line left alone for long, with cameras that go and come: `python -m tests.chaos.soak --minutes 60 --out DIR`.

Each minute one of three network cameras (RTSP, GigE Vision, MJPEG) goes away and comes back. Memory, open files,
threads and shared memory of all processes are sampled; at the end the ledger must balance and no stream have a gap.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.camera import FailingCamera
from tests.chaos.line import CampaignLine
from tests.chaos.soak_command import soak_command
from tests.servers.gige_camera import GigeCamera
from tests.servers.rtsp_camera import RtspCamera

SAMPLE_S = 10.0
RECONNECT_S = 60.0
AWAY_S = 3.0
STREAMS_KEPT = 5_000
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the rings lie


class Camera:
    """A camera that can be taken away and brought back."""

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make
        self._there = ExitStack()
        self.camera = self._there.enter_context(make())

    def leave(self) -> None:
        self._there.close()

    def come_back(self) -> None:
        self._there.enter_context(self._make())


def run(minutes: float, folder: Path) -> dict[str, Any]:
    """The soak; the report."""
    rtsp = Camera(lambda: RtspCamera(fps=15))
    port = rtsp.camera.port
    rtsp._make = lambda: RtspCamera(fps=15, port=port)
    gige = Camera(lambda: GigeCamera("SOAK-1"))
    with FailingCamera(15, seed=1) as mjpeg, ExitStack() as at_the_end:
        for camera in (rtsp, gige):
            at_the_end.callback(camera.leave)
        sources = {
            "rtsp": {"kind": "rtsp", "url": f"rtsp://127.0.0.1:{port}/cam", "timeout_s": 2.0},
            "gige": {"kind": "genicam", "serial": "SOAK-1", "timeout_s": 2.0},
            "mjpeg": {"kind": "mjpeg", "url": mjpeg.url, "timeout_s": 2.0},
        }
        cameras = [{"id": name, "source": source} for name, source in sources.items()]
        line = CampaignLine(folder, cameras, 1.0, kept=STREAMS_KEPT)  # the store's data must not hide a leak
        samples: list[dict[str, float]] = []
        turns = itertools.cycle(("rtsp", "gige", "mjpeg"))
        try:
            line.start()
            began_s = time.monotonic()
            next_turn_s = began_s + RECONNECT_S
            while (now_s := time.monotonic()) - began_s < 60 * minutes:
                if now_s >= next_turn_s:
                    next_turn_s += RECONNECT_S
                    _go_and_come(next(turns), rtsp, gige, mjpeg)
                samples.append({"s": round(now_s - began_s)} | _sample(line))
                time.sleep(SAMPLE_S)
            summary = line.end()
            verify = [sys.executable, "-m", "f2pnet.cli", "alerts", "verify", str(line.file)]
            verified = subprocess.run(verify, capture_output=True, text=True, timeout=300, check=False)
        finally:
            line.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count()},
        "minutes": minutes,
        "ledger_balanced": summary["exit_code"] == 0,
        "f2p_alerts_verify": verified.returncode == 0,
        "cameras": summary["cameras"],
        "latency_ms": summary["latency_ms"]["total"],
        "trend": {name: _trend([sample.get(name, 0) for sample in samples]) for name in samples[-1] if name != "s"},
        "samples": samples[:: max(1, len(samples) // 60)],
    }


def _go_and_come(name: str, rtsp: Camera, gige: Camera, mjpeg: FailingCamera) -> None:
    if name == "mjpeg":
        mjpeg.mood = "gone"
        time.sleep(AWAY_S)
        mjpeg.mood = "well"
        return
    camera = {"rtsp": rtsp, "gige": gige}[name]
    camera.leave()
    time.sleep(AWAY_S)
    camera.come_back()


def _sample(line: CampaignLine) -> dict[str, float]:
    """Memory (shared pages counted once), open files, threads and shared memory of all processes of the line."""
    memory_bytes = files = threads = 0
    by_name: dict[str, float] = {}
    for process in line.processes():
        try:
            own_bytes = process.memory_full_info().pss
            memory_bytes += own_bytes
            by_name[f"memory_mb of {_name(process)}"] = round(own_bytes / 2**20, 1)
            files += process.num_fds()
            threads += process.num_threads()
        except psutil.Error:
            continue
    shared_bytes = sum(path.stat().st_blocks * 512 for path in SHARED_MEMORY.glob("*.ring"))
    return {
        "memory_mb": round(memory_bytes / 2**20, 1),
        "files": files,
        "threads": threads,
        "shared_mb": round(shared_bytes / 2**20, 1),
        **by_name,
    }


def _name(process: psutil.Process) -> str:
    is_fork_server = "pipeline.fork_server_process" in process.cmdline()
    return "fork server" if is_fork_server else Path(f"/proc/{process.pid}/comm").read_text().strip()


def _trend(values: list[float]) -> dict[str, float]:
    """Median of the second and of the last sixth, and the highest: the first one is spent on warming up."""
    sixth = max(1, len(values) // 6)
    return {
        "early": statistics.median(values[sixth : 2 * sixth] or values),
        "late": statistics.median(values[-sixth:]),
        "highest": max(values),
    }


if __name__ == "__main__":
    soak_command(__doc__, run, lambda report: report["ledger_balanced"] and report["f2p_alerts_verify"])
