"""What the page costs the line: its rate without a console, with one nobody looks at, and with two pages open.

    python benchmarks/console_rate.py --engine configs/engines/surface-nano --out docs/benchmarks/console.json

The pages are clients that read the live events as the page does, and throw them away: a browser on the same two cores
would be measured along, and an operator's runs elsewhere. Runs take turns, so that a busy moment of the machine hits
all alike: each round has a ratio, and their median is reported. So is the processor time of the console and of the
clients, in per cent of one core.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import yaml

RUN_S = 12
ROUNDS = 7
CAMERAS = ("cam1", "cam2")
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Run:
    """Frames per second from capture to durable verdict; processor time in per cent of one core."""

    fps: float
    console_percent: float
    clients_percent: float


def run(folder: Path, engine: Path, *, console: bool, pages: int) -> Run:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    source = {"kind": "synthetic", "size": "512x512", "fps": None, "loop_frames": 60}
    line = {
        "line": "bench",
        "engine": {"bundle": str(engine)},
        "cameras": [
            {"id": camera, "source": {**source, "seed": n}, "on_overload": "block"} for n, camera in enumerate(CAMERAS)
        ],
        "publish": {
            "redis": "embedded",
            "spool": {"dir": str(folder / "spool")},
            "evidence": {"dir": str(folder / "e")},
        },
        **({"console": {"port": port}} if console else {}),
    }
    (folder / "line.yaml").write_text(yaml.safe_dump(line))
    command = [sys.executable, "-m", "f2pnet.cli", "run", str(folder / "line.yaml"), "--no-console"]
    command += ["--duration", str(RUN_S), "--summary", str(folder / "summary.json")]
    done = threading.Event()
    own_s, began_s = time.process_time(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    clients = [threading.Thread(target=look, args=(port, done), daemon=True) for _ in range(pages)]
    for client in clients:
        client.start()
    console_s = 0.0
    while process.poll() is None and time.monotonic() - began_s < RUN_S + 60:
        console_s = max(console_s, cpu_s_of_console(process.pid))
        time.sleep(0.5)
    process.wait(1)
    took_s = time.monotonic() - began_s
    own_s = time.process_time() - own_s
    done.set()
    fps = float(json.loads((folder / "summary.json").read_text())["throughput_fps"])
    return Run(fps, round(100 * console_s / took_s, 1), round(100 * own_s / took_s, 1))


def cpu_s_of_console(line_pid: int) -> float:
    with suppress(psutil.Error, OSError):
        for child in psutil.Process(line_pid).children():
            if Path(f"/proc/{child.pid}/comm").read_text().strip() == "console":
                times = child.cpu_times()
                return float(times.user + times.system)
    return 0.0


def look(port: int, done: threading.Event) -> None:
    """An open page."""
    while not done.wait(0.5):
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
            connection.request("GET", "/api/live")
            events = connection.getresponse()
            while not done.is_set() and events.read1(CHUNK_BYTES):
                pass


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--engine", type=Path, default=Path("configs/engines/surface-nano"))
    options.add_argument("--out", type=Path)
    wanted = options.parse_args()
    cases = {
        "no console": {"console": False, "pages": 0},
        "nobody looks": {"console": True, "pages": 0},
        "two pages": {"console": True, "pages": 2},
    }
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            with tempfile.TemporaryDirectory(prefix="f2p-bench-") as folder:
                runs[name].append(run(Path(folder), wanted.engine.resolve(), **case))
                print(name, runs[name][-1], flush=True)
    ratios = {
        name: [round(each.fps / base.fps, 3) for each, base in zip(of_case, runs["no console"], strict=True)]
        for name, of_case in runs.items()
        if name != "no console"
    }
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "load": [round(value, 2) for value in psutil.getloadavg()]},
        "engine": wanted.engine.name,
        "runs": {name: [asdict(each) for each in of_case] for name, of_case in runs.items()},
        "ratios_to_no_console": ratios,
        "median_ratio": {name: statistics.median(each) for name, each in ratios.items()},
    }
    print(json.dumps(report, indent=1))
    if wanted.out is not None:
        wanted.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
