"""Ring files in /dev/shm: making one, giving it its name, opening and removing it."""

from __future__ import annotations

import contextlib
import os
import secrets

import numpy as np

from f2pnet.errors import out_of_resources
from pipeline.frames.ring_memory import (
    HEADER,
    LAYOUT_VERSION,
    MAGIC,
    RingGeometry,
    RingMemory,
    RingMissing,
    RingUnreadable,
    whole_pages,
)
from pipeline.frames.shared_memory import SHARED_MEMORY

RING_ID_BYTES = 8


def new_ring_file(name: str, geometry: RingGeometry, run_id: str) -> RingMemory:
    """An empty ring that has no name yet (`give_name`). Raises OutOfResources when there is no room for its table."""
    path = SHARED_MEMORY / name
    unnamed = path.with_name(f"{name}.{secrets.token_hex(4)}.new")
    geometry = RingGeometry(geometry.slots, whole_pages(geometry.slot_bytes))
    try:
        file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, RingMemory.size_bytes(geometry))
            os.posix_fallocate(file, 0, RingMemory.size_bytes(RingGeometry(geometry.slots, 0)))
            header = np.zeros((), HEADER)
            header["magic"], header["layout"], header["run_id"] = MAGIC, LAYOUT_VERSION, run_id.encode()
            header["slots"], header["slot_bytes"] = geometry
            header["ring_id"] = secrets.token_hex(RING_ID_BYTES).encode()
            os.pwrite(file, header.tobytes(), 0)
            return RingMemory(unnamed, file, writable=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.close(file)
            raise
    except OSError as error:
        unnamed.unlink(missing_ok=True)
        raise out_of_resources(f"no frame ring {path}", error) or error from error


def give_name(memory: RingMemory, name: str) -> None:
    """Let others find the ring; a ring of that name that was there is replaced. Raises RingUnreadable."""
    path = SHARED_MEMORY / name
    try:
        if path.is_dir() and not path.is_symlink():
            put_aside(name, f"{name}.unreadable-{secrets.token_hex(4)}")
        memory.path.rename(path)
    except OSError as error:
        memory.path.unlink(missing_ok=True)
        raise RingUnreadable(
            f"{path} can't be replaced ({error.strerror}): remove it, or give the line another name"
        ) from error
    memory.path = path


def open_ring(name: str, *, writable: bool) -> RingMemory:
    """The ring of that name. Raises RingMissing, RingUnreadable or OutOfResources."""
    path = SHARED_MEMORY / name
    flags = os.O_RDWR if writable else os.O_RDONLY
    try:
        return RingMemory(path, os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC), writable=writable)
    except FileNotFoundError as error:
        raise RingMissing(f"there is no frame ring {path}: its ingest worker is gone, or it was removed") from error
    except OSError as error:
        short = out_of_resources(f"frame ring {path} cannot be opened", error)
        raise short or RingUnreadable(f"frame ring {path} cannot be opened: {error.strerror}") from error


def unlink_ring(name: str) -> None:
    """Remove a ring that no worker uses any more."""
    (SHARED_MEMORY / name).unlink(missing_ok=True)


def put_aside(name: str, new_name: str) -> None:
    """Rename a ring, so that another one may take its name. Raises RingUnreadable."""
    try:
        (SHARED_MEMORY / name).rename(SHARED_MEMORY / new_name)
    except FileNotFoundError:
        return
    except OSError as error:
        path = SHARED_MEMORY / name
        raise RingUnreadable(f"{path} can't be put aside: {error.strerror}; remove it, or rename the line") from error
