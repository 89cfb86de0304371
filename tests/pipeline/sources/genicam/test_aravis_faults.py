"""A GigE Vision camera that loses packets, dies and comes back."""

from __future__ import annotations

import json

import pytest

from f2pnet.config.sources import GenicamSource, source_from_uri
from pipeline.sources import open_source
from pipeline.sources.base import BadFrame, Frame
from tests.pipeline.harness import LineUnderTest
from tests.servers.gige_camera import GigeCamera, need_aravis


@pytest.fixture(scope="module", autouse=True)
def aravis() -> None:
    need_aravis()


def test_what_lost_packets_leave_is_counted_and_never_inspected() -> None:
    with GigeCamera(lost_per_mille=10), open_source(GenicamSource(serial="F2P-1")) as source:
        items = [item for _ in range(40) if (item := source.read(2.0)) is not None]
    bad = [item for item in items if isinstance(item, BadFrame)]
    assert bad
    assert any(isinstance(item, Frame) for item in items)
    assert {item.reason for item in bad} == {"unreadable"}
    assert "packets" in bad[0].detail
    assert [item.index for item in items] == list(range(len(items)))


def test_a_line_of_a_camera_that_loses_packets_and_goes_away(line: LineUnderTest) -> None:
    assert source_from_uri("genicam:F2P-1") == GenicamSource(serial="F2P-1")
    line.config["cameras"] = [{"id": "cam1", "source": {"kind": "genicam", "serial": "F2P-1", "timeout_s": 0.5}}]
    with GigeCamera(lost_per_mille=2):
        line.start()
        line.pid_of("infer", seen=10)
    line.await_status(lambda status: [w for w in status["workers"] if w["detail"] == "camera away"])
    with GigeCamera():
        before = line.await_status(lambda status: status["cameras"]["cam1"]["inspected"])
        line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] > before + 10)
        line.interrupt()
        camera = line.finish()["cameras"]["cam1"]
    assert camera["captured"] == camera["inspected"] + sum(camera["not_inspected"].values())
    assert camera["not_inspected"]["unreadable"]
    assert camera["reconnects"] >= 1
    alerts = [json.loads(entry["data"]) for entry in line.stored("alerts")]
    assert sum(alert["reason"] == "unreadable" for alert in alerts) == camera["not_inspected"]["unreadable"]
    assert any("is back" in (alert["reason"] or "") for alert in alerts)
