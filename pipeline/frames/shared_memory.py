"""Where the kernel keeps shared memory."""

from __future__ import annotations

from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's shared-memory file system, not a temporary folder
