"""The publish worker on a disk that is full, with its Redis away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from f2pnet.config import load_line
from pipeline.store.durable import DurableStore
from pipeline.store.redis_store import RedisStore
from pipeline.store.spool.spool import Spool
from pipeline.wire.messages import Fault
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link
from pipeline.workers.publish import PublishWorker
from tests.pipeline.harness import LineUnderTest
from tests.small_disk import fill, mount_small_disk, unmount

LIMIT_S = 10.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    if not mount_small_disk(disk):
        pytest.skip("mounting a disk of its own needs root")
    yield disk
    unmount(disk)


def step_until(worker: PublishWorker, condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s, f"not within {LIMIT_S} s"
        worker.step()


def test_a_fault_that_no_disk_takes_is_kept_and_written_when_there_is_room(
    line: LineUnderTest, small_disk: Path, free_ports: list[int]
) -> None:
    line.file.write_text(yaml.safe_dump(line.config))
    config = load_line(line.file)
    run_dir = RunDir(config, line.file)
    store = DurableStore(RedisStore(f"redis://127.0.0.1:{free_ports[0]}", "bar"), Spool(small_disk / "spool", 2**20))
    worker = PublishWorker("publish", config, run_dir, store, None)
    worker.set_up()
    link = Link(run_dir.publish_address, "ingest/cam1", 100, None)
    try:
        ballast = fill(small_disk)
        link.send(
            Fault(event_id="cam1/run/camera-1", at_ns=1, source="cam1", camera_id="cam1", kind="camera", text="lost")
        )
        step_until(worker, lambda: worker.state == "waiting" and "No space left" in (worker.detail or ""))
        assert len(store.spool) == 0
        ballast.unlink()
        step_until(worker, lambda: len(store.spool) == 1)
        (record,) = store.spool.peek(10)
        assert record.frame_id == "cam1/run/camera-1"
    finally:
        link.close()
        worker.tear_down()
