"""Changes to a running line that nobody announces, or announces by `f2p reload`: files, rings, memory, descriptors."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import yaml

from f2pnet.config import load_line
from pipeline.frames.shared_memory import SHARED_MEMORY
from pipeline.wire.rundir import RunDir
from tests.chaos.line import CAMERAS, LIVE, CampaignLine
from tests.small_disk import fill
from tests.toy_engine import write_toy_bundle

SLOTS = (8, 16, 32, 48)
OWN_MEMORY_KEY = "F2P_CHAOS_OWN_MEMORY"
"""Set where /dev/shm is the campaign's alone, and may be filled."""


def edit_files(line: CampaignLine, chance: random.Random, then_kill: int) -> None:
    """Line file and engine are overwritten by others, half saved or removed; a worker dies; then they are put back."""
    good = line.file.read_text()
    engine, aside = line.folder / "engine", line.folder / "engine-aside"
    line.file.write_text(
        chance.choice(["cameras: [ {id: cam3, sour\n", "", good.replace("max_batch: 4", "max_batch: 1")])
    )
    shutil.copytree(engine, aside)
    if chance.random() < 0.5:
        write_toy_bundle(engine, side=64, max_batch=4, poison=0.01)  # sees nothing
    else:
        shutil.rmtree(engine)
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(then_kill, signal.SIGKILL)
        time.sleep(chance.uniform(0.5, 1.5))
    finally:
        shutil.rmtree(engine, ignore_errors=True)
        aside.rename(engine)
        line.file.write_text(good)


def resize_rings(line: CampaignLine, chance: random.Random) -> set[str]:
    """`ring_slots` of some cameras change by a reload; which ones."""
    content = yaml.safe_load(line.file.read_text())
    chosen = set(chance.sample([*CAMERAS, LIVE], chance.randint(1, 3)))
    content["cameras"] = [dict(camera) for camera in content["cameras"]]
    for camera in content["cameras"]:
        if camera["id"] in chosen:
            camera["ring_slots"] = chance.choice([slots for slots in SLOTS if slots != camera["ring_slots"]])
    line.file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert line.process is not None
    line.process.send_signal(signal.SIGHUP)
    return chosen


def remove_rings(line: CampaignLine, chance: random.Random) -> None:
    """What systemd-logind does to the shared memory of a user who logs out."""
    for path in _rings(line):
        if chance.random() < 0.7:
            path.unlink(missing_ok=True)


def remove_run_folder(line: CampaignLine, chance: random.Random) -> None:
    """What a cleaner of /tmp does: all of it, or some files."""
    folder = RunDir(load_line(line.file), line.file).path
    if chance.random() < 0.5:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if chance.random() < 0.5:
            path.unlink(missing_ok=True)


def fill_memory(chance: random.Random) -> None:
    """Others take all shared memory for a while."""
    ballast = fill(SHARED_MEMORY)
    time.sleep(chance.uniform(0.5, 3.0))
    ballast.unlink()


def take_descriptors(pid: int, chance: random.Random) -> None:
    """A process may open no more files than it has open now, for a while."""
    try:
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        open_now = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now, before[1]))
    except OSError:  # it has just ended
        return
    try:
        time.sleep(chance.uniform(0.5, 3.0))
    finally:
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def _rings(line: CampaignLine) -> list[Path]:
    run_dir = RunDir(load_line(line.file), line.file)
    return [SHARED_MEMORY / name.file_name for name in run_dir.rings() if name.left_by is None]
