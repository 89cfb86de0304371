"""Cameras that are added, changed and removed while their line runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import Any

import pytest
import yaml

from f2pnet.config import load_line
from f2pnet.errors import ConfigError, F2pError
from pipeline.frames.ring import RingReader
from pipeline.supervision.reload import line_changes
from pipeline.wire.rundir import RunDir
from tests.pipeline.console.browser import await_that
from tests.pipeline.harness import LineUnderTest, write_pictures


def reload(line: LineUnderTest) -> subprocess.CompletedProcess[str]:
    """Write the line's configuration and have the line take it up."""
    line.file.write_text(yaml.safe_dump(line.config, sort_keys=False))
    command = [sys.executable, "-m", "f2pnet.cli", "reload", str(line.file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def folder_camera(line: LineUnderTest, name: str, pictures: int, fps: float) -> dict[str, object]:
    write_pictures(line.folder / name, pictures)
    return {**line.config["cameras"][0], "id": name, "source": {"kind": "folder", "path": name, "fps": fps}}


def test_cameras_come_and_go_and_the_others_do_not_notice(line: LineUnderTest) -> None:
    first = line.config["cameras"][0]
    first["source"] |= {"loop": True}
    line.start()
    line.pid_of("infer", seen=5)
    line.config["cameras"] = [first, folder_camera(line, "cam2", 60, 20)]
    assert reload(line).returncode == 0
    line.await_status(lambda status: status["cameras"].get("cam2", {}).get("inspected", 0) > 5)

    line.config["cameras"] = [folder_camera(line, "cam2", 60, 40), folder_camera(line, "cam3", 30, 20)]
    assert reload(line).returncode == 0  # cam1 leaves, cam2 changes in the middle, cam3 comes
    summary = line.finish()  # cam2 and cam3 end by themselves, and nothing else is left

    cameras = summary["cameras"]
    assert (cameras["cam2"]["inspected"], cameras["cam3"]["inspected"]) == (60, 30)
    assert cameras["cam1"]["captured"] == cameras["cam1"]["inspected"] > 5
    assert all(camera["in_flight"] == 0 for camera in cameras.values())
    stored = Counter(entry["frame_id"] for entry in line.stored())
    assert set(stored.values()) == {1}
    assert len(stored) == sum(camera["captured"] for camera in cameras.values())
    restarted = {worker["name"]: worker["restarts"] for worker in summary["workers"]}
    assert restarted == dict.fromkeys(("publish", "infer-0", "ingest-cam1", "ingest-cam2", "ingest-cam3"), 0)


def test_a_file_that_does_not_fit_changes_nothing(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"loop": True}
    line.start()
    line.pid_of("infer", seen=5)
    line.config["publish"]["spool"]["max_mb"] = 99
    assert reload(line).returncode == 0
    time.sleep(0.5)
    seen = line.await_status(lambda status: status["cameras"]["cam1"]["inspected"])
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] > seen + 10)
    line.interrupt()
    line.finish()
    assert "only cameras and the recipe can be changed while the line runs; publish changed too" in line.output


def test_the_page_stays_and_shows_the_cameras_that_there_are(line: LineUnderTest, free_ports: list[int]) -> None:
    def page(status: dict[str, Any]) -> int:
        return next((int(w["pid"] or 0) for w in status["workers"] if w["role"] == "console"), 0)

    def shown() -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{free_ports[0]}/api/state", timeout=10) as answer:
            return sorted(json.load(answer)["cameras"])

    line.config["cameras"][0]["source"] |= {"loop": True}
    line.config["console"] = {"port": free_ports[0]}
    line.start()
    line.pid_of("infer", seen=5)
    first = line.await_status(page)
    name = RunDir(load_line(line.file), line.file).ring_name("cam1")
    line.config["cameras"][0] |= {"ring_slots": 24}
    line.config["cameras"].append(folder_camera(line, "cam2", 20, 20))
    assert reload(line).returncode == 0
    line.await_status(lambda status: _slots(name) == 24 and status["cameras"]["cam1"]["inspected"] > 20)
    await_that(lambda: shown() == ["cam1", "cam2"])
    del line.config["cameras"][1]
    assert reload(line).returncode == 0
    await_that(lambda: shown() == ["cam1"])
    assert line.await_status(page) == first
    line.interrupt()
    line.finish()


def _slots(ring: str) -> int:
    try:
        reader = RingReader(ring)
    except F2pError:  # just replaced
        return 0
    try:
        return reader.memory.geometry.slots
    finally:
        reader.close()


def test_a_line_that_does_not_run_can_not_be_told(line: LineUnderTest) -> None:
    told = reload(line)
    assert told.returncode == 3
    assert "does not run" in told.stderr


def test_what_changed_is_named(line: LineUnderTest) -> None:
    line.config["cameras"].append(folder_camera(line, "cam2", 1, 1))
    line.file.write_text(yaml.safe_dump(line.config))
    before = load_line(line.file)
    line.config["cameras"] = [{**line.config["cameras"][1], "ring_slots": 9}, folder_camera(line, "cam3", 1, 1)]
    line.file.write_text(yaml.safe_dump(line.config))
    changes = line_changes(before, load_line(line.file))
    assert (changes.added, changes.removed, changes.changed) == (["cam3"], ["cam1"], ["cam2"])
    line.config["engine"]["max_batch"] = 2
    line.file.write_text(yaml.safe_dump(line.config))
    with pytest.raises(ConfigError, match="engine changed too"):
        line_changes(before, load_line(line.file))
