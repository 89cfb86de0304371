"""Cameras are added until the machine saturates: what is shed, whether the ledger balances, how latency is bounded.

    python benchmarks/load.py --out docs/benchmarks/load.json

Each camera gives 10 pictures a second of 512x512 that name their part, with a deadline of 250 ms. Beyond saturation
each part that can't be inspected in time must be NOT_INSPECTED, by overload or deadline, and none be late and OK.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from f2pnet.machine import machine_facts

RUN_S = 20
FPS = 10
DEADLINE_MS = 250
CAMERAS = (1, 2, 4, 8, 16, 32)


def run(cameras: int, engine: Path, folder: Path) -> dict[str, Any]:
    """One run with so many cameras: what became of their parts."""
    source = {"kind": "synthetic", "size": "512x512", "fps": FPS, "loop_frames": 60}
    line = {
        "line": "load",
        "engine": {"bundle": str(engine)},
        "cameras": [
            {"id": f"cam{n}", "source": {**source, "seed": n}, "deadline_ms": DEADLINE_MS} for n in range(cameras)
        ],
        "publish": {"redis": "embedded", "spool": {"dir": str(folder / "spool")}},
    }
    (folder / "line.yaml").write_text(yaml.safe_dump(line))
    command = [sys.executable, "-m", "f2pnet.cli", "run", str(folder / "line.yaml"), "--no-console"]
    command += ["--duration", str(RUN_S), "--summary", str(folder / "summary.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S + 120, check=False)  # noqa: S603
    summary = json.loads((folder / "summary.json").read_text())
    ledgers = summary["cameras"].values()
    captured = sum(ledger["captured"] for ledger in ledgers)
    shed: dict[str, int] = {}
    for ledger in ledgers:
        for reasons in (ledger["dropped"], ledger["not_inspected"]):
            for reason, count in reasons.items():
                shed[reason] = shed.get(reason, 0) + count
    return {
        "cameras": cameras,
        "offered_fps": cameras * FPS,
        "captured": captured,
        "inspected": sum(ledger["inspected"] for ledger in ledgers),
        "inspected_fps": round(summary["throughput_fps"], 1),
        "shed": shed,
        "ledger_balanced": done.returncode == 0,
        "latency_ms": {name: summary["latency_ms"][name] for name in ("total", "queued", "engine", "stored")},
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--engine", type=Path, default=Path("configs/engines/surface-nano"))
    options.add_argument("--out", type=Path)
    wanted = options.parse_args()
    runs = []
    for cameras in CAMERAS:
        with tempfile.TemporaryDirectory(prefix="f2p-bench-") as folder:
            runs.append(run(cameras, wanted.engine.resolve(), Path(folder)))
            print(json.dumps(runs[-1]), flush=True)
    report = {"deadline_ms": DEADLINE_MS, "run_s": RUN_S, "runs": runs, "machine": machine_facts()}
    if wanted.out is not None:
        wanted.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
