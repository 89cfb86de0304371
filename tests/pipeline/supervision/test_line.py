"""The line as a whole: every picture gets its verdict, once, whatever happens to the workers."""

from __future__ import annotations

import json
import os
import signal
import time

import cv2
import numpy as np
import psutil
import pytest

from tests.pipeline.console.browser import await_that
from tests.pipeline.harness import LineUnderTest, is_bright, write_pictures
from tests.small_disk import fill, mount_small_disk, unmount

PICTURES = 90


def check_each_once(line: LineUnderTest, count: int = PICTURES) -> None:
    """Each frame is in the store once, with the verdict that its own picture calls for."""
    verdicts = [(int(entry["frame_id"].rpartition("/")[2]), entry["verdict"]) for entry in line.stored()]
    assert sorted(verdicts) == [(n, "NG" if is_bright(n) else "OK") for n in range(count)]


def test_every_picture_of_a_folder_gets_its_own_verdict_once(line: LineUnderTest) -> None:
    summary = line.run()
    camera = summary["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    assert camera["ng"] == sum(map(is_bright, range(PICTURES)))
    check_each_once(line)
    alerts = [entry["frame_id"] for entry in line.stored("alerts")]
    assert len(alerts) == len(set(alerts)) == camera["ng"]


def test_two_inference_workers_share_the_work(line: LineUnderTest) -> None:
    line.config["engine"]["workers"] = 2
    line.run()
    check_each_once(line)


def test_the_duration_counts_from_when_frames_can_be_inspected(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"fps": 20, "loop": True}
    camera = line.run("--duration", "1")["cameras"]["cam1"]
    assert camera["inspected"] >= 10  # the start of the line alone takes longer than a second


@pytest.mark.parametrize("role", ["infer", "ingest", "publish"])
def test_a_killed_worker_costs_no_frame_and_doubles_none(line: LineUnderTest, role: str) -> None:
    line.config["cameras"][0]["source"]["fps"] = 30  # long enough to be killed in the middle
    line.start()
    os.kill(line.pid_of(role, seen=5), signal.SIGKILL)
    summary = line.finish()
    camera = summary["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    assert [w["restarts"] for w in summary["workers"] if w["role"] == role] == [1]
    check_each_once(line)
    faults = [entry for entry in line.stored("alerts") if entry["verdict"] == "FAULT"]
    assert any("SIGKILL" in fault["data"] for fault in faults)


def test_the_embedded_store_may_be_killed(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"]["fps"] = 30
    line.start()
    line.pid_of("infer", seen=5)
    endpoint = json.loads((line.spool / "embedded-redis" / "endpoint.json").read_text())
    os.kill(endpoint["pid"], signal.SIGKILL)
    line.finish()
    check_each_once(line)


def test_pixels_travel_inline_over_tcp(line: LineUnderTest, free_ports: list[int]) -> None:
    names = ("cam1", "publish", "alerts")
    line.config["transport"] = {"kind": "tcp", "ports": dict(zip(names, free_ports, strict=True))}
    line.run()
    check_each_once(line)


def test_an_unreadable_picture_is_not_inspected_and_the_rest_goes_on(line: LineUnderTest) -> None:
    (line.folder / "parts" / "part0007.png").write_bytes(b"\x89PNG broken")
    summary = line.run()
    camera = summary["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"]) == (PICTURES, PICTURES - 1)
    assert camera["not_inspected"] == {"unreadable": 1}
    (entry,) = [e for e in line.stored("alerts") if e["verdict"] == "NOT_INSPECTED"]
    assert entry["frame_id"].endswith("/000007")


def test_pictures_of_other_sizes_are_inspected_too(line: LineUnderTest) -> None:
    for index, side in ((3, 200), (4, 31), (5, 64)):
        image = np.full((side, side + 10, 3), 250 if is_bright(index) else 10, np.uint8)
        cv2.imwrite(str(line.folder / "parts" / f"part{index:04d}.png"), image)
    line.run()
    check_each_once(line)


def test_a_picture_larger_than_a_slot_is_not_inspected_and_the_cure_is_named(line: LineUnderTest) -> None:
    line.config["cameras"][0]["max_frame_mb"] = 1
    cv2.imwrite(str(line.folder / "parts" / "part0004.png"), np.zeros((1100, 1000), np.uint8))
    summary = line.run()
    assert summary["cameras"]["cam1"]["not_inspected"] == {"frame_too_large": 1}
    assert "max_frame_mb" in line.output


def test_a_hung_engine_can_not_make_a_part_wait_beyond_its_deadline(line: LineUnderTest) -> None:
    line.config["cameras"][0] |= {"deadline_ms": 400}
    line.config["cameras"][0]["source"] |= {"fps": 15}
    line.start()
    worker = line.pid_of("infer", seen=5)
    os.kill(worker, signal.SIGSTOP)
    try:
        line.await_status(lambda status: status["cameras"]["cam1"]["not_inspected"].get("deadline", 0) >= 3)
    finally:
        os.kill(worker, signal.SIGCONT)
    summary = line.finish()
    camera = summary["cameras"]["cam1"]
    late = camera["not_inspected"]["deadline"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES - late, 0)
    verdicts = {int(e["frame_id"].rpartition("/")[2]): e["verdict"] for e in line.stored()}
    assert len(line.stored()) == len(verdicts) == PICTURES  # a late result does not overwrite, nor double
    assert sum(verdict == "NOT_INSPECTED" for verdict in verdicts.values()) == late


def test_a_hung_worker_is_replaced_though_its_process_lives(line: LineUnderTest) -> None:
    line.config["timeouts"] |= {"stall_s": 2}
    line.config["cameras"][0]["source"] |= {"fps": 20}
    line.start()
    os.kill(line.pid_of("infer", seen=5), signal.SIGSTOP)
    summary = line.finish()
    assert [w["restarts"] for w in summary["workers"] if w["role"] == "infer"] == [1]
    check_each_once(line)


def test_overload_sheds_the_oldest_and_counts_each(line: LineUnderTest) -> None:
    write_pictures(line.folder / "parts", 300)
    line.config["cameras"][0] |= {"on_overload": "drop_oldest", "ring_slots": 4}
    line.config["cameras"][0]["source"] |= {"fps": 100}
    line.start()
    worker = line.pid_of("infer", seen=1)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(1.0)
    os.kill(worker, signal.SIGCONT)
    summary = line.finish()
    camera = summary["cameras"]["cam1"]
    assert camera["captured"] == 300
    assert camera["dropped"]["overload"] > 10
    assert camera["captured"] == camera["inspected"] + camera["dropped"]["overload"]
    assert any("overload" in e["data"] for e in line.stored("alerts") if e["verdict"] == "FAULT")


def test_overload_tells_of_each_part_that_gave_way(line: LineUnderTest) -> None:
    source = {"kind": "synthetic", "fps": 100, "frames": 300, "size": "96x96", "loop_frames": 20}
    line.config["cameras"][0] |= {"source": source, "on_overload": "drop_oldest", "ring_slots": 4}
    line.start()
    worker = line.pid_of("infer", seen=1)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(1.0)
    os.kill(worker, signal.SIGCONT)
    camera = line.finish()["cameras"]["cam1"]
    assert (camera["captured"], camera["dropped"], camera["in_flight"]) == (300, {}, 0)
    assert camera["not_inspected"]["overload"] > 10
    told = [json.loads(e["data"]) for e in line.stored("alerts") if e["verdict"] == "NOT_INSPECTED"]
    assert {alert["reason"] for alert in told} == {"overload"}
    assert [alert["part_id"] for alert in told] == [f"part-{alert['seq']:06d}" for alert in told]
    assert len({alert["seq"] for alert in told}) == camera["not_inspected"]["overload"]


def test_a_full_disk_keeps_frames_waiting_and_gives_none_up(line: LineUnderTest) -> None:
    if not mount_small_disk(line.spool):
        pytest.skip("mounting a small disk of its own needs root")
    try:
        line.config["timeouts"] |= {"lease_ms": 300}
        line.config["cameras"][0]["source"] |= {"fps": 40}
        line.start()
        line.pid_of("infer", seen=5)
        ballast = fill(line.spool)
        time.sleep(4.0)  # longer than three leases
        ballast.unlink()
        camera = line.finish()["cameras"]["cam1"]
        assert (camera["inspected"], camera["not_inspected"]) == (PICTURES, {})
        check_each_once(line)
    finally:
        line.close()
        unmount(line.spool)


def test_ctrl_c_drains_and_ends_with_a_balanced_ledger(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"fps": 30, "loop": True}
    line.start()
    line.pid_of("infer", seen=10)
    assert line.process is not None
    line.process.send_signal(signal.SIGINT)
    camera = line.finish()["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] > 10
    assert camera["in_flight"] == 0


def test_a_line_that_was_killed_whole_tells_what_it_still_held(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"fps": 30, "loop": True}
    line.config["timeouts"] |= {"stall_s": 60}  # nobody replaces the worker while we look
    line.start()
    os.kill(line.pid_of("infer", seen=5), signal.SIGSTOP)
    held = line.await_status(lambda status: status["cameras"]["cam1"]["in_flight"] > 8 and status["cameras"]["cam1"])
    line.close()
    line.config["cameras"][0]["source"] |= {"loop": False}
    camera = line.run()["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"]) == (PICTURES, PICTURES)
    assert_held_frames_were_reported(line, held["captured"])


def assert_held_frames_were_reported(line: LineUnderTest, captured: int) -> None:
    """Of the one run that was killed, none is missing and none is there twice."""
    stored = line.stored()
    told = {e["frame_id"] for e in stored if "line_restarted" in e["data"]}
    (killed_run,) = {frame_id.split("/")[1] for frame_id in told}
    of_killed_run = sorted(int(e["frame_id"].split("/")[2]) for e in stored if f"/{killed_run}/" in e["frame_id"])
    assert of_killed_run == list(range(len(of_killed_run)))
    assert len(of_killed_run) >= captured


def fork_server_of(line: LineUnderTest) -> psutil.Process | None:
    assert line.process is not None
    children = psutil.Process(line.process.pid).children(recursive=True)
    return next((child for child in children if "pipeline.fork_server_process" in child.cmdline()), None)


def test_a_line_that_is_stopped_as_it_starts_reports_what_a_killed_one_held(line: LineUnderTest) -> None:
    """A request to end that reaches a worker before it listens must not end it there and then."""
    line.config["cameras"][0]["source"] |= {"fps": 30, "loop": True}
    line.config["timeouts"] |= {"stall_s": 60}
    line.start()
    os.kill(line.pid_of("infer", seen=5), signal.SIGSTOP)
    held = line.await_status(lambda status: status["cameras"]["cam1"]["in_flight"] > 8 and status["cameras"]["cam1"])
    line.close()
    line.start()
    await_that(lambda: fork_server_of(line))  # it still imports: the workers come later, and are asked to end at once
    line.interrupt()
    line.finish()
    assert_held_frames_were_reported(line, held["captured"])


def test_the_same_line_does_not_run_twice_at_once(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"loop": True}
    line.start()
    line.pid_of("infer")
    second = LineUnderTest(line.folder, line.config)
    second.start()
    assert second.process is not None
    output, _ = second.process.communicate(timeout=30)
    assert second.process.returncode == 2
    assert "runs already" in output
