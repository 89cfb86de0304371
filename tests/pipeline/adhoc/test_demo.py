"""The demo with the shipped engine: what `make demo` shows must hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

SUMMARY_KEYS = {
    "line", "duration_s", "throughput_fps", "cameras", "latency_ms", "alerts", "workers", "engine", "truth"
}  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_RUNTIME_DIR": f"/tmp/f2p-demo-{os.getpid()}", "TMPDIR": str(tmp_path)}  # noqa: S108


def test_the_demo_ends_balanced_and_scores_well_against_the_truth(tmp_path: Path, environment: dict[str, str]) -> None:
    summary_file = tmp_path / "summary.json"
    command = [sys.executable, "-m", "f2pnet.cli", "demo", "--duration", "12", "--no-console"]
    done = subprocess.run(
        [*command, "--summary", str(summary_file)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(summary_file.read_text())
    assert set(summary) >= SUMMARY_KEYS
    for camera in summary["cameras"].values():
        others = sum(camera["dropped"].values()) + sum(camera["not_inspected"].values())
        assert camera["captured"] == camera["inspected"] + others
        assert camera["in_flight"] == 0
        assert camera["inspected"] > 20
    truth = summary["truth"]
    assert truth["frames"] == sum(camera["inspected"] for camera in summary["cameras"].values())
    assert truth["precision"] >= 0.9
    assert truth["recall"] >= 0.9
    assert "against the truth" in done.stdout
    assert "http://" not in done.stdout + done.stderr
    assert "console" not in {worker["role"] for worker in summary["workers"]}
    assert summary["engine"]["name"] == "surface-nano"


def test_without_a_table_the_page_is_there_for_as_long_as_the_demo_runs(environment: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "f2pnet.cli", "demo", "--duration", "6", "--no-table"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stderr is not None
    try:
        told = next(line for line in demo.stderr if "page" in line)
        (address,) = re.findall(r"http://\S+/", told)
        until_s = time.monotonic() + 30
        while not is_served(address):
            assert time.monotonic() < until_s, f"nothing answers at {address}"
            time.sleep(0.1)
        output, _ = demo.communicate(timeout=80)
    finally:
        demo.kill()
    assert demo.returncode == 0, output
    assert "as long as the demo runs" in told
    assert not is_served(address)
    assert "http://" not in output


def is_served(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_ctrl_c_ends_the_demo_in_order_and_leaves_nothing_behind(tmp_path: Path, environment: dict[str, str]) -> None:
    summary_file = tmp_path / "summary.json"
    command = [sys.executable, "-m", "f2pnet.cli", "demo", "--duration", "60", "--no-console"]
    demo = subprocess.Popen(
        [*command, "--summary", str(summary_file)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killer = threading.Timer(80, demo.kill)
    killer.start()
    try:
        time.sleep(8)  # somewhere in the middle: starting or running, both must end in order
        demo.terminate()
        output, _ = demo.communicate(timeout=40)
    finally:
        killer.cancel()
        demo.kill()
    assert demo.returncode == 0, output
    assert all(camera["in_flight"] == 0 for camera in json.loads(summary_file.read_text())["cameras"].values())
    assert not list(Path("/dev/shm").glob("demo-*.ring"))  # noqa: S108 - where rings lie
