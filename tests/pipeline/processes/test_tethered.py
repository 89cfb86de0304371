from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from pipeline.processes.tethered import tethered

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_command_gets_its_arguments_input_and_exit_code() -> None:
    program = "import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(7)"

    done = subprocess.run(
        tethered([sys.executable, "-c", program, "a b", "$c"]), input="in", capture_output=True, text=True, timeout=20
    )

    assert done.stdout == "['a b', '$c'] in\n"
    assert done.returncode == 7


def test_the_command_dies_with_its_killed_parent() -> None:
    program = (
        "import subprocess, sys, time\n"
        "from pipeline.processes.tethered import tethered\n"
        "command = [sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)']\n"
        "child = subprocess.Popen(tethered(command), stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))

    parent.kill()
    parent.wait(5)

    limit = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit, "the child outlived its parent by 5 s"
        time.sleep(0.01)


def test_a_command_whose_parent_is_gone_already_does_not_begin() -> None:
    command = tethered([sys.executable, "-c", "print('began')"])
    command[command.index(str(os.getpid()))] = "1"  # as if that one had ended and init had taken the child

    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert done.returncode != 0
    assert done.stdout == ""
    assert "parent ended" in done.stderr
