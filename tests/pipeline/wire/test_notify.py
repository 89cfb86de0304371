"""The notify protocol between a worker and its supervisor, over real sockets."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.wire.messages import Heartbeat
from pipeline.wire.notify import ENVIRONMENT_KEY, NotifyListener, notify


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifyListener]:
    listener = NotifyListener()
    monkeypatch.setenv(ENVIRONMENT_KEY, listener.address)
    yield listener
    listener.close()


def beat(name: str = "infer-0", detail: str | None = None) -> Heartbeat:
    return Heartbeat(name=name, role="infer", pid=os.getpid(), state="running", at_ns=1, progress=7, detail=detail)


def arrived(listener: NotifyListener) -> list[Heartbeat]:
    """Heartbeats of one look; there is one to be heard."""
    assert select.select([listener], [], [], 5.0)[0]
    return listener.receive()


def test_a_heartbeat_arrives_as_it_was_sent(listener: NotifyListener) -> None:
    sent = beat(detail="store away, 3 verdicts in the spool")
    notify(sent)
    assert arrived(listener) == [sent]
    assert listener.receive() == []


def test_all_that_waits_is_received_in_order(listener: NotifyListener) -> None:
    for number in range(5):
        notify(beat(f"infer-{number}"))
    assert [each.name for each in arrived(listener)] == [f"infer-{number}" for number in range(5)]


@pytest.mark.parametrize("datagram", [b"", b"READY=1", b"X_F2P={}", b"X_F2P=\xff\xfe", b"\x00" * 1000])
def test_a_datagram_without_a_heartbeat_is_passed_over(listener: NotifyListener, datagram: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(datagram, "\0" + listener.address[1:])
    notify(beat())
    assert arrived(listener) == [beat()]


def test_systemd_reads_the_same_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # paths of Unix sockets must be short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("notify")
        systemd.settimeout(5.0)
        monkeypatch.setenv(ENVIRONMENT_KEY, "notify")
        notify(beat(detail="3 verdicts"))
        lines = systemd.recv(10_000).decode().splitlines()
    assert lines[:3] == ["READY=1", "WATCHDOG=1", "STATUS=running: 3 verdicts"]


@pytest.mark.parametrize("address", [None, "@f2p-notify-of-nobody", "/nowhere/notify"])
def test_a_supervisor_that_is_gone_disturbs_nobody(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv(ENVIRONMENT_KEY, raising=False)
    if address is not None:
        monkeypatch.setenv(ENVIRONMENT_KEY, address)
    notify(beat())
