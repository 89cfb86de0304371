"""The line that a campaign of faults runs on: `f2p run` as a user would start it, and its processes by name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from f2pnet.errors import MissingResource
from f2pnet.redis.endpoint import find_embedded
from pipeline.wire.curve import write_keys
from tests.chaos.numbered import SIDE, WHITE, write_pictures
from tests.toy_engine import write_toy_bundle
from tests.two_hosts import ADDRESS_A, TwoHosts

NAME = "chaos"
CAMERAS = ("parts1", "parts2")  # folders: nothing is lost between the world and the first worker
LIVE = "live"
CLOCK = Path(__file__).parent / "clock"  # holds the module that makes the line's clock
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
    """Two inference workers and an embedded Redis on these cameras, all below `folder`.

    With `hosts` the second inference worker runs on the other one, behind keys and a cable. With `accelerator` both
    share a simulated one of so many images/s.
    """

    def __init__(
        self,
        folder: Path,
        cameras: list[dict[str, Any]],
        poison: float = 255 / WHITE,
        hosts: TwoHosts | None = None,
        kept: int = 1_000_000,
        accelerator: float | None = None,
    ) -> None:
        self.hosts = hosts
        self._far: subprocess.Popen[bytes] | None = None
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.file = folder / "line.yaml"
        self.spool = folder / "spool"
        self._clock = folder / "clock"
        self.device = None if accelerator is None else folder / "device"
        backend = "onnxruntime" if accelerator is None else f"simulated:{accelerator:g}:4:engine@{self.device}"
        self.put_clock_wrong(0)
        write_toy_bundle(folder / "engine", side=SIDE, max_batch=4, poison=poison)
        self.page_port, alerts_port = free_ports(2)
        self.ports = [self.page_port, alerts_port]
        """TCP ports of this host that a stranger can reach."""
        content = {
            "line": NAME,
            "engine": {"bundle": "engine", "max_batch": 4, "threads": 1, "workers": 2, "backend": backend},
            "cameras": cameras,
            "publish": {
                "redis": "embedded",
                "spool": {"dir": "spool", "max_mb": 32},
                "results_kept": kept,
                "alerts_kept": kept,
            },
            "timeouts": {"lease_ms": 1000, "stall_s": 3, "drain_s": 15},
            "transport": {"kind": "ipc", "alerts_port": alerts_port},
            "console": {"port": self.page_port},
        }
        if hosts is not None:
            content["engine"] |= {"workers": 1}
            names = [*(camera["id"] for camera in cameras), "publish", "alerts"]
            ports = dict(zip(names, free_ports(len(names)), strict=True))
            self.ports = [self.page_port]
            for host in ("far", "here"):
                write_keys(folder / "keys", host)
            for host in ("far", "here"):
                (folder / "keys/allowed").mkdir(exist_ok=True)
                shutil.copy(folder / f"keys/{host}.key", folder / "keys/allowed")
                curve = {"key": f"keys/{host}.key_secret", "server_key": "keys/here.key", "allowed": "keys/allowed"}
                content["transport"] = {"kind": "tcp", "host": ADDRESS_A, "ports": ports, "curve": curve}
                (folder / f"{host}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        self.file.write_text(yaml.safe_dump(content, sort_keys=False))

    def start(self) -> None:
        command = [sys.executable, "-m", "f2pnet.cli", "run", str(self.file), "--no-console"]
        command += ["--summary", str(self.folder / "summary.json")]
        with (self.folder / "line.log").open("ab") as log:
            environment = {**os.environ, "PYTHONPATH": str(CLOCK), "F2P_TEST_CLOCK": str(self._clock)}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0, env=environment)
        if self.hosts is not None and self._far is None:
            command = [sys.executable, "-m", "f2pnet.cli", "worker", "infer", str(self.folder / "far.yaml")]
            with (self.folder / "far.log").open("ab") as log:
                command = self.hosts.on(self.hosts.b, [*command, "--name", "infer-far"])
                self._far = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
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
        """Process ids of the workers, by name; those that are just starting have none yet."""
        assert self.process is not None
        found = {}
        for child in _children(self.process.pid):
            try:
                name = Path(f"/proc/{child.pid}/comm").read_text().strip()
            except OSError:
                continue
            if name.startswith(("ingest-", "infer-", "publish")):
                found[name] = child.pid
        return found

    @property
    def fork_server_pid(self) -> int | None:
        assert self.process is not None
        for child in _children(self.process.pid):
            with contextlib.suppress(psutil.Error):
                if "pipeline.fork_server_process" in child.cmdline():
                    return child.pid
        return None

    def put_clock_wrong(self, by_ns: int) -> None:
        """What the line's processes take for the time of day jumps by that much, at once."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(by_ns.to_bytes(8, "little", signed=True))

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        assert self.process is not None
        return [psutil.Process(self.process.pid), *_children(self.process.pid)]

    def memory_mb(self) -> float:
        """Memory of the line's processes, shared pages counted once; without Redis: its data grow."""
        total, redis_pid = 0, self.redis_pid
        for process in self.processes():
            if process.pid == redis_pid:
                continue
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
        if self._far is not None:
            for child in _children(self._far.pid):
                os.kill(child.pid, signal.SIGKILL)
            self._far.kill()
            self._far.wait(10)


def free_ports(count: int) -> list[int]:
    """TCP ports of this host that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
