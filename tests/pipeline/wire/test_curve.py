"""Sockets beyond loopback: who has no key gets nothing and is not heard."""

from __future__ import annotations

import shutil
import stat
import time
from collections import Counter
from pathlib import Path

import pytest
import zmq
from typer.testing import CliRunner

from f2pnet.cli import app
from f2pnet.config import LineConfig
from f2pnet.config.line import CurveConfig
from f2pnet.errors import ConfigError, F2pError, MissingResource
from pipeline.frames.ledger import Ledger
from pipeline.wire import transport
from pipeline.wire.curve import Curve, end_guards, write_keys
from pipeline.wire.messages import Bye, LedgerReport
from pipeline.wire.transport import Hub, Link, Poller
from tests.pipeline.harness import LineUnderTest

HELLO = Bye(worker="w", incarnation="i")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Hosts `a` (binds), `b` (allowed) and `stranger`."""
    for name in ("a", "b", "stranger"):
        write_keys(tmp_path / "keys", name)
    (tmp_path / "keys/allowed").mkdir()
    for name in ("a", "b"):
        shutil.copy(tmp_path / f"keys/{name}.key", tmp_path / "keys/allowed")
    return tmp_path / "keys"


def curve(keys: Path, host: str, server: str = "a") -> Curve:
    config = CurveConfig(key=keys / f"{host}.key_secret", server_key=keys / f"{server}.key", allowed=keys / "allowed")
    return Curve.load(config)


def heard(hub: Hub, link: Link, limit_s: float) -> int:
    """How many messages of the link reach the hub within the time."""
    link.send(HELLO)
    until_s, count = time.monotonic() + limit_s, 0
    while time.monotonic() < until_s and not count:
        Poller(hub).wait(50)
        count += sum(1 for _ in hub.receive(10))
    return count


def test_only_a_peer_whose_key_is_allowed_is_heard(keys: Path, free_ports: list[int]) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100, curve(keys, "a"), from_guests=(Bye,))
    friend = Link(address, "b", 100, curve(keys, "b"), 0)
    others = {
        "a key that is not allowed": Link(address, "x", 100, curve(keys, "stranger"), 0),
        "no key at all": Link(address, "y", 100, None, 0),
        "the key of another server": Link(address, "z", 100, curve(keys, "b", server="stranger"), 0),
    }
    try:
        assert heard(hub, friend, 5)
        for why, link in others.items():
            assert not heard(hub, link, 1), why
        assert hub.send(b"b", HELLO)
        assert not any(hub.send(name, HELLO) for name in (b"x", b"y", b"z"))
    finally:
        for socket in (hub, friend, *others.values()):
            socket.close()
        end_guards()


def test_a_whole_line_works_behind_keys(line: LineUnderTest, keys: Path, free_ports: list[int]) -> None:
    names = ("cam1", "publish", "alerts")
    pair = {"key": str(keys / "a.key_secret"), "server_key": str(keys / "a.key"), "allowed": str(keys / "allowed")}
    line.config["transport"] = {"kind": "tcp", "ports": dict(zip(names, free_ports, strict=True)), "curve": pair}
    line.start()
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"])
    spy = zmq.Context.instance().socket(zmq.SUB)
    spy.setsockopt(zmq.SUBSCRIBE, b"")
    spy.setsockopt(zmq.LINGER, 0)
    spy.connect(f"tcp://127.0.0.1:{free_ports[2]}")
    assert not spy.poll(1000), "alerts reach a listener without a key"
    spy.close()
    line.finish()
    assert Counter(entry["frame_id"] for entry in line.stored()).most_common(1)[0][1] == 1
    assert len(line.stored()) == 90


def test_beyond_loopback_keys_are_asked_for(line: LineUnderTest) -> None:
    ports = {"cam1": 5001, "publish": 5002, "alerts": 5003}
    for address in ({"host": "192.0.2.1"}, {"bind": "0.0.0.0"}):
        with pytest.raises(ValueError, match="f2p keys"):
            LineConfig.model_validate({**line.config, "transport": {"kind": "tcp", "ports": ports, **address}})


def test_the_secret_is_readable_by_its_owner_alone_and_in_no_repr(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["keys", "host1", "--out", str(tmp_path / "keys")])
    assert done.exit_code == 0, done.output
    secret = tmp_path / "keys/host1.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    again = CliRunner().invoke(app, ["keys", "host1", "--out", str(tmp_path / "keys")])
    assert again.exit_code == 2
    shutil.copy(tmp_path / "keys/host1.key", tmp_path / "keys/allowed.key")
    loaded = Curve.load(CurveConfig(key=secret, server_key=tmp_path / "keys/host1.key", allowed=tmp_path / "keys"))
    assert loaded.secret.decode() not in repr(loaded)


@pytest.mark.parametrize(
    ("broken", "error", "words"),
    [
        ({"key": "a.key"}, ConfigError, "no secret key"),
        ({"key": "none.key_secret"}, MissingResource, "f2p keys"),
        ({"server_key": "noise.key"}, ConfigError, "no key file"),
        ({"allowed": "empty"}, MissingResource, "may connect"),
    ],
)
def test_keys_that_do_not_fit_are_told_with_the_cure(
    keys: Path, broken: dict[str, str], error: type[F2pError], words: str
) -> None:
    (keys / "noise.key").write_text("noise")
    (keys / "empty").mkdir()
    names = {"key": "a.key_secret", "server_key": "a.key", "allowed": "allowed"} | broken
    with pytest.raises(error, match=words):
        Curve.load(CurveConfig.model_validate({option: keys / name for option, name in names.items()}))


def said(hub: Hub, limit_s: float) -> list[tuple[bytes, str]]:
    """Who was heard within the time, and of what kind the messages were."""
    until_s, heard = time.monotonic() + limit_s, []
    while time.monotonic() < until_s:
        Poller(hub).wait(50)
        heard += [(peer, type(message).__name__) for peer, message, _ in hub.receive(10)]
    return heard


def test_a_guest_says_what_guests_may_say_in_its_own_name(keys: Path, free_ports: list[int]) -> None:
    """A key that is allowed and not the binding host's own: an inference host, and no more."""
    shutil.copy(keys / "stranger.key", keys / "allowed")
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100, curve(keys, "a"), from_guests=(Bye,))
    report = LedgerReport(camera_id="cam1", run_id="r", version=1, ledger=Ledger())
    links = {
        "own": Link(address, "ingest/cam1", 100, curve(keys, "a"), 0),
        "guest": Link(address, "infer-far/1", 100, curve(keys, "b"), 0),
        "guest as camera": Link(address, "ingest/cam1", 100, curve(keys, "b"), 0),
        "guest as supervisor": Link(address, "supervisor", 100, curve(keys, "b"), 0),
        "guest as sink": Link(address, "sink-mes", 100, curve(keys, "b"), 0),
        "other guest in its name": Link(address, "infer-far/2", 100, curve(keys, "stranger"), 0),
    }
    try:
        links["own"].send(report)
        links["guest"].send(HELLO)
        assert sorted(said(hub, 2)) == [(b"infer-far/1", "Bye"), (b"ingest/cam1", "LedgerReport")]
        for name, link in links.items():
            link.send(report if name == "guest" else HELLO)
        assert said(hub, 2) == [(b"ingest/cam1", "Bye")]
        assert hub.is_guest(b"infer-far/1")
        assert not hub.is_guest(b"ingest/cam1")
        assert hub.send(b"ingest/cam1", HELLO)
        Poller(links["own"]).wait(2000)
        assert [type(message) for message, _ in links["own"].receive(5)] == [Bye]
        assert not [*links["guest as camera"].receive(5)]
        assert hub.seal(b"ingest/cam1", "cam1/r/000001") == b""
        assert hub.seal(b"infer-far/1", "cam1/r/000001") != hub.seal(b"infer-far/1", "cam1/r/000002")
    finally:
        for socket in (hub, *links.values()):
            socket.close()
        end_guards()


def test_a_guest_with_many_names_crowds_out_nobody_but_itself(
    keys: Path, free_ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PEERS_OF_A_GUEST", 4)
    monkeypatch.setattr(transport, "NAMES_OF_A_GUEST", 4)
    shutil.copy(keys / "stranger.key", keys / "allowed")
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100, curve(keys, "a"), from_guests=(Bye,))
    other = Link(address, "infer-other/1", 100, curve(keys, "stranger"), 0)
    crowd = [Link(address, f"infer-{number}/1", 100, curve(keys, "b"), 0) for number in range(7)]
    try:
        assert heard(hub, other, 5)
        for link in crowd:
            assert heard(hub, link, 5)
        known = [number for number in range(7) if hub.is_guest(f"infer-{number}/1".encode())]
        assert known == [3, 4, 5, 6]
        assert hub.send(b"infer-other/1", HELLO)
        taker = Link(address, "infer-other/2", 100, curve(keys, "b"), 0)
        crowd.append(taker)
        assert not heard(hub, taker, 1)  # the name is still the other key's
    finally:
        for socket in (hub, other, *crowd):
            socket.close()
        end_guards()


def test_the_lines_own_worker_takes_its_name_back_from_a_guest(keys: Path, free_ports: list[int]) -> None:
    address = f"tcp://127.0.0.1:{free_ports[0]}"
    hub = Hub(address, 100, curve(keys, "a"), from_guests=(Bye,))
    guest, own = (Link(address, "infer-0/1", 100, curve(keys, host), 0) for host in ("b", "a"))
    try:
        assert heard(hub, guest, 5)
        assert hub.is_guest(b"infer-0/1")
        assert heard(hub, own, 5)
        assert not hub.is_guest(b"infer-0/1")
        assert not heard(hub, guest, 1)
    finally:
        for socket in (hub, guest, own):
            socket.close()
        end_guards()
