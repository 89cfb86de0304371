"""The fork server's own process: imports what workers need, then forks one for each order.

Requests to end or to reload that reach a worker before it listens wait for it (`STOP_SIGNALS` are blocked until then):
otherwise a line that is stopped or reloaded as it starts would lose the worker, and what that had to report.

A worker is forked twice. The process between the two ends at once, so that the kernel gives the worker to the
supervisor of the line, which asked for that (PR_SET_CHILD_SUBREAPER). Only then does the worker end with its parent.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from contextlib import ExitStack
from typing import Any

# What a worker would import now.
import pipeline.commands.worker
import pipeline.store.durable
import pipeline.workers.assembly
import pipeline.workers.camera.ingest
import pipeline.workers.inference.infer
import pipeline.workers.publish  # noqa: F401
from f2pnet.cli import main as f2p
from pipeline.processes.tethered import tether
from pipeline.workers.worker import STOP_SIGNALS

LONGEST_ORDER_BYTES = 65_536
PID_BYTES = 8


def main() -> None:
    """Carry out orders until there will be no more; in a worker, run it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        order = _serve(channel)
    if order is not None:
        _become(order)


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """Answer orders with the pid of a worker; returns None when the supervisor is gone, and in a worker its order."""
    parent = os.getppid()
    gc.collect()
    gc.freeze()  # memory that no collection touches stays shared with the workers
    while request := channel.recv(LONGEST_ORDER_BYTES):
        try:
            pid = _fork_for(parent)
        except OSError as error:  # no processes, memory or descriptors just now
            channel.send(json.dumps({"error": error.strerror}).encode())
            continue
        if pid is None:
            order: dict[str, Any] = json.loads(request)
            return order
        channel.send(json.dumps({"pid": pid}).encode())
    return None


def _fork_for(parent: int) -> int | None:
    """Fork a child of the supervisor: its pid; None in it. Raises OSError."""
    with ExitStack() as ends:
        pid_out, pid_in = _pipe(ends)
        go_out, go_in = _pipe(ends)
        between = os.fork()
        if between == 0:
            worker = _fork_or_end()
            if worker != 0:
                os.write(pid_in, worker.to_bytes(PID_BYTES, "little"))
                os._exit(0)
            for end in (pid_out, pid_in, go_in):
                os.close(end)
            if not os.read(go_out, 1):  # the fork server died in between: nobody knows of this process
                os._exit(1)
            os.close(go_out)
            ends.pop_all()
            os.setpgid(0, 0)
            tether(parent)
            return None
        _, status = os.waitpid(between, 0)  # from here on the worker is the supervisor's
        if code := os.waitstatus_to_exitcode(status):
            raise OSError(abs(code), os.strerror(abs(code)))
        pid = int.from_bytes(os.read(pid_out, PID_BYTES), "little")
        os.write(go_in, b"!")
        return pid


def _pipe(ends: ExitStack) -> tuple[int, int]:
    """Both ends of a pipe, closed with the stack."""
    pair = os.pipe()
    for end in pair:
        ends.callback(os.close, end)
    return pair


def _fork_or_end() -> int:
    """Fork; where there is no process to be had, this one ends, and its exit code says why."""
    try:
        return os.fork()
    except OSError as error:
        os._exit(error.errno or 1)


def _become(order: dict[str, Any]) -> None:
    os.environ.update(order["environment"])
    if order["log"] is not None:
        file = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        for stream in (1, 2):
            os.dup2(file, stream)
        os.close(file)
    sys.argv = ["f2p", *order["arguments"]]
    f2p()


if __name__ == "__main__":
    main()
