"""Run a command that dies with the process that started it, even when that one is killed outright.

A child process of ours asks the kernel for the tether (PR_SET_PDEATHSIG) and then becomes the command. A function run
between fork and exec would do the same, but is unsafe in a process with threads.

The kernel ties the child to the *thread* that started it: start tethered commands from a thread that lives as long as
the command should, normally the main thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def tethered(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` (an absolute path and arguments) and ends with the calling process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def tether(parent_pid: int) -> None:
    """Have this process end with its parent, which is that one; ends it now when the parent is gone already."""
    # SIGKILL, since a stopped or stuck process obeys nothing else.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before the command began")


def _become(parent_pid: int, command: list[str]) -> None:
    tether(parent_pid)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
