"""A disk of its own that a test can fill without harm. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

DISK_MB = 64


def mount_small_disk(folder: Path, size_mb: int = DISK_MB) -> bool:
    """An empty disk at `folder`; False where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "f2p-test", str(folder)]
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
    with ballast.open("wb", buffering=0) as file:
        for step in (2**20, 4096):  # coarse, then to the last page
            with contextlib.suppress(OSError):
                while file.write(b"\0" * step):
                    pass
    return ballast
