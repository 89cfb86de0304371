"""A disk of its own that a test can fill without harm. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

DISK_MB = 64


def mount_small_disk(folder: Path) -> bool:
    """An empty disk of DISK_MB at `folder`; False where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "f2p-test", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:  # no such program
        return False


def unmount(folder: Path) -> None:
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], timeout=10, check=True)


def fill(folder: Path) -> Path:
    """Take all room that is left; delete the file that is returned to give it back."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return ballast
