"""Workers are forked from a process that has imported everything, and are children of the supervisor all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.processes.fork_server import ForkServer, NoFork
from tests.pipeline.console.browser import await_that
from tests.pipeline.harness import LineUnderTest


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


def test_what_a_command_says_and_how_it_ends_is_told(server: ForkServer, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert server.run_f2p(["keys", "--help"], {"COLUMNS": "90"}, log).wait(30) == 0
    assert "Usage: f2p keys" in log.read_text()
    assert server.run_f2p(["no-such-command"], {}, log).wait(30) == 2


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A log that makes its process wait for ever: it is a pipe that nobody reads."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_forked_process_is_a_child_with_a_life_of_its_own(server: ForkServer, pipe: Path) -> None:
    process = server.run_f2p(["keys"], {}, pipe)
    assert psutil.Process(process.pid).ppid() == os.getpid()
    with pytest.raises(TimeoutError, match="still runs"):
        process.wait(0.05)
    os.kill(server.pid, signal.SIGKILL)
    await_that(lambda: psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE)
    assert process.poll() is None
    process.kill()
    assert process.wait(10) == -signal.SIGKILL


def test_a_server_that_died_is_started_anew_by_the_next_order_or_before_it(server: ForkServer, tmp_path: Path) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert server.run_f2p(["keys", "--help"], {}, tmp_path / "log").wait(30) == 0
    died = server.pid
    os.kill(died, signal.SIGKILL)
    await_that(lambda: psutil.Process(died).status() == psutil.STATUS_ZOMBIE)
    server.keep()
    assert server.pid != died
    assert server.run_f2p(["keys", "--help"], {}, tmp_path / "log").wait(30) == 0


def test_a_server_that_can_t_run_is_an_error_with_the_command(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    server.close()
    server._start()
    with pytest.raises(NoFork, match="no process for f2p keys"):
        server.run_f2p(["keys"], {}, None)


def test_it_has_no_thread_that_a_fork_would_lose(server: ForkServer, tmp_path: Path) -> None:
    server.run_f2p(["keys", "--help"], {}, tmp_path / "log").wait(30)  # so it has imported all
    assert psutil.Process(server.pid).num_threads() == 1


def test_it_and_what_it_forked_end_with_their_keeper(pipe: Path) -> None:
    code = (
        "from pathlib import Path; from pipeline.processes.fork_server import ForkServer; import sys; s = ForkServer();"
        f"print(s.pid, s.run_f2p(['keys'], {{}}, Path({str(pipe)!r})).pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = list(map(int, parent.stdout.readline().split()))
    assert len(pids) == 2
    parent.kill()
    parent.wait(10)
    for pid in pids:
        await_that(lambda pid=pid: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    parent.communicate(timeout=10)


def test_a_line_goes_on_and_replaces_workers_when_its_fork_server_was_killed(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"] |= {"loop": True}
    line.start()
    killed = line.pid_of("publish", seen=5)
    assert line.process is not None
    children = psutil.Process(line.process.pid).children()
    (server,) = (child for child in children if child.name().startswith("python"))
    os.kill(server.pid, signal.SIGKILL)
    os.kill(killed, signal.SIGKILL)
    line.await_status(
        lambda status: next(w["pid"] for w in status["workers"] if w["role"] == "publish") not in (None, killed)
    )
    seen = line.await_status(lambda status: status["cameras"]["cam1"]["inspected"])
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] > seen + 10)
    line.interrupt()
    camera = line.finish()["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"]
    ids = [entry["frame_id"] for entry in line.stored()]
    assert len(ids) == len(set(ids)) == camera["captured"]
