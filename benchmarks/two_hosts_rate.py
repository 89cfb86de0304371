"""The same line on one host, over TCP, behind keys, and with its inference on a second host. Needs root and iproute2.

    python -m benchmarks.two_hosts_rate --out docs/benchmarks/two-hosts.json

The second host is a network namespace on the same cores: what is measured is what messages, keys and a network stack
cost, not a real network. The engine answers at once (backend `null`); one colour camera gives pictures as fast as they
are taken. Runs take turns; ratios are of the medians to the line on one host with shared memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from f2pnet.machine import machine_facts
from pipeline.wire.curve import write_keys
from tests.two_hosts import ADDRESS_A, TwoHosts, two_hosts

RUN_S = 8
ROUNDS = 1
SIZES = ("640x480", "1920x1080")
F2P = [sys.executable, "-m", "f2pnet.cli"]


def run(case: str, size: str, folder: Path, hosts: TwoHosts) -> dict[str, Any]:
    """One run: its summary's rate and latency."""
    source = {"kind": "synthetic", "size": size, "fps": None, "loop_frames": 8, "colour": True, "defect_rate": 0.0}
    line: dict[str, Any] = {
        "line": "bench",
        "engine": {
            "bundle": str(Path("configs/engines/surface-nano").resolve()),
            "backend": "null",
            "workers": 0 if case == "two hosts" else 1,
        },
        "cameras": [{"id": "cam1", "source": source, "on_overload": "block"}],
        "publish": {"redis": "embedded", "spool": {"dir": str(folder / "spool")}},
    }
    if case != "shared memory":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        ports = {"cam1": port, "publish": port + 1, "alerts": port + 2}
        line["transport"] = {"kind": "tcp", "ports": ports}
    if case in ("tcp with keys", "two hosts"):
        for host in ("a", "b"):
            write_keys(folder / "keys", host)
        (folder / "keys/allowed").mkdir()
        for host in ("a", "b"):
            shutil.copy(folder / f"keys/{host}.key", folder / "keys/allowed")
        line["transport"]["host"] = ADDRESS_A if case == "two hosts" else "127.0.0.1"
    for host in ("b", "a"):
        if case in ("tcp with keys", "two hosts"):
            curve = {"key": f"keys/{host}.key_secret", "server_key": "keys/a.key", "allowed": "keys/allowed"}
            line["transport"]["curve"] = curve
        (folder / f"line-{host}.yaml").write_text(yaml.safe_dump(line))
    far = None
    if case == "two hosts":
        command = hosts.on(hosts.b, [*F2P, "worker", "infer", str(folder / "line-b.yaml"), "--name", "infer-far"])
        far = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        command = [*F2P, "run", str(folder / "line-a.yaml"), "--no-console", "--duration", str(RUN_S)]
        command += ["--summary", str(folder / "summary.json")]
        subprocess.run(command, capture_output=True, timeout=RUN_S + 60, check=True)  # noqa: S603
    finally:
        if far is not None:
            far.send_signal(signal.SIGTERM)
            far.wait(30)
    summary = json.loads((folder / "summary.json").read_text())
    total = summary["latency_ms"]["total"]
    return {"fps": summary["throughput_fps"], "p50_ms": total["p50"], "p99_ms": total["p99"]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path)
    wanted = options.parse_args()
    cases = ("shared memory", "tcp", "tcp with keys", "two hosts")
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {size: {case: [] for case in cases} for size in SIZES}
    with two_hosts(first_is_here=True) as hosts:
        if hosts is None:
            sys.exit("network namespaces need root and iproute2")
        for size in SIZES:
            for _ in range(ROUNDS):
                for case in cases:
                    with tempfile.TemporaryDirectory(prefix="f2p-bench-") as folder:
                        runs[size][case].append(run(case, size, Path(folder), hosts))
                        print(size, case, runs[size][case][-1], flush=True)
    medians = {
        size: {
            case: {name: statistics.median(one[name] for one in each) for name in ("fps", "p50_ms", "p99_ms")}
            for case, each in by_case.items()
        }
        for size, by_case in runs.items()
    }
    for by_case in medians.values():
        for figures in by_case.values():
            figures["ratio"] = round(figures["fps"] / by_case["shared memory"]["fps"], 3)
    report = {"run_s": RUN_S, "rounds": ROUNDS, "medians": medians, "runs": runs, "machine": machine_facts()}
    print(json.dumps(medians, indent=1))
    if wanted.out is not None:
        wanted.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
