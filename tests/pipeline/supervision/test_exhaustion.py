"""Memory and descriptors that run out for a while: reported with the cure, and the line goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

from f2pnet.config import load_line
from pipeline.checks.descriptors import descriptors_needed
from tests.pipeline.harness import LineUnderTest
from tests.pipeline.supervision.test_line import check_each_once
from tests.pipeline.supervision.test_reload import reload
from tests.pipeline.supervision.test_removed_files import faults_of, goes_on


def with_cameras(line: LineUnderTest, count: int) -> list[dict[str, object]]:
    first = line.config["cameras"][0]
    return [first, *({**first, "id": f"cam{n}"} for n in range(2, count + 1))]


def limited_run(line: LineUnderTest, open_files: int) -> subprocess.CompletedProcess[str]:
    line.file.write_text(yaml.safe_dump(line.config))
    command = ["prlimit", f"--nofile={open_files}:{open_files}", sys.executable, "-m", "f2pnet.cli", "run"]
    return subprocess.run(
        [*command, str(line.file), "--no-console"], capture_output=True, text=True, timeout=90, check=False
    )


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit (util-linux)")
def test_more_cameras_than_descriptors_are_refused_with_the_number_that_is_needed(line: LineUnderTest) -> None:
    line.config["cameras"] = with_cameras(line, 40)
    done = limited_run(line, 100)
    assert done.returncode == 3
    needed = descriptors_needed(load_line(line.file))
    assert f"40 cameras need {needed} open files in a process, and 100 are allowed" in done.stderr
    assert "ulimit -n" in done.stderr


@pytest.mark.parametrize("role", ["infer", "ingest", "publish"])
def test_a_worker_without_descriptors_for_a_while_costs_nothing_that_is_not_accounted_for(
    line: LineUnderTest, role: str
) -> None:
    line.config["cameras"][0]["source"] |= {"loop": True, "fps": 20}
    line.start()
    pid = line.pid_of(role, seen=5)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))  # noqa: PTH208
    seen = line.await_status(lambda status: status["cameras"]["cam1"]["captured"])
    line.await_status(lambda status: status["cameras"]["cam1"]["captured"] > seen + 20)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    goes_on(line, by=20)
    line.interrupt()
    camera = line.finish()["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] + sum(camera["not_inspected"].values())
    assert camera["in_flight"] == 0


def test_a_supervisor_without_descriptors_for_a_while_keeps_store_and_workers(line: LineUnderTest) -> None:
    """What it can't look at now is not gone: the store's files least of all."""
    line.config["cameras"][0]["source"] |= {"loop": True, "fps": 20}
    line.start()
    worker = line.pid_of("infer", seen=5)
    assert line.process is not None
    server = json.loads((line.spool / "embedded-redis/endpoint.json").read_text())["pid"]
    pid = line.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))  # noqa: PTH208
    os.kill(worker, signal.SIGKILL)
    goes_on(line, by=40)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    goes_on(line, by=20)
    assert json.loads((line.spool / "embedded-redis/endpoint.json").read_text())["pid"] == server
    line.interrupt()
    camera = line.finish()["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] + sum(camera["not_inspected"].values())
    assert camera["in_flight"] == 0


@pytest.mark.skipif(shutil.which("unshare") is None or os.getuid() != 0, reason="needs shared memory of its own")
def test_a_camera_for_which_there_is_no_memory_keeps_no_other_from_running(line: LineUnderTest) -> None:
    """With 1 MB of shared memory: the table of a ring with 4,096 slots takes more."""
    line.config["cameras"][0]["source"]["fps"] = 10
    script = f'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec {sys.executable} -c "$@"'
    line.file.write_text(yaml.safe_dump(line.config))
    command = ["unshare", "-m", "sh", "-c", script, "sh", "from f2pnet.cli import main; main()", "run", str(line.file)]
    line.process = subprocess.Popen(
        [*command, "--no-console", "--summary", str(line.folder / "summary.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] >= 5, timeout_s=90)
    first = line.config["cameras"][0]
    line.config["cameras"] = [first, {**first, "id": "cam2", "ring_slots": 4096}]
    assert reload(line).returncode == 0
    line.await_status(
        lambda status: (
            any(w["name"] == "ingest-cam2" and w["restarts"] for w in status["workers"])
            or status["cameras"]["cam1"]["inspected"] == 90
        )
    )
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] >= 60)
    line.config["cameras"] = [first]
    assert reload(line).returncode == 0
    line.finish()
    check_each_once(line)
    assert any("ingest-cam2" in text and "no space left" in text for text in faults_of(line)), faults_of(line)


def test_a_picture_that_unpacks_to_more_than_allowed_is_refused_by_its_header(line: LineUnderTest) -> None:
    import cv2

    line.config["cameras"][0]["max_frame_mb"] = 4
    bomb = np.zeros((12_000, 12_000), np.uint8)  # 144 MB; a few 100 KB as a file
    for index, suffix in ((3, ".png"), (6, ".png")):
        cv2.imwrite(str(line.folder / "parts" / f"part{index:04d}{suffix}"), bomb)
    camera = line.run()["cameras"]["cam1"]
    assert camera["not_inspected"] == {"frame_too_large": 2}
    assert camera["inspected"] == 88
    told = [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("max_frame_mb" in text or "larger" in text for text in told), told
