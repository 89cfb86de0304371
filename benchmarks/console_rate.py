"""What the page costs the line: its rate without a console, with one nobody looks at, and with two pages open.

    python benchmarks/console_rate.py --engine configs/engines/surface-nano --out docs/benchmarks/console.json

The pages are clients that ask as the page does (state and alerts twice a second, a picture of each camera four times):
a browser on the same two cores would be measured along, and an operator's runs elsewhere. Runs take turns, so that a
busy moment of the machine hits all alike; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import yaml

RUN_S = 12
ROUNDS = 3
CAMERAS = ("cam1", "cam2")
EVERY_S = {"api/state": 0.5, "api/alerts?": 0.5, **{f"camera/{camera}.jpg": 0.25 for camera in CAMERAS}}


def rate(folder: Path, engine: Path, *, console: bool, pages: int) -> float:
    """Frames per second from capture to durable verdict."""
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
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    clients = [
        threading.Thread(target=ask, args=(f"http://127.0.0.1:{port}/{path}", every_s, done), daemon=True)
        for _ in range(pages)
        for path, every_s in EVERY_S.items()
    ]
    for client in clients:
        client.start()
    process.wait(RUN_S + 60)
    done.set()
    return float(json.loads((folder / "summary.json").read_text())["throughput_fps"])


def ask(url: str, every_s: float, done: threading.Event) -> None:
    while not done.wait(every_s):
        with suppress(OSError), urllib.request.urlopen(url, timeout=4) as answer:  # noqa: S310
            answer.read()


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
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            with tempfile.TemporaryDirectory(prefix="f2p-bench-") as folder:
                rates[name].append(rate(Path(folder), wanted.engine.resolve(), **case))
                print(f"{name}: {rates[name][-1]:.1f} frames/s", flush=True)
    base = statistics.median(rates["no console"])
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "load": [round(value, 2) for value in psutil.getloadavg()]},
        "engine": wanted.engine.name,
        "frames_per_s": rates,
        "ratio_to_no_console": {name: round(statistics.median(each) / base, 3) for name, each in rates.items()},
    }
    print(json.dumps(report, indent=1))
    if wanted.out is not None:
        wanted.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
