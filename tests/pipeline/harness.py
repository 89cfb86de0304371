"""A line under test: real worker processes, a real Redis server, pictures whose verdict is known by eye."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import yaml

from f2pnet.config import load_line
from f2pnet.errors import F2pError
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from pipeline.status.stored import read_status
from pipeline.store.embedded.server import EmbeddedRedis

START_S = 30.0
END_S = 60.0
POLL_S = 0.05


def is_bright(index: int) -> bool:
    """Which picture of the test folder the toy engine must call NG."""
    return index % 3 == 0


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (48, 48)) -> Path:
    """Grey PNGs, dark with a bright square on each third one."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image = np.full((size[1], size[0]), 10, np.uint8)
        if is_bright(index):
            image[8:32, 8:32] = 250
        cv2.imwrite(str(folder / f"part{index:04d}.png"), image)
    return folder


def results_in(redis_url: str, line: str, stream: str = "results") -> list[dict[str, str]]:
    """Entries of a line's stream in the store."""
    link = RedisLink(redis_url, timeout_s=10)
    (entries,) = link.exchange(["XRANGE", getattr(LineKeys(line), stream), "-", "+"])
    link.close()
    return [{k.decode(): v.decode() for k, v in zip(values[::2], values[1::2], strict=True)} for _, values in entries]


@dataclass
class LineUnderTest:
    """A line file, and `f2p run` on it."""

    folder: Path
    config: dict[str, Any]
    process: subprocess.Popen[str] | None = None
    output: str = ""

    @property
    def file(self) -> Path:
        return self.folder / "line.yaml"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def start(self, *options: str) -> None:
        self.file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        command = [sys.executable, "-m", "f2pnet.cli", "run", str(self.file), "--no-console"]
        command += ["--summary", str(self.folder / "summary.json"), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
        )

    def finish(self, timeout_s: float = END_S) -> dict[str, Any]:
        """Wait for the end; the summary."""
        assert self.process is not None
        self.output, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, self.output
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return summary

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)

    def run(self, *options: str) -> dict[str, Any]:
        self.start(*options)
        return self.finish()

    def status(self) -> dict[str, Any] | None:
        """What `f2p status` says; None while the store is not there."""
        try:
            return read_status(load_line(self.file)).summary()
        except F2pError:
            return None

    def await_status(self, condition: Callable[[dict[str, Any]], Any], timeout_s: float = START_S) -> Any:
        """Poll `f2p status` until the condition gives something."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            assert self.process is not None
            assert self.process.poll() is None, f"the line ended early: {self.process.communicate()[0]}"
            status = self.status()
            if status is not None and (found := condition(status)):
                return found
            time.sleep(POLL_S)
        raise AssertionError(f"not within {timeout_s} s; last status {self.status()}")

    def pid_of(self, role: str, camera: str = "cam1", seen: int = 1) -> int:
        """Process id of a running worker, once the camera has `seen` inspected frames."""

        def working(status: dict[str, Any]) -> int | None:
            rows = [w for w in status["workers"] if w["role"] == role and w["state"] in ("running", "waiting")]
            return rows[0]["pid"] if rows and status["cameras"][camera]["inspected"] >= seen else None

        return int(self.await_status(working))

    def stored(self, stream: str = "results") -> list[dict[str, str]]:
        """Entries of a stream, read from the data that the line left behind."""
        with EmbeddedRedis(self.spool / "embedded-redis") as server:
            return results_in(server.url, self.config["line"], stream)

    def close(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=10)
            _, alive = psutil.wait_procs(children, timeout=5)
            assert not alive, f"left behind after the supervisor was killed: {alive}"
        if self.process.stdout is not None:
            self.process.stdout.close()
