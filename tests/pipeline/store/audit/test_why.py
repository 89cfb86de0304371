"""`f2p why` against a real Redis server: each fact is found, and a frame without a verdict is explained."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from f2pnet.config import LineConfig
from f2pnet.errors import ConfigError
from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import Defect, InspectionResult, Timings, Verdict
from f2pnet.redis.link import RedisLink
from pipeline.store.audit.why import as_json, why
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore

RUN = str(uuid.UUID(int=(1_700_000_000_000 << 80) | (7 << 76) | (2 << 62)))
Why = Callable[[int], object]


def result_of(seq: int, camera: str = "cam1", verdict: Verdict = Verdict.OK) -> InspectionResult:
    spot = Defect(
        class_name="scratch",
        score=0.9,
        severity="major",
        bbox_px=(1, 2, 3, 4),
        area_px=300,
        area_mm2=None,
        polygon_px=[],
    )
    return InspectionResult(
        frame_id=f"{camera}/{RUN}/{seq:06d}",
        camera_id=camera,
        seq=seq,
        captured_at_ns=1_700_000_000_000_000_000 + seq,
        verdict=verdict,
        score=0.4,
        defects=[spot] if verdict == Verdict.NG else [],
        engine="0123456789ab",
        timings_ms=Timings(total=12.5),
    )


def record_of(result: InspectionResult) -> Record:
    assert result.frame_id
    assert result.camera_id
    return Record(
        frame_id=result.frame_id,
        camera_id=result.camera_id,
        run_id=RUN,
        seq=result.seq,
        verdict=result.verdict,
        captured_at_ns=result.captured_at_ns or 0,
        data=result.to_json(),
    )


@pytest.fixture
def line(tmp_path: Path) -> LineConfig:
    return LineConfig.model_validate(
        {
            "line": "l",
            "engine": {"bundle": tmp_path / "no-engine"},
            "cameras": [{"id": "cam1", "source": {"kind": "folder", "path": str(tmp_path)}}],
            "publish": {"redis": "embedded", "spool": {"dir": tmp_path / "spool"}},
        }
    )


@pytest.fixture
def store(server: EmbeddedRedis) -> Iterator[RedisStore]:
    store = RedisStore(server.url, "l")
    yield store
    store.close()


@pytest.fixture
def link(server: EmbeddedRedis) -> Iterator[RedisLink]:
    link = RedisLink(server.url)
    yield link
    link.close()


def test_one_frame_among_thousands_is_found_with_its_alert_and_who_read_it(
    store: RedisStore, link: RedisLink, reader: redis.Redis, line: LineConfig
) -> None:
    reader.xgroup_create("f2p:{l}:alerts", "gate", id="0", mkstream=True)
    for start in range(0, 3000, 500):
        store.write(
            [
                record_of(result_of(seq, camera, Verdict.NG if seq % 1000 == 7 else Verdict.OK))
                for seq in range(start, start + 500)
                for camera in ("cam1", "cam2")
            ]
        )
    (_, alerts), *_ = reader.xreadgroup("gate", "robot-1", {"f2p:{l}:alerts": ">"}, count=100)
    reader.xack("f2p:{l}:alerts", "gate", *[name for name, fields in alerts if "/000007" in fields["frame_id"]])

    acknowledged = why(link, line, FrameId("cam1", RUN, 7))
    pending = why(link, line, FrameId("cam2", RUN, 2007))
    fine = why(link, line, FrameId("cam1", RUN, 1500))

    assert acknowledged.explanation == "NG: 1 defect(s), the largest scratch (major), 300 px, score 0.90"
    assert acknowledged.groups == {"gate": "acknowledged"}
    assert pending.groups == {"gate": "pending at robot-1"}
    assert pending.alert_entry in dict(alerts)
    assert fine.alert_entry is None
    assert fine.result == result_of(1500)
    assert fine.result_entry is not None
    (entry,) = reader.xrange("f2p:{l}:results", fine.result_entry, fine.result_entry)
    assert entry[1]["frame_id"] == f"cam1/{RUN}/001500"
    assert json.loads(as_json(pending))["result"]["verdict"] == "NG"


def test_a_frame_without_a_result_is_explained(
    store: RedisStore, link: RedisLink, reader: redis.Redis, line: LineConfig
) -> None:
    store.write([record_of(result_of(seq)) for seq in (0, 1, 3)])
    store.write_states({("cam1", RUN): {"captured": 5, "ok": 3, "dropped:overload": 1, "in_flight": 1}}, {})
    explained = {seq: why(link, line, FrameId("cam1", RUN, seq)).explanation for seq in (2, 5)}
    assert explained[2] == "no verdict: dropped (the run's drops: 1 overload) or still in flight (1 are)"
    assert explained[5] == "never captured: this run of the camera counts 5 frames, numbered from 0"
    reader.xtrim("f2p:{l}:results", maxlen=0, approximate=False)
    assert "is gone, not by the line's own trimming" in why(link, line, FrameId("cam1", RUN, 1)).explanation
    assert why(link, line, FrameId("cam9", RUN, 1)).explanation.startswith("unknown: no camera and run")


def test_a_result_that_retention_took_away_is_told_from_one_that_is_missing(
    server: EmbeddedRedis, link: RedisLink, line: LineConfig
) -> None:
    store = RedisStore(server.url, "l", results_kept=10)
    for start in range(0, 60, 20):
        store.write([record_of(result_of(seq)) for seq in range(start, start + 20)])
    store.close()
    assert why(link, line, FrameId("cam1", RUN, 1)).explanation == (
        "OK; its result was trimmed from the stream since (results_kept)"
    )


def test_a_frame_id_of_another_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="frame id is 'cam1-7', wanted <camera>/<run>/<number>"):
        FrameId.parse("cam1-7")
