"""A line on a watched folder, from the arriving file to the result that names it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.pipeline.harness import LineUnderTest, write_pictures


def _watch(line: LineUnderTest, **options: object) -> Path:
    folder = line.folder / "arriving"
    folder.mkdir()
    line.config["cameras"][0] = {
        "id": "cam1",
        "source": {"kind": "folder", "path": "arriving", "watch": True, **options},
    }
    return folder


def _arrive(line: LineUnderTest, folder: Path, first: int, last: int) -> None:
    """Move pictures of the fixture into the watched folder, the last number first."""
    for number in reversed(range(first, last)):
        (line.folder / f"parts/part{number:04d}.png").rename(folder / f"part{number:04d}.png")
        time.sleep(0.02)


def _files(line: LineUnderTest) -> list[str]:
    return [json.loads(entry["data"])["source_ref"]["file"] for entry in line.stored()]


def _run_until_inspected(line: LineUnderTest, folder: Path, first: int, last: int) -> None:
    line.start()
    _arrive(line, folder, first, last)
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] >= last - first)
    line.interrupt()
    assert line.process is not None
    line.output, _ = line.process.communicate(timeout=60)


def test_each_picture_is_inspected_once_over_two_runs(line: LineUnderTest) -> None:
    folder = _watch(line)
    _run_until_inspected(line, folder, 0, 4)
    (folder / "part0000.png").unlink()  # what a number would stumble over
    _run_until_inspected(line, folder, 4, 10)  # more than the first run, whose counts are read at first

    files = _files(line)
    assert files == [f"part{number:04d}.png" for number in (3, 2, 1, 0, 9, 8, 7, 6, 5, 4)]
    by_name = {name: json.loads(entry["data"]) for name, entry in zip(files, line.stored(), strict=True)}
    assert by_name["part0003.png"]["verdict"] == "NG"
    assert by_name["part0003.png"]["source_ref"] == {"file": "part0003.png", "frame": None}


def test_pictures_are_moved_when_their_verdict_is_durable(line: LineUnderTest) -> None:
    folder = _watch(line, done_dir="done")
    _run_until_inspected(line, folder, 0, 5)

    assert sorted(path.name for path in (line.folder / "done").iterdir()) == [f"part{n:04d}.png" for n in range(5)]
    assert not list(folder.glob("*.png"))


def test_name_that_is_not_utf8_and_a_torn_file_are_named_in_results_alerts_and_faults(line: LineUnderTest) -> None:
    name = os.fsdecode(b"part-\xff\x1b[2J.png")
    source = write_pictures(line.folder / "odd", 1)
    (source / "part0000.png").rename(source / name)
    (source / "torn.png").write_bytes(b"no picture")
    line.config["cameras"][0]["source"] = {"kind": "folder", "path": "odd"}

    summary = line.run()

    assert summary["cameras"]["cam1"]["not_inspected"] == {"unreadable": 1}
    by_file = {json.loads(entry["data"])["source_ref"]["file"]: entry["verdict"] for entry in line.stored()}
    assert by_file == {r"part-\xff\x1b[2J.png": "NG", "torn.png": "NOT_INSPECTED"}
    alerts = [json.loads(entry["data"]) for entry in line.stored("alerts")]
    assert {a["source_ref"]["file"] for a in alerts if a["verdict"] != "FAULT"} == set(by_file)
    assert any("torn.png: not an image" in str(alert) for alert in alerts)
