"""Imports come from where f2pnet is installed, never from the folder that somebody happens to stand in.

Python looks into the current folder where it is run with `-m` or `-c`, and where PYTHONPATH has an empty entry. A file
`pipeline.py` or `training.py` there would be taken for ours, and executed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
"""The folder that holds our packages; it stays even where it is the current one (a checkout)."""

PYTHON = (sys.executable, "-P")
"""How our own programs are started: `-P` adds neither the current folder nor that of a script."""


def leave_current_folder() -> None:
    """Take the current folder out of this process's search path."""
    sys.path[:] = [entry for entry in sys.path if not _is_current_folder(entry)]


def isolated_environment() -> dict[str, str]:
    """This process's environment for a child that must not import from the current folder."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    if "PYTHONPATH" in environment:
        entries = environment["PYTHONPATH"].split(os.pathsep)
        kept = [entry for entry in entries if not _is_current_folder(entry)]
        if kept:
            environment["PYTHONPATH"] = os.pathsep.join(kept)
        else:
            del environment["PYTHONPATH"]
    return environment


def _is_current_folder(entry: str) -> bool:
    try:
        folder = Path(entry or ".").resolve()
        return folder == Path.cwd().resolve() and folder != HOME
    except OSError:  # the current folder was removed: nothing can be imported from it
        return entry == ""
