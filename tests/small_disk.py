"""A disk of its own that a test can fill without harm. Needs root."""

from __future__ import annotations

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
