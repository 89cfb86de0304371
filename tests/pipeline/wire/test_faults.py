"""Faults are kept until they are stored."""

from __future__ import annotations

import pytest

from pipeline.wire import faults
from pipeline.wire.faults import KEPT, FaultOutbox, new_fault
from pipeline.wire.messages import Fault, Message


class Publish:
    """What arrives at a publish worker; `away`: it takes nothing."""

    def __init__(self) -> None:
        self.away = False
        self.arrived: list[Fault] = []

    def send(self, message: Message) -> bool:
        assert isinstance(message, Fault)
        if not self.away:
            self.arrived.append(message)
        return not self.away

    def ids(self) -> list[str]:
        return [fault.event_id for fault in self.arrived]


@pytest.fixture
def publish() -> Publish:
    return Publish()


def test_a_fault_is_sent_again_until_it_is_acknowledged(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(faults.time, "monotonic", lambda: now_s)
    outbox = FaultOutbox("ingest-cam1", publish.send)
    fault = new_fault("ingest-cam1", "camera", "lost", camera_id="cam1", event_id="e1")
    outbox.add(fault)
    outbox.add(fault)
    outbox.send_due()
    outbox.send_due()
    assert publish.ids() == ["e1"]
    now_s += faults.SEND_AGAIN_S
    outbox.send_due()
    assert publish.ids() == ["e1", "e1"]
    outbox.acknowledged(["other", "e1"])
    now_s += faults.SEND_AGAIN_S
    outbox.send_due()
    assert publish.ids() == ["e1", "e1"]
    assert len(outbox) == 0


def test_faults_wait_in_order_for_a_publish_worker_that_is_away(publish: Publish) -> None:
    outbox = FaultOutbox("infer-0", publish.send)
    publish.away = True
    for name in ("a", "b", "c"):
        outbox.add(new_fault("infer-0", "engine", "broken", event_id=name))
        outbox.send_due()
    publish.away = False
    outbox.send_due()
    assert publish.ids() == ["a", "b", "c"]


def test_more_faults_than_are_kept_are_told_by_number(publish: Publish) -> None:
    outbox = FaultOutbox("ingest-cam1", publish.send)
    for number in range(KEPT + 25):
        outbox.add(new_fault("ingest-cam1", "source", "broken", event_id=str(number)))
    outbox.send_due()
    outbox.acknowledged(publish.ids())
    outbox.send_due()
    assert publish.arrived[-1].text == f"25 further faults of ingest-cam1 came while {KEPT} waited to be stored"
    outbox.acknowledged(publish.ids())
    assert len(outbox) == 0


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "line\nforged", "\udcff.png", "\u202ereversed", "x" * 100_000])
def test_the_text_of_a_fault_is_fit_for_terminals_and_messages(text: str) -> None:
    fault = new_fault("ingest-cam1", "source", text)
    assert fault.text.isprintable()
    assert len(fault.text) <= 10 * faults.LONGEST_TEXT
    fault.text.encode()
