"""`f2p reload`."""

from __future__ import annotations

import os
import signal

from f2pnet.commands.terminal import say
from f2pnet.config import load_line
from f2pnet.errors import MissingResource
from pipeline.commands.options import LineFile
from pipeline.wire.rundir import RunDir


def reload(line_file: LineFile) -> None:
    """Have a running line apply cameras and recipe as its files are now: new cameras start, others end in order."""
    line = load_line(line_file)
    pid = RunDir(line, line_file).running_pid()
    if pid is None:
        raise MissingResource(f"line '{line.line}' does not run on this host: start it with f2p run {line_file}")
    os.kill(pid, signal.SIGHUP)
    say(f"line {line.line} (pid {pid}): reload of {len(line.cameras)} cameras requested; its log reports the result")
