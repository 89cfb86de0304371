"""A killed worker is replaced by a process that was waiting for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.spare import Spare
from tests.pipeline.console.browser import await_that
from tests.pipeline.harness import LineUnderTest


def waiting_spare(line: LineUnderTest) -> int | None:
    assert line.process is not None
    for child in psutil.Process(line.process.pid).children(recursive=True):
        if "pipeline.spare_process" in child.cmdline() and child.name().startswith("python"):
            return child.pid
    return None


@pytest.mark.parametrize("role", ["ingest", "publish", "infer"])
def test_the_spare_becomes_the_worker_that_died(line: LineUnderTest, role: str) -> None:
    line.config["cameras"][0]["source"] |= {"loop": True}
    line.start()
    killed = line.pid_of(role, seen=5)
    spare = await_that(lambda: waiting_spare(line))
    os.kill(killed, signal.SIGKILL)
    line.await_status(lambda status: line_pid(status, role) == spare)
    seen = line.await_status(lambda status: status["cameras"]["cam1"]["inspected"])
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] > seen + 10)
    assert await_that(lambda: waiting_spare(line)) != spare, "and the next one waits"
    line.interrupt()
    camera = line.finish()["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] + sum(camera["not_inspected"].values())
    ids = [entry["frame_id"] for entry in line.stored()]
    assert len(ids) == len(set(ids)) == camera["captured"]


def line_pid(status: dict[str, list[dict[str, object]]], role: str) -> object:
    return next((worker["pid"] for worker in status["workers"] if worker["role"] == role), None)


def test_what_it_says_goes_to_the_log_of_its_worker(tmp_path: Path) -> None:
    spare, log = Spare(), tmp_path / "worker.log"
    process = spare.become(["keys", "--help"], {"COLUMNS": "90"}, log)
    assert process is not None
    assert process.wait(30) == 0
    assert "Usage: f2p keys" in log.read_text()


def test_a_spare_that_died_is_none() -> None:
    spare = Spare()
    spare._process.kill()
    spare._process.wait(10)
    assert not spare.waits
    assert spare.become(["keys"], {}, None) is None


def test_a_spare_that_is_not_needed_ends_with_its_keeper() -> None:
    code = (
        "from pipeline.spare import Spare; import sys; s = Spare(); print(s._process.pid, flush=True); sys.stdin.read()"
    )
    keeper = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    pid = int(keeper.stdout.readline())
    keeper.kill()
    keeper.communicate(timeout=10)
    await_that(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
