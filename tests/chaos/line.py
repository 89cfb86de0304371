"""The line that a campaign of faults runs on: `f2p run` as a user would start it, and its processes by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from f2pnet.errors import MissingResource
from f2pnet.redis_endpoint import find_embedded
from tests.chaos.numbered import SIDE, WHITE, write_pictures
from tests.toy_engine import write_toy_bundle

NAME = "chaos"
CAMERAS = ("parts1", "parts2")  # folders: nothing is lost between the world and the first worker
LIVE = "live"
START_S = 60.0
END_S = 90.0


def campaign_cameras(folder: Path, live_url: str, fps: float) -> list[dict[str, Any]]:
    """Two folders of numbered pictures, which lose nothing before the first worker, and a live camera."""
    write_pictures(folder / "parts")
    source = {"kind": "folder", "path": "parts", "fps": fps, "loop": True}
    folders = [{"id": name, "source": source, "ring_slots": 32, "on_overload": "block"} for name in CAMERAS]
    live = {"id": LIVE, "source": {"kind": "mjpeg", "url": live_url, "timeout_s": 1.0}, "ring_slots": 32}
    return [*folders, live]


class CampaignLine:
    """Two inference workers and an embedded Redis on these cameras, all below `folder`."""

    def __init__(self, folder: Path, cameras: list[dict[str, Any]], poison: float = 255 / WHITE) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.file = folder / "line.yaml"
        self.spool = folder / "spool"
        write_toy_bundle(folder / "engine", side=SIDE, max_batch=4, poison=poison)
        content = {
            "line": NAME,
            "engine": {"bundle": "engine", "max_batch": 4, "threads": 1, "workers": 2, "backend": "onnxruntime"},
            "cameras": cameras,
            "publish": {"redis": "embedded", "spool": {"dir": "spool", "max_mb": 32}},
            "timeouts": {"lease_ms": 1000, "stall_s": 3, "drain_s": 15},
        }
        self.file.write_text(yaml.safe_dump(content, sort_keys=False))

    def start(self) -> None:
        command = [sys.executable, "-m", "f2pnet.cli", "run", str(self.file), "--no-console"]
        command += ["--summary", str(self.folder / "summary.json")]
        with (self.folder / "line.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            assert self.process.poll() is None, f"the line ended: see {self.folder}/line.log"
            try:
                find_embedded(self.spool / "embedded-redis")
                return
            except MissingResource:
                time.sleep(0.05)
        raise AssertionError(f"the line's store did not come within {START_S} s")

    @property
    def url(self) -> str:
        return find_embedded(self.spool / "embedded-redis")

    @property
    def redis_pid(self) -> int | None:
        try:
            return int(json.loads((self.spool / "embedded-redis" / "endpoint.json").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return None

    def workers(self) -> dict[str, int]:
        """Process ids of the workers, by name; those that are just starting through the tether are left out."""
        assert self.process is not None
        found = {}
        for child in _children(self.process.pid):
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            if "worker" in words and "--name" in words and "-S" not in words:
                found[words[words.index("--name") + 1]] = child.pid
        return found

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        assert self.process is not None
        return [psutil.Process(self.process.pid), *_children(self.process.pid)]

    def memory_mb(self) -> float:
        """Memory of the line's processes, shared pages counted once."""
        total = 0
        for process in self.processes():
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total / 2**20

    def descriptors(self) -> int:
        assert self.process is not None
        return psutil.Process(self.process.pid).num_fds()

    def kill(self) -> None:
        """The supervisor dies; everything of the line has to go with it."""
        assert self.process is not None
        children = _children(self.process.pid)
        self.process.kill()
        self.process.wait(10)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive, f"left behind: {alive}"

    def end(self) -> dict[str, Any]:
        """An orderly end; the summary."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(END_S)
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return summary | {"exit_code": code}

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            for child in _children(self.process.pid):
                os.kill(child.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait(10)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
