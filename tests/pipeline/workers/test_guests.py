"""What a host behind a key of its own may do to the line: judge what it was lent, and speak for itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from f2pnet.alerts.stream import ALERT_VERDICTS, RESULT_VERDICTS, entries
from f2pnet.config import LineConfig, load_line
from f2pnet.config.line import CurveConfig
from f2pnet.inspection.result import InspectionResult, Verdict
from f2pnet.redis.link import RedisLink
from pipeline.frames.ledger import Ledger
from pipeline.store.durable import DurableStore
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.evidence import EvidenceStore
from pipeline.store.redis_store import RedisStore
from pipeline.store.spool.spool import Spool
from pipeline.wire.curve import Curve, write_keys
from pipeline.wire.messages import Fault, FaultAcks, Heartbeat, Judged, LedgerReport, Message, Verdicts
from pipeline.wire.rundir import RunDir
from pipeline.wire.transport import LARGEST_FROM_GUESTS, Link, end_transport
from pipeline.workers.guest_bounds import FAULTS_AT_ONCE, NAMES, GuestBounds
from pipeline.workers.publish import PublishWorker
from tests.pipeline.harness import LineUnderTest

RUN = "01975f3e-8a3b-7000-8000-000000000000"
LIMIT_S = 10.0


@dataclass
class Plant:
    """A publish worker behind keys, its store, and links of the line's own camera and of a guest."""

    worker: PublishWorker
    store: RedisLink
    camera: Link
    guest: Link
    keys: Path
    publish_address: str

    def step(self, seconds: float = 0.7) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.worker.step()

    def results(self) -> list[str]:
        found = entries(self.store.exchange, "f2p:{bar}:results", RESULT_VERDICTS)
        return [entry.frame_id for entry in found]  # type: ignore[union-attr]

    def faults(self) -> list[Any]:
        return [*entries(self.store.exchange, "f2p:{bar}:alerts", ALERT_VERDICTS)]


def curve_of(keys: Path, host: str) -> Curve:
    return Curve.load(CurveConfig(key=keys / f"{host}.key_secret", server_key=keys / "a.key", allowed=keys / "allowed"))


@pytest.fixture
def plant(line: LineUnderTest, tmp_path: Path, free_ports: list[int]) -> Iterator[Plant]:
    keys = tmp_path / "keys"
    for host in ("a", "b", "c"):
        write_keys(keys, host)
    (keys / "allowed").mkdir()
    for host in ("a", "b", "c"):
        shutil.copy(keys / f"{host}.key", keys / "allowed")
    pair = {"key": "keys/a.key_secret", "server_key": "keys/a.key", "allowed": "keys/allowed"}
    ports = dict(zip(("cam1", "publish", "alerts"), free_ports, strict=True))
    line.config["transport"] = {"kind": "tcp", "ports": ports, "curve": pair}
    line.file.write_text(yaml.safe_dump(line.config))
    config: LineConfig = load_line(line.file)
    run_dir = RunDir(config, line.file)
    with EmbeddedRedis(tmp_path / "store") as server:
        store = DurableStore(RedisStore(server.url, "bar"), Spool(tmp_path / "spool", 2**20))
        evidence = EvidenceStore(tmp_path / "evidence", 16)
        worker = PublishWorker("publish", config, run_dir, store, evidence)
        worker.set_up()
        camera = Link(run_dir.publish_address, "ingest/cam1", 100, run_dir.curve, 0)
        guest = Link(run_dir.publish_address, "infer-far", 100, curve_of(keys, "b"), 0)
        link = RedisLink(server.url)
        yield Plant(worker, link, camera, guest, keys, run_dir.publish_address)
        for one in (camera, guest, link):
            one.close()
        worker.tear_down()
        end_transport()


def verdict(number: int, seal: bytes = b"", **changed: Any) -> Judged:
    result = InspectionResult(
        frame_id=f"cam1/{RUN}/{number:06d}", camera_id="cam1", seq=number, verdict=Verdict.OK, captured_at_ns=1
    )
    return Judged(result=msgspec.structs.replace(result, **changed), captured_mono_ns=1, judged_mono_ns=1, seal=seal)


def seal_of(plant: Plant, seq: int, host: str = "b") -> bytes:
    """What a camera of the line gives with a lease to that host."""
    guest_key = curve_of(plant.keys, host).public.decode()
    return curve_of(plant.keys, "a").seal(f"{guest_key}/cam1/{RUN}/{seq:06d}".encode())


def test_a_guest_judges_the_frames_that_it_was_lent_and_no_others(plant: Plant) -> None:
    sealed = [seal_of(plant, seq) for seq in range(4)]
    items = [
        verdict(0, sealed[0]),
        verdict(1),  # with no seal
        verdict(2, sealed[1]),  # with that of another frame
        verdict(3, seal_of(plant, 3, "c")),  # with that of another guest
    ]
    for item in items:
        plant.guest.send(Verdicts(items=[item]))
    plant.step()
    assert plant.results() == [f"cam1/{RUN}/000000"]
    plant.camera.send(Verdicts(items=[verdict(5)]))
    plant.step()
    assert plant.results() == [f"cam1/{RUN}/000000", f"cam1/{RUN}/000005"]


@pytest.mark.parametrize(
    "changed",
    [
        {"frame_id": "../../x/1"},
        {"frame_id": f"../{RUN}/000001"},
        {"camera_id": "cam2"},
        {"seq": 2},
        {"frame_id": f"cam1/{RUN}/1"},
        {"verdict": Verdict.FAULT},
        {"captured_at_ns": -1},
        {"captured_at_ns": 2**63},
        {"frame_id": None},
    ],
)
def test_a_verdict_that_does_not_agree_with_itself_is_refused(plant: Plant, changed: dict[str, Any]) -> None:
    plant.camera.send(Verdicts(items=[verdict(1, **changed), verdict(0)]))
    plant.step()
    assert plant.results() == [f"cam1/{RUN}/000000"]


def test_a_guest_speaks_in_its_own_name(plant: Plant) -> None:
    beat = Heartbeat(name="infer-far", role="infer", pid=1, state="running", at_ns=1, progress=1)
    refused: list[Message] = [
        msgspec.structs.replace(beat, name="publish"),
        msgspec.structs.replace(beat, name="infer-0", state="stopped"),
        msgspec.structs.replace(beat, role="publish"),
        msgspec.structs.replace(beat, detail="x" * 100_000),
        LedgerReport(camera_id="cam1", run_id=RUN, version=9, ledger=Ledger(captured=1, in_flight=1)),
    ]
    for message in [*refused, beat]:
        plant.guest.send(message)
    plant.step()
    (flat,) = plant.store.exchange(["HKEYS", "f2p:{bar}:workers"])
    assert b"infer-far" in flat
    assert not {b"infer-0"} & set(flat)
    assert plant.store.exchange(["EXISTS", f"f2p:{{bar}}:ledger:cam1:{RUN}"]) == [0]


def test_a_guests_fault_uses_up_nobody_elses_event_id(plant: Plant) -> None:
    fault = Fault(
        event_id=f"{RUN}/infer-0/restart-1",
        at_ns=-5,
        source="supervisor",
        camera_id="cam9",
        kind="worker",
        text="a\x1bb",
    )
    plant.guest.send(fault)
    plant.step()
    plant.camera.send(msgspec.structs.replace(fault, text="real", at_ns=7))
    plant.step()
    told = [(entry.frame_id, entry.camera_id, entry.result.reason) for entry in plant.faults()]
    assert told == [
        (f"infer-far/{RUN}/infer-0/restart-1", "", "worker: a\\x1bb"),
        (f"{RUN}/infer-0/restart-1", "cam9", "worker: real"),
    ]
    acknowledged = [message for message, _ in plant.guest.receive(10) if isinstance(message, FaultAcks)]
    assert [message.event_ids for message in acknowledged] == [[fault.event_id]]


def test_a_fault_that_comes_again_is_stored_once_and_acknowledged_again(plant: Plant) -> None:
    fault = Fault(event_id="cam1/run/camera-1", at_ns=1, source="cam1", camera_id="cam1", kind="camera", text="lost")
    heard: list[Message] = []
    for _ in range(3):
        plant.camera.send(fault)
        plant.step(0.4)
        heard += [message for message, _ in plant.camera.receive(10)]
    assert len(plant.faults()) == 1
    assert [message.event_ids for message in heard if isinstance(message, FaultAcks)] == [[fault.event_id]] * 3


def test_a_guest_that_floods_faults_is_slowed_down_and_told_of_and_the_lines_own_are_not(plant: Plant) -> None:
    def fault(number: int) -> Fault:
        return Fault(event_id=f"x-{number}", at_ns=1, source="x", camera_id="cam1", kind="engine", text="no")

    def stored_by(prefix: str) -> int:
        return sum(alert.frame_id.startswith(prefix) for alert in plant.faults())

    for number in range(FAULTS_AT_ONCE + 300):
        while not plant.guest.send(fault(number)):
            plant.worker.step()
    plant.step(2.0)
    assert FAULTS_AT_ONCE <= stored_by("infer-far/") < FAULTS_AT_ONCE + 100
    assert sum("more than 200 faults at once" in (alert.result.reason or "") for alert in plant.faults()) == 1
    acknowledged = [i for m, _ in plant.guest.receive(1_000) if isinstance(m, FaultAcks) for i in m.event_ids]
    assert len(acknowledged) == stored_by("infer-far/")  # the others are kept by whoever sent them
    for number in range(FAULTS_AT_ONCE + 50):
        while not plant.camera.send(fault(number)):
            plant.worker.step()
    plant.step(2.0)
    assert stored_by("x-") == FAULTS_AT_ONCE + 50


def test_the_names_of_a_guests_workers_are_bounded_in_the_store(plant: Plant) -> None:
    curve = curve_of(plant.keys, "c")
    for number in range(NAMES + 6):
        pod = Link(plant.publish_address, f"infer-{number}", 10, curve, 0)
        pod.send(Heartbeat(name=f"infer-{number}", role="infer", pid=1, state="running", at_ns=1, progress=1))
        until_s = time.monotonic() + LIMIT_S
        while not plant.store.exchange(["HEXISTS", "f2p:{bar}:workers", f"infer-{number}"])[0]:
            assert time.monotonic() < until_s
            plant.worker.step()
        pod.close()
    plant.step()
    (names,) = plant.store.exchange(["HKEYS", "f2p:{bar}:workers"])
    expected = {f"infer-{number}".encode() for number in range(6, NAMES + 6)}
    assert {name for name in names if name.startswith(b"infer-")} == expected


def test_a_huge_message_of_a_guest_is_refused_and_the_next_one_heard(plant: Plant) -> None:
    text = "x" * (LARGEST_FROM_GUESTS + 1)
    plant.guest.send(Fault(event_id="huge", at_ns=1, source="x", camera_id=None, kind="engine", text=text))
    plant.guest.send(Fault(event_id="small", at_ns=1, source="x", camera_id=None, kind="engine", text="no"))
    until_s = time.monotonic() + LIMIT_S
    while not plant.faults():
        assert time.monotonic() < until_s
        plant.worker.step()
    plant.step()
    assert [alert.frame_id for alert in plant.faults()] == ["infer-far/small"]


def test_the_bound_of_faults_is_for_each_key_and_comes_back_with_time() -> None:
    now_s = 0.0
    bounds = GuestBounds(lambda: now_s)
    assert [bounds.may_report("a") for _ in range(FAULTS_AT_ONCE + 1)] == [True] * FAULTS_AT_ONCE + [False]
    assert not bounds.is_reported("a")
    assert bounds.is_reported("a")
    assert bounds.may_report("b")
    now_s = 3.0
    assert [bounds.may_report("a") for _ in range(4)] == [True, True, True, False]
    now_s = 1e6
    assert not bounds.is_reported("a")
    assert sum(bounds.may_report("a") for _ in range(2 * FAULTS_AT_ONCE)) == FAULTS_AT_ONCE
