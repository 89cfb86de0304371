"""Whether this machine can carry the line: memory for frames, descriptors, disk, clock, and how its Redis keeps data.

Each gives what it saw, and advice with the cure where that will hurt one day. Nothing here stops a line from starting.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from f2pnet.commands.output_places import try_folder
from f2pnet.config import LineConfig
from f2pnet.errors import StoreAway, StoreRefused
from f2pnet.redis.link import ErrorReply, RedisLink
from pipeline.frames.memory_order import check_memory_order
from pipeline.frames.shared_memory import SHARED_MEMORY

Seen = tuple[str, str | None]
"""What was seen, and advice where there is any."""

FILES_WANTED = 4_096
SYNCS = 20
SLOWEST_SYNC_MS = 25.0
ROOM_FACTOR = 1.2
MOST_CLOCK_DIFFERENCE_S = 1.0
STA_UNSYNC = 0x0040  # <linux/timex.h>
TIMEX_BYTES = 208
STATUS_OFFSET = 40  # of `status` in struct timex on 64-bit Linux


def machine_checks(line: LineConfig, frame_bytes: dict[str, int]) -> Iterator[tuple[str, Callable[[], Seen]]]:
    """(what, check). `frame_bytes`: the size of a frame of each camera, as far as it was opened."""
    yield "processor", processor
    yield "shared memory", lambda: shared_memory(line, frame_bytes)
    yield "open files", open_files
    yield "disk", lambda: disk(line)
    yield "clock", clock
    if not line.publish.is_embedded:
        yield "redis", lambda: redis_keeps(line.publish.redis)
        yield "clock of Redis", lambda: redis_clock(line.publish.redis)


def processor() -> Seen:
    """Raises MissingResource where frame rings can't be shared."""
    check_memory_order()
    return platform.machine(), None


def shared_memory(line: LineConfig, frame_bytes: dict[str, int]) -> Seen:
    """Free shared memory beside what full rings take."""
    free = shutil.disk_usage(SHARED_MEMORY).free
    wanted = sum(camera.ring_slots * frame_bytes.get(camera.id, 0) for camera in line.cameras)
    finding = f"{free >> 20} MB free in {SHARED_MEMORY}, full rings take {wanted >> 20} MB"
    if free < wanted * ROOM_FACTOR:
        return (
            finding,
            "frames will be NOT_INSPECTED (no_memory): enlarge it (containers: --shm-size) or lower ring_slots",
        )
    return finding, None


def open_files() -> Seen:
    """The limit of descriptors: workers hold sockets, rings and files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finding = f"{soft} may be open at once"
    return finding, None if soft >= min(FILES_WANTED, hard) else f"raise it: ulimit -n {FILES_WANTED}, or LimitNOFILE="


def disk(line: LineConfig) -> Seen:
    """Room for spool and evidence, and how long a durable write takes.

    Raises ConfigError where one of them can't be written.
    """
    try_folder(line.publish.spool.dir, "publish.spool.dir", keep=False)
    if line.publish.evidence is not None:
        try_folder(line.publish.evidence.dir, "publish.evidence.dir", keep=False)
    folder = _existing(line.publish.spool.dir)
    free_mb = shutil.disk_usage(folder).free >> 20
    wanted_mb = line.publish.spool.max_mb + (line.publish.evidence.max_mb if line.publish.evidence else 0)
    sync_ms = _sync_ms(folder)
    finding = f"{free_mb} MB free for {wanted_mb} MB of spool and evidence, a durable write takes {sync_ms:.1f} ms"
    if free_mb < wanted_mb:
        return finding, f"{folder}: free the disk, or lower spool.max_mb and evidence.max_mb"
    if sync_ms > SLOWEST_SYNC_MS:
        return finding, f"{folder} is slow: put the spool on a local SSD, or verdicts wait for the disk"
    return finding, None


def clock() -> Seen:
    """Whether the kernel holds the clock for synchronised (adjtimex(2))."""
    timex = ctypes.create_string_buffer(TIMEX_BYTES)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        return "its state can't be read here", None
    status = int.from_bytes(timex.raw[STATUS_OFFSET : STATUS_OFFSET + 4], "little")
    if status & STA_UNSYNC:
        return "not synchronised", "start an NTP service (chrony): times of alerts and of other hosts will not agree"
    return "synchronised", None


def redis_keeps(url: str) -> Seen:
    """Whether a server of one's own keeps what it was given."""
    link = RedisLink(url, timeout_s=2.0)
    try:
        flat = [value for name in ("appendonly", "maxmemory-policy", "maxmemory") for value in _option(link, name)]
    except (ErrorReply, StoreRefused):
        return "its settings may not be read by this user", "see to appendonly yes and maxmemory-policy noeviction"
    except StoreAway:
        return "could not be asked", None  # the finding "store" says why
    finally:
        link.close()
    appendonly, policy, maxmemory = (value.decode() for value in flat)
    finding = f"appendonly {appendonly}, maxmemory-policy {policy}"
    if policy != "noeviction" and maxmemory != "0":
        return finding, "alerts may be evicted: CONFIG SET maxmemory-policy noeviction"
    if appendonly != "yes":
        return finding, "a crash of the server loses alerts: CONFIG SET appendonly yes"
    return finding, None


def redis_clock(url: str) -> Seen:
    """How far the clock of the store is from this host's: entries of the streams are dated by it."""
    try:
        difference_s = clock_difference_s(url)
    except StoreAway:
        return "could not be asked", None  # the finding "store" says why
    finding = f"{abs(difference_s):.1f} s {'ahead of' if difference_s > 0 else 'behind'} this host's"
    if abs(difference_s) > MOST_CLOCK_DIFFERENCE_S:
        return finding, "times in streams and in results will not agree: have both hosts keep time by NTP (chrony)"
    return finding, None


def clock_difference_s(url: str) -> float:
    """Clock of the store minus this host's, in s, to within half a round trip. Raises StoreAway."""
    link = RedisLink(url, timeout_s=2.0)
    try:
        link.exchange(["PING"])  # so that connecting does not count
        before_s = time.time()
        ((seconds, microseconds),) = link.exchange(["TIME"])
        return int(seconds) + int(microseconds) / 1e6 - (before_s + time.time()) / 2
    finally:
        link.close()


def _option(link: RedisLink, name: str) -> list[bytes]:
    (reply,) = link.exchange(["CONFIG", "GET", name])
    return [reply[1]]


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def _sync_ms(folder: Path) -> float:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            began_s = time.monotonic()
            for _ in range(SYNCS):
                file.write(b"x" * 4096)
                file.flush()
                os.fdatasync(file.fileno())
            return (time.monotonic() - began_s) * 1e3 / SYNCS
    except OSError:
        return float("inf")
