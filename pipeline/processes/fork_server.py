"""Worker processes that start without waiting for Python: forked from one process that has imported everything.

Most of the time until a worker runs goes into starting Python and importing. The fork server has that behind it, and
forks a worker in milliseconds. The worker is handed over as a child of this process (see `fork_server_process`), so
its exit code, signals and its tether to this process are those of any child; and it outlives the fork server.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from f2pnet.errors import F2pError
from f2pnet.isolation import PYTHON, isolated_environment
from pipeline.processes.tethered import tethered

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
ANSWER_S = 30.0  # it may still be importing, on a machine that is busy
ATTEMPTS = 2
POLL_S = 0.01
LONGEST_ANSWER_BYTES = 4096
_log = structlog.get_logger(__name__)


class NoFork(F2pError):
    """The fork server gives no process; later it may."""


class ForkedProcess:
    """A child of this process, as `subprocess.Popen` shows one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None  # negative: the signal that ended it

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code; raises TimeoutError when it still runs after `timeout` s."""
        until_s = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() >= until_s:
                raise TimeoutError(f"process {self.pid} still runs after {timeout:g} s")
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """One process that waits for orders, and is started anew where it died. It ends with this one."""

    def __init__(self, inherited: Sequence[int] = ()) -> None:
        """`inherited`: descriptors that every process gets, under the same numbers."""
        self._inherited = tuple(inherited)
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def keep(self) -> None:
        """Start it anew if it has died, so that the next worker need not wait for that."""
        if self._process.poll() is not None:
            _log.warning("fork server replaced", exit_code=self._process.returncode)
            try:
                self._restart()
            except NoFork as error:  # tried again when it is looked at next
                _log.error("no fork server", reason=str(error))

    def run_f2p(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path | None) -> ForkedProcess:
        """A process that runs `f2p` with these arguments and writes to `log` (None: where this one writes).

        Raises NoFork.
        """
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log) if log else None}
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                self._channel.send(json.dumps(order).encode())
                answer = self._answer()
            except (OSError, ValueError) as error:
                reason = str(error)
                _log.warning("fork server gave no process", reason=reason)
                self._restart()
                continue
            if pid := answer.get("pid"):
                return ForkedProcess(int(pid))
            reason = str(answer.get("error"))
            break
        raise NoFork(
            f"no process for f2p {' '.join(arguments)} ({reason}): memory, processes (ulimit -u, TasksMax=) or "
            "descriptors (ulimit -n, LimitNOFILE=) may be short"
        )

    def close(self) -> None:
        """End it; processes that it forked go on."""
        _adopt_orphans(False)
        self._channel.close()
        self._process.kill()
        self._process.wait(timeout=10)

    def _restart(self) -> None:
        """Raises NoFork."""
        self.close()
        try:
            self._start()
        except OSError as error:
            raise NoFork(f"the fork server can't be started: {error.strerror}") from error

    def _start(self) -> None:
        _adopt_orphans(True)  # forked workers lose the parent that forked them at once, and come to us
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [*PYTHON, "-m", "pipeline.fork_server_process", str(theirs.fileno())]
            # A group of its own, as workers have: Ctrl-C on the terminal reaches the supervisor only.
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                tethered(command),
                # Threads do not survive a fork. NumPy's would be those of OpenBLAS, and a line multiplies no matrices.
                env={**isolated_environment(), "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *self._inherited],
                process_group=0,
            )

    def _answer(self) -> dict[str, int | str]:
        poll = select.poll()  # select(2) takes no descriptors beyond 1023
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(ANSWER_S * 1e3):
            raise OSError(f"no answer within {ANSWER_S:g} s")
        answer: dict[str, int | str] = json.loads(self._channel.recv(LONGEST_ANSWER_BYTES))
        return answer


def _adopt_orphans(adopt: bool) -> None:
    """Whether the kernel makes this process the parent of descendants whose own parent has ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)
