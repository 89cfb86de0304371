"""The supervisor by itself: workers that die as they start, and its own second signal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import yaml

from f2pnet.errors import ExitCode
from pipeline.supervision.supervisor import CRASH_LOOP_DEATHS, Supervisor, WorkerLost, WorkerSpec
from tests.pipeline.harness import LineUnderTest

PATIENCE_S = 60.0


@pytest.fixture
def failing(line: LineUnderTest) -> Iterator[tuple[Supervisor, list[str]]]:
    """A supervisor of one worker, whose engine is damaged, and why it was replaced each time."""
    bundle, logs = line.folder / "damaged", line.folder / "logs"
    for folder in (bundle, logs):
        folder.mkdir()
    (bundle / "manifest.json").write_text("{}")
    line.config["engine"]["bundle"] = str(bundle)
    line.file.write_text(yaml.safe_dump(line.config))
    reasons: list[str] = []
    supervisor = Supervisor(
        [WorkerSpec("infer-0", "infer", [str(line.file), "--name", "infer-0"])],
        stall_s=10.0,
        log_dir=logs,
        on_restart=lambda worker, why: reasons.append(why),
    )
    supervisor.start()
    yield supervisor, reasons
    supervisor.stop("infer", 1.0)
    supervisor.close()


def _watch(supervisor: Supervisor, limit_s: float) -> None:
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        supervisor.watch(0.05)


def test_a_worker_that_dies_again_and_again_ends_the_line(failing: tuple[Supervisor, list[str]]) -> None:
    supervisor, reasons = failing
    with pytest.raises(WorkerLost, match=f"worker infer-0 died {CRASH_LOOP_DEATHS} times within .* exit code 1"):
        _watch(supervisor, PATIENCE_S)
    assert len(reasons) == CRASH_LOOP_DEATHS - 1
    assert all("ended with exit code 1" in reason for reason in reasons)


def test_the_second_signal_ends_a_worker_at_once() -> None:
    program = (
        "import time\n"
        "from pipeline.workers.worker import Stop\n"
        "stop = Stop()\n"
        "stop.listen()\n"
        "print('listening', flush=True)\n"
        "while not stop.requested:\n"
        "    time.sleep(0.01)\n"
        "print('draining', flush=True)\n"
        "time.sleep(120)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "draining\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == ExitCode.INTERRUPTED
