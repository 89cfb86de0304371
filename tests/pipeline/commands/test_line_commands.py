"""The commands of the line as a user meets them: one clear line, the contract's exit code, no traceback."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from f2pnet.errors import ExitCode
from tests.pipeline.harness import LineUnderTest


def f2p(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "f2pnet.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def with_engine(value: str) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["engine"].update(bundle=value)


def with_source(**options: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["cameras"][0]["source"].update(options)


def with_camera(**options: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["cameras"][0].update(options)


def with_redis(url: str) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["publish"].update(redis=url)


MISTAKES = {
    "a misspelt key names the nearest one": (with_camera(ring_slot=4), ExitCode.USAGE, "did you mean 'ring_slots'"),
    "an unknown policy": (with_camera(on_overload="drop_all"), ExitCode.USAGE, "drop_oldest"),
    "an unknown source": (with_source(kind="webcam"), ExitCode.USAGE, "'folder', 'video', 'rtsp'"),
    "a missing folder": (with_source(path="nowhere"), ExitCode.MISSING, "no folder"),
    "a folder without pictures": (with_source(path="."), ExitCode.MISSING, "camera cam1: no images in"),
    "a file that is no video": (
        lambda config: config["cameras"][0].update(source={"kind": "video", "path": "line.yaml"}),
        ExitCode.MISSING,
        "is it whole, and a video?",
    ),
    "an empty file as a video": (
        lambda config: config["cameras"][0].update(source={"kind": "video", "path": "/dev/null"}),
        ExitCode.MISSING,
        "no video file",
    ),
    "a watched folder that is not there": (
        with_source(path="nowhere", watch=True, fps=None),
        ExitCode.MISSING,
        "camera cam1: no folder",
    ),
    "a place for finished files that is a file": (
        with_source(watch=True, done_dir="line.yaml"),
        ExitCode.USAGE,
        "can't be written",
    ),
    "a missing engine": (with_engine("nowhere"), ExitCode.MISSING, "no engine bundle"),
    "a store that answers nothing": (with_redis("redis://127.0.0.1:1"), ExitCode.MISSING, "127.0.0.1:1"),
    "a store of another kind": (with_redis("http://127.0.0.1"), ExitCode.USAGE, "redis://"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(line: LineUnderTest, mistake: str) -> None:
    change, code, words = MISTAKES[mistake]
    change(line.config)
    line.file.write_text(yaml.safe_dump(line.config))
    done = f2p("run", str(line.file))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_zero_byte_engine_is_refused_by_name(line: LineUnderTest, toy_bundle: Path) -> None:
    broken = line.folder / "broken"
    broken.mkdir()
    for file in toy_bundle.iterdir():
        (broken / file.name).write_bytes(b"" if file.suffix == ".onnx" else file.read_bytes())
    line.config["engine"]["bundle"] = str(broken)
    line.file.write_text(yaml.safe_dump(line.config))
    done = f2p("run", str(line.file))
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "model.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_ends_the_line_and_names_the_port(line: LineUnderTest, free_ports: list[int]) -> None:
    names = ("cam1", "publish", "alerts")
    line.config["transport"] = {"kind": "tcp", "ports": dict(zip(names, free_ports, strict=True))}
    line.file.write_text(yaml.safe_dump(line.config))
    with socket.create_server(("127.0.0.1", free_ports[0])):
        done = f2p("run", str(line.file), "--no-console")
    assert done.returncode != ExitCode.OK
    assert f"{free_ports[0]} is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_what_a_line_is_made_of(line: LineUnderTest) -> None:
    line.file.write_text(yaml.safe_dump(line.config))
    findings = json.loads(f2p("check", str(line.file), "--probe", "--json").stdout)
    assert [finding["what"] for finding in findings] == [
        *("engine", "recipe", "store", "camera cam1"),
        *("processor", "shared memory", "open files", "disk", "clock"),
    ]
    assert all(finding["ok"] for finding in findings)
    assert findings[3]["detail"].startswith("48x48, grey, ")  # and the rate
    assert not (line.folder / "spool").exists()  # a look leaves nothing, least of all a folder of another user


def test_check_finds_every_fault_at_once(line: LineUnderTest) -> None:
    with_source(path="nowhere")(line.config)
    with_redis("redis://127.0.0.1:1")(line.config)
    line.file.write_text(yaml.safe_dump(line.config))
    done = f2p("check", str(line.file), "--probe", "--json")
    assert done.returncode == ExitCode.MISSING
    assert [f["what"] for f in json.loads(done.stdout) if not f["ok"]] == ["store", "camera cam1"]


def test_a_source_needs_no_configuration(line: LineUnderTest, toy_bundle: Path) -> None:
    summary = line.folder / "summary.json"
    arguments = ["--source", str(line.folder / "parts"), "--engine", str(toy_bundle), "--no-console"]
    done = f2p("run", *arguments, "--summary", str(summary))
    assert done.returncode == ExitCode.OK, done.stderr
    camera = json.loads(summary.read_text())["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] == 90


def test_status_of_a_line_that_does_not_run_says_so(line: LineUnderTest) -> None:
    line.file.write_text(yaml.safe_dump(line.config))
    done = f2p("status", str(line.file))
    assert done.returncode == ExitCode.MISSING
    assert "start its line" in done.stderr


def test_status_shows_workers_ledger_and_latencies(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"fps": 20, "loop": True}
    line.start("--duration", "60")
    line.await_status(lambda status: status["latency_ms"]["total"]["p99"])
    line.await_status(lambda status: all(worker["state"] == "running" for worker in status["workers"]))
    status = json.loads(f2p("status", str(line.file), "--json").stdout)
    assert {w["role"]: w["state"] for w in status["workers"]} == dict.fromkeys(
        ["infer", "ingest", "publish"], "running"
    )
    assert [w["device"] for w in status["workers"] if w["role"] == "infer"] == ["cpu"]
    camera = status["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] + camera["in_flight"] > 0
    assert status["engine"]["backend"] == "onnxruntime"


def test_on_a_terminal_the_live_table_shows_the_ledger_and_the_last_alerts(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"fps": 20}
    line.file.write_text(yaml.safe_dump(line.config))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "f2pnet.cli", "run", str(line.file)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, process_group=0)
    os.close(theirs)
    shown, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        if not select.select([ours], [], [], 1.0)[0]:
            continue
        try:
            shown += os.read(ours, 65_536)
        except OSError:  # the other side has ended
            break
    os.close(ours)
    assert process.wait(timeout=10) == 0
    text = shown.decode(errors="replace")
    assert "last alerts" in text
    assert "running" in text
    assert "balanced" in text
    assert "defect 576 px" in text  # the bright square of 24 x 24 px
    assert (line.spool / "logs" / "infer-0.log").exists()


def test_a_worker_of_no_camera_of_the_line_is_refused(line: LineUnderTest) -> None:
    line.file.write_text(yaml.safe_dump(line.config))
    done = f2p("worker", "ingest", str(line.file), "--name", "cam9")
    assert done.returncode == ExitCode.USAGE
    assert "it has: cam1" in done.stderr


def test_bench_pipeline_states_rate_baseline_and_machine(line: LineUnderTest, toy_bundle: Path) -> None:
    arguments = ["--cameras", "1", "--size", "320x240", "--engine", str(toy_bundle), "--duration", "4", "--json"]
    done = f2p("bench", "pipeline", *arguments)
    assert done.returncode == ExitCode.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["throughput_fps"] > 0
    assert report["baseline"]["frame_bytes"] == 320 * 240 * 3
    ratio = report["throughput_fps"] / report["baseline"]["memcpy_fps"]
    assert report["baseline"]["ratio"] == pytest.approx(ratio, abs=0.001)
    assert report["machine"]["cores"]
    assert report["engine"]["backend"] == "onnxruntime"
    assert report["ratio_to_engine"] == pytest.approx(report["throughput_fps"] / report["engine"]["bare_fps"], abs=0.01)


def test_bench_pipeline_runs_on_a_simulated_accelerator(line: LineUnderTest) -> None:
    arguments = ["--cameras", "1", "--size", "320x240", "--engine", "simulated:20:2:0.5", "--fps", "8"]
    done = f2p("bench", "pipeline", *arguments, "--duration", "4", "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["engine"]["backend"] == report["engine"]["device"] == "simulated"
    assert report["engine"]["bare_fps"] <= 20.5
    assert report["throughput_fps"] < 10  # what the camera gives
    camera = report["cameras"]["cam1"]
    assert abs(camera["ng"] - camera["ok"]) <= 1


def test_a_simulated_accelerator_that_is_misspelt_is_a_usage_error() -> None:
    done = f2p("bench", "pipeline", "--engine", "simulated:fast")
    assert done.returncode == ExitCode.USAGE
    assert "RATE (images/s) is fast, wanted 0.001 to" in done.stderr
