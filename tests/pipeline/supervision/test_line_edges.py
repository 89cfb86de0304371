"""The edges of a line: the store goes away, cameras go away, evidence and live alerts leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from f2pnet import subscribe
from f2pnet.config import load_line
from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.frames.ledger import Ledger, NotInspectedReason
from pipeline.frames.ring import FrameRing
from pipeline.frames.ring_memory import RingGeometry
from pipeline.frames.shared_memory import SHARED_MEMORY
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.wire.messages import LedgerReport
from pipeline.wire.run_id import new_run_id
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import Link, Poller, Subscriber
from tests.pipeline.console.browser import await_that
from tests.pipeline.harness import LineUnderTest, is_bright, results_in
from tests.pipeline.supervision.test_line import check_each_once
from tests.servers.mjpeg_server import MjpegServer

PICTURES = 90


@pytest.fixture
def redis(line: LineUnderTest) -> Iterator[EmbeddedRedis]:
    """A Redis server that is not the line's own."""
    with EmbeddedRedis(line.folder / "redis") as server:
        line.config["publish"]["redis"] = server.url
        yield server


def test_verdicts_wait_on_disk_while_redis_hangs_and_follow_in_order(line: LineUnderTest, redis: EmbeddedRedis) -> None:
    line.config["cameras"][0]["source"]["fps"] = 15
    line.start()
    line.pid_of("infer", seen=5)
    os.kill(redis.pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(redis.pid, signal.SIGCONT)
    summary = line.finish()
    camera = summary["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    assert summary["alerts"]["spooled"] == summary["alerts"]["replayed"] > 0
    verdicts = [(int(e["frame_id"].rpartition("/")[2]), e["verdict"]) for e in results_in(redis.url, "bar")]
    assert sorted(verdicts) == [(n, "NG" if is_bright(n) else "OK") for n in range(PICTURES)]


def test_a_line_whose_redis_never_comes_back_ends_with_all_verdicts_on_disk(
    line: LineUnderTest, redis: EmbeddedRedis
) -> None:
    line.config["cameras"][0]["source"]["fps"] = 30
    line.start()
    line.pid_of("infer", seen=5)
    redis.stop()
    summary = line.finish()
    camera = summary["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    assert summary["alerts"]["spooled"] > summary["alerts"]["replayed"]


def test_live_alerts_leave_as_they_are_stored(line: LineUnderTest) -> None:
    line.config["cameras"][0]["source"]["fps"] = 30
    line.start()
    listener = Subscriber(RunDir(load_line(line.file), line.file).alert_addresses[0], "f2p.bar.cam1", 1000)
    poller, live = Poller(listener), []
    while line.process is not None and line.process.poll() is None:
        poller.wait(100)
        live += [InspectionResult.from_json(payload) for _, payload in listener.receive(100)]
    listener.close()
    line.finish()
    stored = {entry["frame_id"]: entry["data"] for entry in line.stored("alerts")}
    assert len(live) > 10  # whoever listens late has missed some; the stream has them all
    assert all(stored[result.frame_id or ""] == result.to_json().decode() for result in live)


def test_the_picture_behind_each_ng_is_kept(line: LineUnderTest) -> None:
    line.config["publish"]["evidence"] = {"dir": "evidence", "keep": "ng", "max_mb": 8}
    line.run()
    kept = [InspectionResult.from_json(e["data"]) for e in line.stored() if e["verdict"] == "NG"]
    assert len(kept) == sum(map(is_bright, range(PICTURES)))
    for result in kept:
        picture = cv2.imread(str(line.folder / (result.evidence or "")), cv2.IMREAD_GRAYSCALE)
        assert picture is not None, result.evidence
        assert picture[20, 20] > 200
        assert picture[2, 2] < 40


def test_frames_of_cameras_that_left_are_reported_and_their_shared_memory_is_freed(line: LineUnderTest) -> None:
    line.file.write_text(yaml.safe_dump(line.config))
    run_dir, run_id = RunDir(load_line(line.file), line.file), new_run_id()
    geometry = RingGeometry(2, 4096)
    empty, waiting = (FrameRing.create(run_dir.ring_name(name), geometry, run_id) for name in ("gone", "waits"))
    for _ in range(3):
        waiting.captured(None, (), cursor=1, captured_at_ns=1, captured_mono_ns=1, reason=NotInspectedReason.SHUTDOWN)
    for ring in (empty, waiting):
        ring.close()
    line.config["cameras"][0]["source"]["fps"] = 20
    line.run()
    assert not list(SHARED_MEMORY.glob(f"{run_dir.path.name}*"))
    told = {e["frame_id"]: e["verdict"] for e in line.stored() if e["camera_id"] == "waits"}
    assert told == {f"waits/{run_id}/{seq:06d}": "NOT_INSPECTED" for seq in range(3)}


def test_a_ledger_that_does_not_balance_is_an_alert_once(line: LineUnderTest) -> None:
    line.start()
    line.pid_of("infer")
    link = Link(RunDir(load_line(line.file), line.file).publish_address, "ingest/cam9", 100, None)
    for version in (1, 2, 3):
        ledger = Ledger(captured=10 + version, ok=8, in_flight=1)
        link.send(LedgerReport(camera_id="cam9", run_id="a-run", version=version, ledger=ledger))
    line.finish()
    link.close()
    told = [json.loads(e["data"]) for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    (alert,) = [alert for alert in told if alert["camera_id"] == "cam9"]
    assert "captured 11, accounted for 9" in alert["reason"]


def test_a_group_of_subscribers_that_does_not_keep_up_is_an_alert(line: LineUnderTest, redis: EmbeddedRedis) -> None:
    line.config["publish"]["alerts_kept"] = 20
    line.config["cameras"][0]["source"]["fps"] = 15
    with closing(subscribe(redis.url, "bar", group="reject-gate", since="0")) as asleep:
        assert asleep.read(0.1) is None  # so the group is there
    line.run()
    told = [json.loads(e["data"])["reason"] for e in results_in(redis.url, "bar", "alerts") if e["verdict"] == "FAULT"]
    (fault,) = [reason for reason in told if "reject-gate" in reason]
    assert "is about to lose alerts" in fault
    assert "XGROUP DESTROY f2p:{bar}:alerts reject-gate" in fault


def _write_video(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            image = np.full((64, 64, 3), 250 if is_bright(index) else 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def test_a_cut_off_video_gives_its_frames_and_a_fault(line: LineUnderTest) -> None:
    video = line.folder / "parts.mkv"
    _write_video(video, 60)
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    line.config["cameras"][0]["source"] = {"kind": "video", "path": "parts.mkv"}
    camera = line.run()["cameras"]["cam1"]
    assert 0 < camera["captured"] == camera["inspected"] < 60
    faults = [e["data"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("parts.mkv" in fault for fault in faults)


def test_a_camera_that_goes_away_is_opened_again(line: LineUnderTest) -> None:
    pictures = [cv2.imencode(".jpg", np.full((64, 64), 20, np.uint8))[1].tobytes() for _ in range(20)]
    with MjpegServer(pictures, fps=20, then_silent=False) as server:
        url = f"http://{server.address}/"
        line.config["cameras"][0]["source"] = {"kind": "mjpeg", "url": url, "timeout_s": 2}
        line.start()
        line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] > 40)
        assert line.process is not None
        line.process.send_signal(signal.SIGINT)
        summary = line.finish()
    assert summary["cameras"]["cam1"]["reconnects"] >= 2
    faults = [e["data"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("is back" in fault for fault in faults)


def test_an_engine_that_can_not_be_loaded_ends_the_line_with_its_reason(line: LineUnderTest) -> None:
    from tests.toy_engine import write_toy_bundle

    bundle = write_toy_bundle(line.folder / "engine", poison=float("nan"))
    line.config["engine"]["bundle"] = str(bundle.folder)
    line.start()
    assert line.process is not None
    output, _ = line.process.communicate(timeout=60)
    assert line.process.returncode == 1
    assert "infer-0" in output
    assert "probabilities" in output


def test_live_alerts_go_to_a_loopback_port_too(line: LineUnderTest, free_ports: list[int]) -> None:
    line.config["transport"] = {"kind": "ipc", "alerts_port": free_ports[0]}
    line.config["cameras"][0]["source"] |= {"fps": 20, "loop": True}
    line.start()
    with closing(Subscriber(f"tcp://127.0.0.1:{free_ports[0]}", "f2p.bar.", 100)) as alerts:
        topic, payload = await_that(lambda: next(alerts.receive(1), None))
    assert topic == "f2p.bar.cam1"
    assert InspectionResult.from_json(payload).verdict is Verdict.NG
    line.interrupt()
    line.finish()


@pytest.mark.parametrize("where", ["a full disk", "a closed pipe"])
def test_a_log_that_takes_nothing_costs_log_lines_and_nothing_else(line: LineUnderTest, where: str) -> None:
    line.config["cameras"][0]["source"] |= {"fps": 20}
    line.file.write_text(yaml.safe_dump(line.config))
    command = [sys.executable, "-m", "f2pnet.cli", "run", str(line.file), "--no-console"]
    command += ["--summary", str(line.folder / "summary.json")]
    if where == "a full disk":
        log = os.open("/dev/full", os.O_WRONLY)
    else:
        end, log = os.pipe()
        os.close(end)
    line.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0)
    os.close(log)
    for role in ("publish", "ingest", "infer"):  # each is replaced, which is logged
        os.kill(line.pid_of(role, seen=3), signal.SIGKILL)
    camera = line.finish()["cameras"]["cam1"]
    assert (camera["captured"], camera["inspected"], camera["in_flight"]) == (PICTURES, PICTURES, 0)
    check_each_once(line)
