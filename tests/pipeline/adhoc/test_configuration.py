"""`f2p run --source`: what it leaves, what it says, and when it is no success."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from f2pnet.errors import ExitCode
from pipeline.frames.shared_memory import SHARED_MEMORY
from tests.pipeline.harness import write_pictures

F2P = Path(sys.executable).with_name("f2p")
LIMIT_S = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The current folder of somebody who runs `f2p`, with runtime and temporary folders of its own."""
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    with tempfile.TemporaryDirectory(prefix="f2p-t-", dir="/tmp") as runtime:
        write_pictures(tmp_path / "work" / "my-images", 6)
        (tmp_path / "environment").write_text(runtime)
        yield tmp_path / "work"


def environment(folder: Path) -> dict[str, str]:
    runtime = (folder.parent / "environment").read_text()
    return {**os.environ, "XDG_RUNTIME_DIR": runtime, "TMPDIR": str(folder.parent / "tmp"), "COLUMNS": "80"}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [F2P, "run", *arguments, "--no-table"]
    return subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def left_in(folder: Path) -> list[str]:
    """Temporary folders, run folders and shared memory of ad-hoc lines."""
    runtime = Path((folder.parent / "environment").read_text())
    places = [*(folder.parent / "tmp").glob("f2p-*"), *runtime.glob("f2p/*")]
    names = {path.name for path in runtime.glob("f2p/*")}
    rings = [path for path in SHARED_MEMORY.iterdir() if any(path.name.startswith(f"{name}.") for name in names)]
    return [str(path) for path in [*places, *rings]]


def test_a_relative_folder_is_inspected_and_nothing_but_results_and_evidence_stays(
    folder: Path, toy_bundle: Path
) -> None:
    done = run(folder, "--source", "my-images/", "--engine", str(toy_bundle), "--summary", "s.json")

    assert done.returncode == ExitCode.OK, done.stderr
    assert json.loads((folder / "s.json").read_text())["cameras"]["cam1"]["captured"] == 6
    (results,) = (folder / "results").iterdir()
    verdicts = {json.loads(line)["seq"]: json.loads(line)["verdict"] for line in results.read_text().splitlines()}
    assert verdicts == {seq: "NG" if seq % 3 == 0 else "OK" for seq in range(6)}
    assert len(list((folder / "evidence").rglob("*_NG.jpg"))) == 2
    assert f"results:   {results} (6 verdicts)" in done.stdout
    assert f"evidence:  {folder / 'evidence'}\n" in done.stdout
    assert "last NG:" in done.stdout
    assert re.search(r"page: +http://127\.0\.0\.1:\d+/", done.stderr)
    assert sorted(path.name for path in folder.iterdir()) == ["evidence", "my-images", "results", "s.json"]
    assert left_in(folder) == []


def test_results_and_evidence_go_where_they_are_told_to(folder: Path, toy_bundle: Path) -> None:
    done = run(folder, "--source", "my-images", "--engine", str(toy_bundle), "--out", "deep/out")

    assert done.returncode == ExitCode.OK, done.stderr
    assert sorted(path.name for path in (folder / "deep" / "out").iterdir()) == ["evidence", "results"]


SILENT = {
    "an empty folder": (["--source", "empty"], "camera cam1: no images in "),
    "a folder without pictures": (["--source", "notes"], "no images in "),
    "a file that is no video": (["--source", "no.mp4"], "can't be opened"),
    "one of two sources": (["--source", "synthetic:cast?frames=3", "--source", "empty"], "camera cam2: no images in "),
    "a camera that never answers": (
        ["--source", "rtsp://127.0.0.1:9/live", "--duration", "2"],
        "cam1 (rtsp rtsp://127",
    ),
}


@pytest.mark.parametrize("case", SILENT)
def test_a_source_that_gave_nothing_is_no_success(case: str, folder: Path, toy_bundle: Path) -> None:
    for name in ("empty", "notes"):
        (folder / name).mkdir()
    (folder / "notes" / "read.me").write_text("no picture")
    (folder / "no.mp4").write_text("no video")
    arguments, words = SILENT[case]

    done = run(folder, *arguments, "--engine", str(toy_bundle))

    assert done.returncode == ExitCode.MISSING
    last = done.stderr.splitlines()[-1]
    assert last.startswith("f2p: ")
    assert words in last
    assert left_in(folder) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--source", "nowhere"],
        ["--source", "nowhere.mp4"],
        ["--source", "my-images", "--engine", "nowhere"],
        ["--source", "my-images", "--summary", "nowhere/s.json"],
        ["--source", "my-images", "--out", "my-images/part0000.png"],
        ["--source", "my-images", "--duration", "0"],
        ["nowhere.yaml"],
        [],
    ],
)
def test_what_can_not_work_ends_before_it_begins(arguments: list[str], folder: Path) -> None:
    done = run(folder, *arguments)

    assert done.returncode in (ExitCode.USAGE, ExitCode.MISSING)
    assert done.stderr.splitlines()[-1].startswith("f2p")
    assert "Traceback" not in done.stderr
    assert not (folder / "evidence").exists()
    assert left_in(folder) == []


def test_what_a_killed_line_left_is_gone_after_the_next_start(folder: Path, toy_bundle: Path) -> None:
    command = [F2P, "run", "--source", "synthetic:cast?fps=10", "--engine", toy_bundle, "--no-console"]
    with subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL) as killed:
        until_s = time.monotonic() + LIMIT_S
        while not any("ring" in name for name in left_in(folder)):
            assert time.monotonic() < until_s
            time.sleep(0.1)
        while not any(path.read_text() for path in (folder / "results").iterdir()):  # results come while it runs
            assert time.monotonic() < until_s
            time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    assert any("ring" in name for name in left_in(folder))

    other = [F2P, "run", "--source", "synthetic:cast?frames=2", "--engine", toy_bundle, "--no-console"]
    subprocess.run(
        other, cwd=elsewhere, env=environment(folder), timeout=LIMIT_S, check=True, stderr=subprocess.DEVNULL
    )

    assert left_in(folder) == []


def test_a_line_that_runs_is_not_taken_for_a_leftover(folder: Path, toy_bundle: Path) -> None:
    command = [F2P, "run", "--source", "synthetic:cast?fps=10", "--engine", toy_bundle, "--no-console"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        until_s = time.monotonic() + LIMIT_S
        while not any("ring" in name for name in left_in(folder)):
            assert time.monotonic() < until_s
            time.sleep(0.1)
        assert run(folder, "--source", "my-images", "--engine", str(toy_bundle)).returncode == ExitCode.OK
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=LIMIT_S)
    assert running.returncode == ExitCode.OK
    assert "balanced" in out
    assert left_in(folder) == []


def test_a_password_is_shown_nowhere(folder: Path, toy_bundle: Path) -> None:
    secret = "eim9"
    uri = f"rtsp://admin:{secret}@127.0.0.1:9/user={secret}?token={secret}"
    command = [F2P, "run", "--source", uri, "--engine", toy_bundle, "--no-console", "--duration", "3"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        until_s = time.monotonic() + LIMIT_S
        while "***" not in " ".join(psutil.Process(process.pid).cmdline()):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        seen = []
        while process.poll() is None:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for member in family:
                try:
                    seen += member.cmdline()
                except psutil.Error:  # it has just ended
                    continue
            time.sleep(0.2)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == ExitCode.MISSING
    assert secret not in " ".join(seen)
    assert secret not in out
    assert "rtsp://***@127.0.0.1:9/***" in out


def test_the_live_table_of_a_terminal_fits_80_columns(folder: Path, toy_bundle: Path) -> None:
    ours, theirs = pty.openpty()
    command = [F2P, "run", "--source", "my-images", "--engine", toy_bundle]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    shown = b""
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
    process.wait(LIMIT_S)
    os.close(ours)
    text = shown.decode()
    assert process.returncode == ExitCode.OK, text
    assert "balanced" in text
    assert "results:" in text
    assert left_in(folder) == []
