"""Writers and server killed again and again, at moments nobody chose: every verdict once, and in the store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from f2pnet.redis.link import RedisLink
from pipeline.store import DurableStore, RedisStore, Spool
from pipeline.store.audit.verify import verify
from pipeline.store.embedded.server import EmbeddedRedis

REPOSITORY = Path(__file__).resolve().parents[3]
FRAMES = 8_000
MOST_KILLS = 12  # then the writer is left in peace, so that it gets through
LIMIT_S = 60.0

# A publish worker in small: takes up behind the last acknowledgement that its predecessor gave, and may die anywhere.
WORKER = """
import pathlib, sys, time
from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.store import DurableStore, Record, RedisStore, Spool

def record(n):
    verdict = Verdict.OK if n % 4 else Verdict.NG
    result = InspectionResult(frame_id=f"cam1/r/{n:06d}", camera_id="cam1", seq=n, captured_at_ns=n, verdict=verdict)
    return Record(frame_id=result.frame_id, camera_id="cam1", run_id="r", seq=n, captured_at_ns=n,
                  data=result.to_json(), verdict=verdict)

url, spool, acknowledged, frames = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4])
store = DurableStore(RedisStore(url, "demo"), Spool(spool, 64 * 2**20))
seq = int(acknowledged.read_text() or 0) if acknowledged.exists() else 0
while seq < frames:
    batch = range(seq, min(seq + 20, frames))
    store.write([record(n) for n in batch])
    seq = batch[-1] + 1
    with acknowledged.with_suffix(".new").open("w") as file:
        file.write(str(seq))
    acknowledged.with_suffix(".new").replace(acknowledged)
    time.sleep(0.01)
"""


def test_verdicts_survive_kills_of_writer_and_server(server: EmbeddedRedis, tmp_path: Path) -> None:
    rng = random.Random(6)
    arguments = [server.url, str(tmp_path / "spool"), str(tmp_path / "acknowledged"), str(FRAMES)]
    kills = 0
    limit = time.monotonic() + LIMIT_S

    def start_writer() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], cwd=REPOSITORY)

    writer = start_writer()
    try:
        while writer.poll() is None:
            assert time.monotonic() < limit, f"the writer did not get through in {LIMIT_S} s, kills {kills}"
            time.sleep(rng.uniform(0.1, 0.5))
            if kills % 2 or kills >= MOST_KILLS:
                os.kill(server.pid, signal.SIGKILL)
                time.sleep(rng.uniform(0.0, 0.3))
                revive(server)
            else:
                writer.kill()
                writer.wait(5)
                writer = start_writer()
            kills += 1
    finally:
        writer.kill()
        writer.wait(5)
    assert writer.returncode == 0
    store = DurableStore(RedisStore(server.url, "demo", timeout_s=5), Spool(tmp_path / "spool", 2**26))
    while store.replay_some():
        pass

    assert len(store.spool) == 0
    report = verify(RedisLink(server.url), "demo", ())
    assert report.holds
    assert report.runs[0].verdicts == FRAMES
    assert report.alerts == FRAMES // 4
    assert kills >= 6
    store.close()


def revive(server: EmbeddedRedis) -> None:
    """A killed process takes a moment to be gone."""
    limit = time.monotonic() + 5
    while not server.revive():
        assert time.monotonic() < limit, "the killed server was not revived within 5 s"
        time.sleep(0.01)
