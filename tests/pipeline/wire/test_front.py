"""Strangers at a worker's TCP port: they cost it few descriptors, and nobody else notices them."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from f2pnet.config.line import CurveConfig
from f2pnet.errors import ConfigError
from pipeline.wire import front as front_module
from pipeline.wire.curve import Curve, write_keys
from pipeline.wire.front import LARGEST_HANDSHAKE, MOST_IDLE_OF_AN_ADDRESS, inner_path
from pipeline.wire.messages import Acks, Bye, Ping
from pipeline.wire.transport import Broadcaster, Hub, Link, Poller, Subscriber, end_transport

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00CURVE" + bytes(47)
LIMIT_S = 10.0


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Curve]:
    write_keys(tmp_path / "keys", "a")
    (tmp_path / "keys/allowed").mkdir()
    shutil.copy(tmp_path / "keys/a.key", tmp_path / "keys/allowed")
    folder = tmp_path / "keys"
    yield Curve.load(CurveConfig(key=folder / "a.key_secret", server_key=folder / "a.key", allowed=folder / "allowed"))
    end_transport()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def send_for_ever(stranger: socket.socket, words: bytes) -> None:
    while True:
        stranger.sendall(words)


def received(hub: Hub, limit_s: float = LIMIT_S) -> object:
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        Poller(hub).wait(50)
        for _, message, _ in hub.receive(1):
            return message
    return None


@pytest.mark.parametrize(
    "words",
    [b"", GREETING[:10], GREETING, b"GET / HTTP/1.1\r\n\r\n", os.urandom(64)],
    ids=["silence", "half a greeting", "a greeting", "http", "noise"],
)
def test_strangers_cost_few_descriptors_and_others_are_heard(keys: Curve, free_ports: list[int], words: bytes) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100, keys)
    friend = Link(address, "friend", 100, keys, 0)
    strangers: list[socket.socket] = []
    try:
        friend.send(Ping())
        assert isinstance(received(hub), Ping)
        before = descriptors()
        for _ in range(200):
            stranger = socket.create_connection(("127.0.0.1", free_ports[0]), 2)
            stranger.sendall(words)
            strangers.append(stranger)
        time.sleep(0.5)
        own = descriptors() - before - len(strangers)
        assert own <= 3 * MOST_IDLE_OF_AN_ADDRESS + 10
        friend.send(Ping())
        assert isinstance(received(hub), Ping)
        late = Link(address, "late", 100, keys, 0)
        late.send(Bye(worker="late", incarnation="x"))
        assert isinstance(received(hub), Bye)
        late.close()
    finally:
        for one in (*strangers, friend, hub):
            one.close()


def test_one_that_does_not_show_its_key_is_hung_up_on(
    keys: Curve, free_ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module, "HANDSHAKE_S", 0.5)
    hub = Hub(f"tcp://127.0.0.1:{free_ports[0]}", 100, keys)
    try:
        with socket.create_connection(("127.0.0.1", free_ports[0]), 2) as slow:
            slow.settimeout(LIMIT_S)
            began_s = time.monotonic()
            for byte in GREETING:
                try:
                    slow.sendall(bytes((byte,)))
                except OSError:
                    break
                time.sleep(0.1)
            assert time.monotonic() - began_s < 4
        with socket.create_connection(("127.0.0.1", free_ports[0]), 2) as loud:
            loud.settimeout(LIMIT_S)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                send_for_ever(loud, GREETING + b"\x04\xff" + b"x" * LARGEST_HANDSHAKE)
    finally:
        hub.close()


def test_large_messages_pass_whole_and_in_order(keys: Curve, free_ports: list[int]) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100, keys)
    link = Link(address, "far", 100, keys, 0)
    try:
        link.send(Ping())
        assert isinstance(received(hub), Ping)
        frames = [os.urandom(5_000_000 + number) for number in range(6)]
        for frame in frames:
            assert hub.send(b"far", Acks(run_id="r", stored=[]), [frame])
        arrived: list[bytes] = []
        until_s = time.monotonic() + LIMIT_S
        while len(arrived) < len(frames) and time.monotonic() < until_s:
            Poller(link).wait(50)
            arrived += [parts[0] for _, parts in link.receive(10)]
        assert arrived == frames
    finally:
        link.close()
        hub.close()


def test_what_was_sent_before_closing_arrives(free_ports: list[int]) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100)
    link = Link(address, "peer", 100, None, 0)
    link.send(Ping())
    assert isinstance(received(hub), Ping)
    payload = os.urandom(3_000_000)
    assert hub.send(b"peer", Acks(run_id="last", stored=[]), [payload])
    hub.close()
    until_s, arrived = time.monotonic() + LIMIT_S, []
    while not arrived and time.monotonic() < until_s:
        Poller(link).wait(50)
        arrived = [parts[0] for _, parts in link.receive(10)]
    assert arrived == [payload]
    link.close()


def test_a_port_is_free_when_its_socket_is_closed_and_refused_while_it_is_not(free_ports: list[int]) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    for _ in range(3):
        hub = Hub(address, 100)
        inode = inner_path("127.0.0.1", free_ports[0]).stat().st_ino
        with pytest.raises(ConfigError, match="in use by another program"):
            Hub(address, 100)
        assert inner_path("127.0.0.1", free_ports[0]).stat().st_ino == inode  # the first one's is untouched
        hub.close()


def test_live_alerts_reach_listeners_through_the_port(free_ports: list[int]) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    live = Broadcaster([address], 100)
    listener = Subscriber(address, "f2p.", 100)
    silent = [socket.create_connection(("127.0.0.1", free_ports[0]), 2) for _ in range(50)]
    try:
        until_s, heard = time.monotonic() + LIMIT_S, []
        while not heard and time.monotonic() < until_s:
            live.send("f2p.line3.cam1", b"{}")
            Poller(listener).wait(50)
            heard = [*listener.receive(10)]
        assert heard[0] == ("f2p.line3.cam1", b"{}")
    finally:
        for one in (*silent, listener, live):
            one.close()
        end_transport()
