"""Files of a running line that somebody removes: rings, sockets, lock, the whole run folder. Nothing may go silent."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from f2pnet.config import load_line
from pipeline.frames.shared_memory import SHARED_MEMORY
from pipeline.wire.rundir import RunDir
from tests.pipeline.harness import LineUnderTest, is_bright
from tests.pipeline.supervision.test_line import check_each_once
from tests.pipeline.supervision.test_reload import reload

PICTURES = 90


def run_dir_of(line: LineUnderTest) -> RunDir:
    return RunDir(load_line(line.file), line.file)


def ring_of(line: LineUnderTest, camera: str = "cam1") -> Path:
    return SHARED_MEMORY / run_dir_of(line).ring_name(camera)


def faults_of(line: LineUnderTest) -> list[str]:
    return [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]


def goes_on(line: LineUnderTest, camera: str = "cam1", by: int = 10) -> None:
    """Wait until so many more frames are inspected."""
    seen = line.await_status(lambda status: status["cameras"][camera]["inspected"])
    line.await_status(lambda status: status["cameras"][camera]["inspected"] >= seen + by)


@pytest.fixture
def slow_line(line: LineUnderTest) -> LineUnderTest:
    """90 pictures in nine seconds: time to remove things in between."""
    line.config["cameras"][0]["source"]["fps"] = 10
    return line


@pytest.mark.parametrize("victims", [(), ("ingest",), ("infer",), ("infer", "ingest")])
def test_a_ring_that_is_removed_costs_no_frame(slow_line: LineUnderTest, victims: tuple[str, ...]) -> None:
    line = slow_line
    line.start()
    pids = [line.pid_of(role, seen=5) for role in victims]
    line.pid_of("infer", seen=5)
    ring_of(line).unlink()
    for pid in pids:  # at once, before anybody can notice
        os.kill(pid, signal.SIGKILL)
    camera = line.finish()["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    check_each_once(line)
    assert any("frame ring" in fault and "removed" in fault for fault in faults_of(line))


def test_a_ring_that_is_removed_while_frames_are_held_takes_them_along(slow_line: LineUnderTest) -> None:
    line = slow_line
    line.config["timeouts"] |= {"stall_s": 60}
    line.start()
    worker = line.pid_of("infer", seen=5)
    os.kill(worker, signal.SIGSTOP)
    line.await_status(lambda status: status["cameras"]["cam1"]["in_flight"] >= 10)
    inode = ring_of(line).stat().st_ino
    ring_of(line).unlink()
    line.await_status(lambda status: ring_of(line).exists() and ring_of(line).stat().st_ino != inode)
    os.kill(worker, signal.SIGCONT)
    line.finish()
    check_each_once(line)


def test_a_ring_that_is_gone_with_the_whole_line_begins_another_run(slow_line: LineUnderTest) -> None:
    line = slow_line
    line.start()
    line.pid_of("infer", seen=5)
    ring_of(line).unlink()
    line.close()
    ring_of(line).unlink(missing_ok=True)  # it may have been made anew just before
    line.config["cameras"][0]["source"]["fps"] = 40
    line.run()
    runs: dict[str, set[int]] = {}
    for entry in line.stored():
        _, run, seq = entry["frame_id"].split("/")
        assert int(seq) not in runs.setdefault(run, set())
        runs[run].add(int(seq))
    assert len(runs) == 2
    assert max(runs.values(), key=len) == set(range(PICTURES))


def cut(ring: Path) -> None:
    os.truncate(ring, 0)


def cut_in_half(ring: Path) -> None:
    os.truncate(ring, ring.stat().st_size // 2)


def write_over_its_head(ring: Path) -> None:
    with ring.open("r+b") as file:
        file.write(bytes(4096))


def put_a_folder_there(ring: Path) -> None:
    ring.unlink()
    ring.mkdir()


@pytest.mark.parametrize("damage", [cut, cut_in_half, write_over_its_head, put_a_folder_there])
def test_a_ring_that_is_damaged_costs_its_camera_what_it_held_and_nobody_else_anything(
    slow_line: LineUnderTest, damage: Callable[[Path], None]
) -> None:
    line = slow_line
    (first,) = line.config["cameras"]
    first["source"] |= {"loop": True}
    line.config["cameras"].append(first | {"id": "cam2"})
    line.start()
    line.pid_of("infer", seen=5)
    ring = ring_of(line)
    before = ring.stat().st_ino
    damage(ring)
    line.await_status(lambda status: ring.is_file() and ring.stat().st_ino != before)
    goes_on(line)
    goes_on(line, "cam2")
    line.interrupt()
    cameras = line.finish()["cameras"]
    assert all(camera["captured"] == camera["inspected"] for camera in cameras.values())
    told = faults_of(line)
    if damage is put_a_folder_there:  # the ring itself was removed, not damaged
        assert any("was removed from shared memory" in fault for fault in told)
        shutil.rmtree(next(SHARED_MEMORY.glob(f"{ring.name}.unreadable-*")))
    else:
        assert any("was cut or written over by another program" in fault for fault in told)
        next(SHARED_MEMORY.glob(f"{ring.name}.unreadable-*")).unlink()
    ids = [entry["frame_id"] for entry in line.stored()]
    assert len(ids) == len(set(ids))
    of_the_other = sorted(int(name.split("/")[2]) for name in ids if name.startswith("cam2/"))
    assert of_the_other == list(range(cameras["cam2"]["captured"]))


def remove_run_folder(line: LineUnderTest) -> None:
    shutil.rmtree(run_dir_of(line).path)


def remove_all_that_leads_there(line: LineUnderTest) -> None:
    shutil.rmtree(run_dir_of(line).path.parents[1])


def remove_sockets(line: LineUnderTest) -> None:
    for path in run_dir_of(line).path.glob("*.ipc"):
        path.unlink()


def remove_everything(line: LineUnderTest) -> None:
    remove_run_folder(line)
    ring_of(line).unlink()


@pytest.mark.parametrize("remove", [remove_run_folder, remove_all_that_leads_there, remove_sockets, remove_everything])
def test_workers_find_one_another_again_though_their_files_were_removed(
    slow_line: LineUnderTest, remove: Callable[[LineUnderTest], None]
) -> None:
    line = slow_line
    line.config["engine"]["workers"] = 2
    line.start()
    victims = [line.pid_of(role, seen=5) for role in ("publish", "infer", "ingest")]
    remove(line)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
        goes_on(line, by=3)
    camera = line.finish()["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    check_each_once(line)


@pytest.mark.parametrize("what", ["lock", "folder"])
def test_a_line_is_not_started_twice_though_its_lock_was_removed(line: LineUnderTest, what: str) -> None:
    line.config["cameras"][0]["source"] |= {"loop": True}
    line.start()
    line.pid_of("infer", seen=5)
    if what == "lock":
        (run_dir_of(line).path / "lock").unlink()
    else:
        remove_run_folder(line)
    second = LineUnderTest(line.folder, line.config)
    second.start()
    assert second.process is not None
    output, _ = second.process.communicate(timeout=60)
    assert (second.process.returncode, "runs already" in output) == (2, True), output
    goes_on(line)
    assert line.process is not None
    assert run_dir_of(line).running_pid() == line.process.pid
    assert reload(line).returncode == 0
    line.interrupt()
    line.finish()


def test_a_camera_that_comes_back_goes_on_with_its_numbers(slow_line: LineUnderTest) -> None:
    """Removed and added again by reload, with its ring removed in between."""
    line = slow_line
    first = line.config["cameras"][0]
    first["source"] |= {"loop": True}
    second = {**first, "id": "cam2"}
    line.config["cameras"] = [first, second]
    line.start()
    line.await_status(lambda status: status["cameras"]["cam2"]["inspected"] > 5)
    line.config["cameras"] = [first]
    assert reload(line).returncode == 0
    _await_end_of(line, "ingest-cam2")
    ring_of(line, "cam2").unlink()
    line.config["cameras"] = [first, second]
    assert reload(line).returncode == 0
    goes_on(line, "cam2")
    line.interrupt()
    line.finish()
    seqs: dict[str, list[int]] = {}
    for entry in line.stored():
        camera, run, seq = entry["frame_id"].split("/")
        seqs.setdefault(f"{camera}/{run}", []).append(int(seq))
    for frames in seqs.values():
        assert sorted(frames) == list(range(len(frames)))  # none is missing, none is there twice
    verdicts = {e["frame_id"]: e["verdict"] for e in line.stored()}
    for frame_id, verdict in verdicts.items():
        if frame_id.startswith("cam1/"):
            assert verdict == ("NG" if is_bright(int(frame_id.split("/")[2]) % PICTURES) else "OK")


def _await_end_of(line: LineUnderTest, worker: str) -> None:
    """A worker that ended in order leaves the table of workers."""
    line.await_status(lambda status: all(w["name"] != worker for w in status["workers"]))
