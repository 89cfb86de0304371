"""The commands of the README, in its order, in a folder of their own: what a new user types has to work."""

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
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from f2pnet.config.sources import SyntheticSource
from f2pnet.redis_endpoint import find_embedded
from pipeline.sources.conveyor import belts, write_dataset
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split(" #")[0].strip() for language, text in BLOCKS if language == "sh" for line in text.splitlines() if line
]
SCRIPTS = [text for language, text in BLOCKS if language == "python"]
F2P = [sys.executable, "-m", "f2pnet.cli"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder: the project's configurations, and some pictures."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    belt = belts(SyntheticSource(size="256x256", defect_rate=0.5), ("cast",), first_seed=9900, belts_per_texture=2)
    write_dataset(belt, folder / "made", count=12, test_share=0.5)
    shutil.copytree(folder / "made" / "images", folder / "my-images")
    first = next((folder / "my-images").iterdir())
    shutil.copy(first, folder / "my-images" / "part.png")
    runtime = Path("/tmp") / f"f2p-readme-{os.getpid()}"  # noqa: S108 - Unix socket paths must be short
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    yield folder
    del os.environ["XDG_RUNTIME_DIR"]
    shutil.rmtree(runtime, ignore_errors=True)


def run(command: list[str], folder: Path, timeout_s: float = 100) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def command_starting(*words: str) -> list[str]:
    """The README's one command that starts with these words, ready to run here."""
    (found,) = [
        command for command in COMMANDS if command.startswith(" ".join(words) + " ") or command == " ".join(words)
    ]
    return [*F2P, *shlex.split(found)[1:]]


def test_every_command_of_the_readme_is_run_by_a_test_of_this_file() -> None:
    own_text = Path(__file__).read_text(encoding="utf-8")
    kinds = {" ".join(shlex.split(command)[:2]) for command in COMMANDS}
    for kind in kinds - {"pip install", "make demo", "make setup"}:
        assert f'"{kind.split()[1]}"' in own_text, kind


@pytest.mark.parametrize("target", ["demo", "setup", "test"])
def test_the_make_targets_are_there(target: str) -> None:
    assert f"make {target}" in README
    run(["make", "-n", target], REPOSITORY)


def test_the_extras_that_the_readme_installs_are_there() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"'\.\[([\w,-]+)\]'", README):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_inspect(sandbox: Path) -> None:
    run(command_starting("f2p", "inspect"), sandbox)
    lines = (sandbox / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(list((sandbox / "my-images").iterdir()))
    assert {json.loads(line)["verdict"] for line in lines} <= {"OK", "NG"}


def test_the_inspector_script(sandbox: Path) -> None:
    (script,) = [text for text in SCRIPTS if "Inspector" in text]
    assert run([sys.executable, "-c", script], sandbox).startswith(("OK", "NG"))


def test_run_on_a_folder(sandbox: Path) -> None:
    assert "balanced" in run(command_starting("f2p", "run", "--source"), sandbox)


def test_check(sandbox: Path) -> None:
    assert "FAILS" not in run(command_starting("f2p", "check"), sandbox)


@pytest.fixture
def running_demo_line(sandbox: Path) -> Iterator[Path]:
    """The README's line, while its other commands look at it."""
    command = command_starting("f2p", "run", "configs/lines/demo.yaml")
    line = subprocess.Popen(command, cwd=sandbox, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
    data = sandbox / "spool" / "demo" / "embedded-redis"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        status = subprocess.run(
            command_starting("f2p", "status"), cwd=sandbox, capture_output=True, text=True, timeout=30, check=False
        )
        if "running" in status.stdout:
            break
    yield data
    if line.poll() is None:
        line.send_signal(signal.SIGINT)
    line.wait(timeout=60)
    assert (sandbox / "summary.json").exists()


def test_status_alerts_and_subscription_on_a_running_line(sandbox: Path, running_demo_line: Path) -> None:
    assert "cam2" in run(command_starting("f2p", "status"), sandbox)
    url = find_embedded(running_demo_line)
    (script,) = [text for text in SCRIPTS if "subscribe" in text]
    script = script.replace("redis://127.0.0.1:6379", url)
    for command in (command_starting("f2p", "alerts"), [sys.executable, "-u", "-c", script]):
        follower = subprocess.Popen(command, cwd=sandbox, stdout=subprocess.PIPE, text=True)
        try:
            assert follower.stdout is not None
            first = follower.stdout.readline()
            assert "NG" in first or "NOT_INSPECTED" in first or "cam" in first
        finally:
            psutil.Process(follower.pid).kill()
            follower.wait(timeout=10)
            follower.stdout.close()


def test_conveyor_train_and_export(sandbox: Path) -> None:
    run(command_starting("f2p", "conveyor"), sandbox)
    run(command_starting("f2p", "train"), sandbox, timeout_s=400)
    run(command_starting("f2p", "export"), sandbox)
    assert "all hashes match" in run(command_starting("f2p", "engine"), sandbox)
