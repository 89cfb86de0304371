"""What a line reaches of a simulated accelerator's rate, and what a frame costs on the CPU.

    python benchmarks/accelerator.py --out docs/benchmarks/accelerator.json

Each row is a line of one colour camera, one inference worker and evidence of each NG frame, a fifth of all: first as
fast as it goes, beside the bare rate of the same engine, then at 80 % of that rate for latency. The last row is the
shipped engine on the CPU. CPU time is the inference worker's own, from its process, over the frames it inspected; it
tells also on a machine that is busy, of which rates and latency do not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from f2pnet.machine import machine_facts

ENGINE = Path("configs/engines/surface-nano")
DEFECTS = 0.2
ROWS = (
    ("1920x1080", 25, 4),
    ("1920x1080", 50, 4),
    ("1920x1080", 100, 4),
    ("4000x3000", 10, 2),
    ("4000x3000", 20, 2),
)
"""(frame size, images/s, batch)"""
LOAD = 0.8
LOOP_FRAMES = 8
LIMIT_S = 180


class WorkerCpu:
    """CPU seconds of the inference worker below a process, sampled until it is gone."""

    def __init__(self, pid: int) -> None:
        self.first_s: float | None = None
        self.last_s = 0.0
        self._pid = pid
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            try:
                for child in psutil.Process(self._pid).children(recursive=True):
                    if child.name().startswith("infer-"):
                        times = child.cpu_times()
                        self.last_s = times.user + times.system
                        self.first_s = self.last_s if self.first_s is None else self.first_s
            except psutil.NoSuchProcess:
                return
            time.sleep(0.1)


def run(size: str, backend: str, batch: int, fps: float | None, seconds: float) -> dict[str, Any]:
    """One line; rate, latency and CPU time."""
    with tempfile.TemporaryDirectory(prefix="f2p-bench-") as name:
        folder = Path(name)
        source = {"kind": "synthetic", "size": size, "loop_frames": LOOP_FRAMES, "colour": True, "defect_rate": 0.0}
        source |= {"fps": fps}
        camera = {"id": "cam", "source": source, "ring_slots": 32, "on_overload": "block"}
        line = {
            "line": "accelerator",
            "engine": {"bundle": str(ENGINE.resolve()), "backend": backend, "max_batch": batch},
            "cameras": [camera],
            "publish": {"redis": "embedded", "spool": {"dir": "spool"}, "evidence": {"dir": "evidence"}},
        }
        (folder / "line.yaml").write_text(yaml.safe_dump(line))
        command = [sys.executable, "-m", "f2pnet.cli", "run", str(folder / "line.yaml"), "--no-console"]
        command += ["--duration", str(seconds), "--summary", str(folder / "summary.json")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        cpu = WorkerCpu(process.pid)
        process.wait(LIMIT_S)
        summary = json.loads((folder / "summary.json").read_text())
    ledger = summary["cameras"]["cam"]
    inspected = ledger["inspected"]
    return {
        "frames": inspected,
        "ng": ledger["ng"],
        "balanced": ledger["captured"] == inspected,
        "fps": round(summary["throughput_fps"], 2),
        "p50_ms": summary["latency_ms"]["total"]["p50"],
        "p99_ms": summary["latency_ms"]["total"]["p99"],
        "cpu_ms_a_frame": round(1e3 * (cpu.last_s - (cpu.first_s or 0.0)) / max(inspected, 1), 2),
    }


def row(size: str, rate: float, batch: int, seconds: float) -> dict[str, Any]:
    """A simulated accelerator at full rate and at four fifths of it."""
    backend = f"simulated:{rate:g}:{batch}:{DEFECTS}"
    full, part = run(size, backend, batch, None, seconds), run(size, backend, batch, LOAD * rate, seconds)
    batch_ms = 1e3 * batch / rate
    return {
        "frames": size,
        "images_per_s": rate,
        "batch": batch,
        "batch_ms": batch_ms,
        "full": full,
        "ratio_to_engine": round(full["fps"] / rate, 3),
        "at_80_percent": part,
        "p99_in_batch_times": round(part["p99_ms"] / batch_ms, 2),
    }


def cpu_engine(seconds: float) -> dict[str, Any]:
    """The shipped engine on the CPU, as `f2p bench pipeline` measures it."""
    command = [sys.executable, "-m", "f2pnet.cli", "bench", "pipeline", "--engine", str(ENGINE), "--size", "512x512"]
    command += ["--cameras", "2", "--duration", str(seconds), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)  # noqa: S603
    report = json.loads(done.stdout)
    return {
        "frames": "512x512",
        "engine": report["engine"]["name"],
        "bare_fps": report["engine"]["bare_fps"],
        "fps": report["throughput_fps"],
        "ratio_to_engine": report["ratio_to_engine"],
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=20.0, help="of each run")
    options.add_argument("--out", type=Path)
    wanted = options.parse_args()
    report: dict[str, Any] = {"run_s": wanted.seconds, "defects": DEFECTS, "load_average_before": os.getloadavg()}
    report["rows"] = []
    for size, rate, batch in ROWS:
        report["rows"].append(row(size, rate, batch, wanted.seconds))
        print(json.dumps(report["rows"][-1]), flush=True)
    report["cpu_engine"] = cpu_engine(wanted.seconds)
    print(json.dumps(report["cpu_engine"]), flush=True)
    report |= {"load_average_after": os.getloadavg(), "machine": machine_facts()}
    if wanted.out is not None:
        wanted.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
