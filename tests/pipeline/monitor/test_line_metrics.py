"""The endpoint of a real line: its counters are the ledger's, and its health sees a stopped worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.pipeline.harness import LineUnderTest, write_pictures
from tests.pipeline.monitor.reading import fetch, value


def await_answer(url: str, status: int, timeout_s: float = 30.0) -> str:
    until, seen = time.monotonic() + timeout_s, ""
    while time.monotonic() < until:
        try:
            found, seen = fetch(url)
        except OSError:
            found = 0
        if found == status:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{url} did not answer {status} within {timeout_s} s; last: {seen}")


def test_counters_equal_the_ledger_to_the_last_frame_after_faults(line: LineUnderTest, free_ports: list[int]) -> None:
    """Each worker and the store are killed; then what Prometheus reads is held against the streams themselves."""
    port, pictures = free_ports[0], 200
    write_pictures(line.folder / "few", pictures)
    source = {"kind": "folder", "path": "few", "fps": 20}
    line.config["cameras"].append({**line.config["cameras"][0], "id": "cam2", "source": source})
    line.config["cameras"][0]["source"] |= {"loop": True}  # keeps the line, and so the endpoint, alive
    line.config["metrics"] = {"port": port}
    line.start()
    for role in ("infer", "publish", "ingest"):
        os.kill(line.pid_of(role, "cam2", seen=5), signal.SIGKILL)
        time.sleep(0.5)
    os.kill(json.loads((line.spool / "embedded-redis/endpoint.json").read_text())["pid"], signal.SIGKILL)
    line.await_status(lambda status: status["cameras"]["cam2"]["inspected"] == pictures)
    await_answer(f"http://127.0.0.1:{port}/readyz", 200)
    _, text = fetch(f"http://127.0.0.1:{port}/metrics")
    line.interrupt()
    ledger = line.finish()["cameras"]["cam2"]
    stored = Counter(entry["verdict"] for entry in line.stored() if entry["camera_id"] == "cam2")

    assert value(text, "f2p_frames_captured_total", camera="cam2") == ledger["captured"] == pictures
    for verdict in ("OK", "NG"):
        found = value(text, "f2p_frames_inspected_total", camera="cam2", verdict=verdict)
        assert found == ledger[verdict.lower()] == stored[verdict]
    assert stored.total() == pictures
    assert value(text, "f2p_ledger_balanced", camera="cam1") == 1
    for worker, role in (("infer-0", "infer"), ("publish", "publish")):
        assert value(text, "f2p_worker_restarts_total", worker=worker, role=role) == 1


def test_a_single_worker_has_an_endpoint_of_its_own(line: LineUnderTest, free_ports: list[int]) -> None:
    port = free_ports[0]
    line.config["cameras"][0]["source"] |= {"loop": True}
    line.start()
    line.pid_of("infer")
    worker = infer_worker(line.file, port)
    try:
        await_answer(f"http://127.0.0.1:{port}/readyz", 200)
        assert "f2p_worker_up" in fetch(f"http://127.0.0.1:{port}/metrics")[1]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
        worker.wait(timeout=10)


def infer_worker(line_file: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "f2pnet.cli", "worker", "infer", str(line_file), "--name", "infer-more"]
    return subprocess.Popen([*command, "--metrics-port", str(port)])
