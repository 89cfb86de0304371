"""The README from top to bottom, as written, in a folder that holds nothing but the project's configurations.

Left out here are the commands that install or build (`make demo`, `make setup`, `make priors`): the suite runs where
they have been run. Without the weights that `make priors` brings, training is skipped.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split(" #")[0].strip() for language, text in BLOCKS if language == "sh" for line in text.splitlines() if line
]
SCRIPTS = [text for language, text in BLOCKS if language == "python"]
INSTALLING = {"make demo", "make setup", "make priors", 'export PATH="$PWD/.venv/bin:$PATH"'}
PICTURES = 240
START_S = 150.0
pytestmark = pytest.mark.timeout(900)
run_already: set[str] = set()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a new user stands."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    runtime = Path("/tmp") / f"f2p-readme-{os.getpid()}"  # noqa: S108 - Unix socket paths must be short
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    yield folder
    del os.environ["XDG_RUNTIME_DIR"]
    shutil.rmtree(runtime, ignore_errors=True)


def shown(*words: str) -> str:
    """The README's one command that begins with these words."""
    begin = shlex.join(words)
    (found,) = [command for command in COMMANDS if f"{command} ".startswith(f"{begin} ")]
    run_already.add(found)
    return found


def environment() -> dict[str, str]:
    """With our command on the PATH, and output that is not held back."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # One thread of torch: several wait for each other on a machine that does other work too.
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


def run(command: str | list[str], folder: Path, timeout_s: float = 400, code: int = 0) -> str:
    words = shlex.split(command) if isinstance(command, str) else command
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == code, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def going_on(
    command: str | list[str], folder: Path, output: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """What would run until Ctrl-C; it gets one at the end."""
    words = shlex.split(command) if isinstance(command, str) else command
    process = subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=output, stderr=subprocess.DEVNULL, text=True, process_group=0
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="module")
def pictures(desk: Path) -> Path:
    """The desk, with the pictures that the README has one make."""
    run(shown("f2p", "conveyor"), desk)
    return desk


def test_pictures_are_made_and_inspected(pictures: Path) -> None:
    desk = pictures
    run(shown("f2p", "inspect", "--engine", "configs/engines/surface-nano"), desk)

    results = results_in(desk / "out")
    assert len(results) == len(list((desk / "my-data/images").iterdir())) == PICTURES
    assert {result["verdict"] for result in results} == {"OK", "NG"}
    assert len(list((desk / "out").rglob("*.jpg"))) >= sum(result["verdict"] == "NG" for result in results)


def test_the_inspector_script(pictures: Path) -> None:
    desk = pictures
    (script,) = [text for text in SCRIPTS if "Inspector" in text]

    assert run([sys.executable, "-c", script], desk).startswith(("OK", "NG"))
    assert cv2.imread(str(desk / "shown.jpg")) is not None


def test_a_line_of_one_word_inspects_the_folder_and_says_where_the_results_are(pictures: Path) -> None:
    desk = pictures
    told = run(f"{shown('f2p', 'run', '--source')} --summary one-word.json", desk)

    camera = json.loads((desk / "one-word.json").read_text())["cameras"]["cam1"]
    assert camera["captured"] > 0
    assert (
        camera["inspected"] + sum(camera["dropped"].values()) + sum(camera["not_inspected"].values())
        == camera["captured"]
    )
    assert camera["in_flight"] == 0
    (results,) = re.findall(r"results: *(\S+\.jsonl)", told)[:1]
    assert len(Path(results).read_text().splitlines()) == camera["captured"]


def test_the_line_of_the_file_is_checked(desk: Path) -> None:
    told = run(shown("f2p", "check"), desk)

    assert "FAILS" not in told
    assert "cam2" in told


def test_a_running_line_shows_its_status_and_its_alerts_arrive(desk: Path) -> None:
    (script,) = [text for text in SCRIPTS if "subscribe" in text]
    with going_on(shown("f2p", "run", "configs/lines/demo.yaml"), desk) as line:
        await_inspection(desk, line)
        assert re.search(r"cam2.*balanced", run(shown("f2p", "status"), desk))
        for reader in (shlex.split(shown("f2p", "alerts")), [sys.executable, "-c", script]):
            with going_on(reader, desk, subprocess.PIPE) as follower:
                assert follower.stdout is not None
                first = follower.stdout.readline()
                assert re.search(r"NG|NOT_INSPECTED", first), first
                assert re.search(r"cam[12]", first), first
    summary = json.loads((desk / "summary.json").read_text())
    assert sum(camera["captured"] for camera in summary["cameras"].values()) > 0


def await_inspection(desk: Path, line: subprocess.Popen[str]) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert line.poll() is None, "the line ended early"
        asked = subprocess.run(
            [*shlex.split(shown("f2p", "status")), "--json"],
            cwd=desk, env=environment(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if asked.returncode == 0 and all(c["inspected"] > 0 for c in json.loads(asked.stdout)["cameras"].values()):
            return
        time.sleep(0.5)
    raise AssertionError(f"no verdict within {START_S} s")


def results_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.timeout(1800)
def test_training_and_export_end_with_an_engine_that_sees_defects(pictures: Path) -> None:
    desk, weights = pictures, REPOSITORY / "pretrained"
    train, export = shown("f2p", "train"), shown("f2p", "export")
    inspect = shown("f2p", "inspect", "--engine", "my-engine/")
    if not weights.is_dir():
        pytest.skip("no pretrained weights here: make priors")
    (desk / "pretrained").symlink_to(weights)
    assert "starts from sam" in run(train, desk, timeout_s=1200)
    run(export, desk, timeout_s=300)
    run(inspect, desk, timeout_s=300)

    verdicts = {Path(result["image"]).name: result["verdict"] for result in results_in(desk / "found")}
    records = json.loads((desk / "my-data/test.json").read_text())
    good, defective = (
        [verdicts[Path(record["image"]).name] for record in records if record["label"] == label] for label in (0, 1)
    )
    assert defective.count("NG") >= 0.75 * len(defective) > 10
    assert good.count("NG") <= len(good) / 3


def test_no_command_of_the_readme_was_left_out() -> None:
    missing = set(COMMANDS) - INSTALLING - run_already
    assert not missing or not run_already, missing  # nothing has run when this test is run alone


@pytest.mark.parametrize("target", ["demo", "setup", "priors", "test"])
def test_the_make_targets_are_there(target: str) -> None:
    assert f"make {target}" in README
    run(["make", "-n", target], REPOSITORY)


def test_the_pythons_that_the_readme_names_are_the_tested_ones() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if "Python :: 3." in line]
    assert f"Python {tested[0]} to {tested[-1]}" in README
