"""A line on a simulated accelerator, which computes elsewhere: what is in flight when something dies is not lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from f2pnet.backends.simulated.device import fault_file, order_fault
from tests.pipeline.harness import LineUnderTest, is_bright

PICTURES = 90


@pytest.fixture
def device(line: LineUnderTest) -> Path:
    """The device's file. Pictures come faster than it takes them, so that as many as may be are in flight."""
    device = line.folder / "device"
    line.config["engine"] |= {"backend": f"simulated:30:4:engine@{device}"}
    line.config["cameras"][0] |= {"ring_slots": 32}
    line.config["timeouts"] |= {"stall_s": 1.0}
    return device


def check(line: LineUnderTest, *, in_order: bool = False) -> None:
    found = [(int(entry["frame_id"].rpartition("/")[2]), entry["verdict"]) for entry in line.stored()]
    wanted = [(n, "NG" if is_bright(n) else "OK") for n in range(PICTURES)]
    assert (found if in_order else sorted(found)) == wanted


def test_verdicts_are_stored_in_the_order_of_capture(line: LineUnderTest, device: Path) -> None:
    summary = line.run()
    assert summary["engine"]["device"] == "simulated"
    check(line, in_order=True)


def test_a_worker_that_is_killed_with_three_batches_in_flight_costs_nothing(line: LineUnderTest, device: Path) -> None:
    line.start()
    os.kill(line.pid_of("infer", seen=8), signal.SIGKILL)
    camera = line.finish()["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    check(line)


def test_a_device_that_dies_ends_its_worker_which_is_replaced(line: LineUnderTest, device: Path) -> None:
    line.start()
    line.pid_of("infer", seen=8)
    order_fault(device, "die")
    summary = line.finish()
    assert [w["restarts"] for w in summary["workers"] if w["role"] == "infer"] == [1]
    check(line)
    faults = [entry["data"] for entry in line.stored("alerts") if entry["verdict"] == "FAULT"]
    assert any("simulated device: it died" in fault for fault in faults)


def test_a_device_that_hangs_stops_the_sign_of_life_of_its_worker_which_is_replaced(
    line: LineUnderTest, device: Path
) -> None:
    line.start()
    line.pid_of("infer", seen=8)
    order_fault(device, "hang")
    summary = line.finish()
    assert [w["restarts"] for w in summary["workers"] if w["role"] == "infer"] == [1]
    check(line)


def test_an_answer_of_nan_is_asked_for_again_frame_by_frame(line: LineUnderTest, device: Path) -> None:
    line.start()
    line.pid_of("infer", seen=8)
    order_fault(device, "nan")
    summary = line.finish()
    assert not fault_file(device).exists()
    assert [w["restarts"] for w in summary["workers"] if w["role"] == "infer"] == [0]
    check(line)


def test_two_workers_share_the_device(line: LineUnderTest, device: Path) -> None:
    line.config["engine"]["workers"] = 2
    line.run()
    check(line)
