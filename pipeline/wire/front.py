"""A TCP port before a ZeroMQ socket: strangers are bounded here, before they cost the worker's process descriptors.

ZeroMQ takes every connection that comes, and keeps a silent one for half a minute. So the port is ours: a thread takes
connections in, as many as `Admission` allows, and hands their bytes to the ZeroMQ socket, which listens on a Unix
socket in a private folder. A peer counts as idle until that socket says READY to it, which it does behind keys only to
a key that is allowed (ZMTP 3.1, rfc.zeromq.org/spec/37; CurveZMQ, rfc.zeromq.org/spec/26). Nothing is decrypted here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import socket
import threading
import time
from pathlib import Path

import structlog

from pipeline.processes.periodic import Periodic
from pipeline.wire.admission import Admission, Limits
from pipeline.wire.private_folder import make_private, runtime_base

MOST_CONNECTIONS = 512
DESCRIPTORS_OF_A_CONNECTION = 3
SHARE_OF_DESCRIPTORS = 0.4
MOST_IDLE_OF_AN_ADDRESS = 16
HANDSHAKE_S = 3.0
LARGEST_HANDSHAKE = 8_192
"""Bytes that a peer may send before it is known."""
CHUNK = 262_144
QUEUED = 64
TICK_S = 0.5
LINGER_S = 2.5
UNANSWERED_MS = 10_000
"""A peer whose host is gone, or whose cable is pulled, is let go after this."""
_GREETING = 64
_LONG, _COMMAND = 0x02, 0x04
_log = structlog.get_logger(__name__)


def limits_of_port() -> Limits:
    """As many connections as the process has descriptors for, beside those that it needs itself."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = int(descriptors * SHARE_OF_DESCRIPTORS) // DESCRIPTORS_OF_A_CONNECTION
    most = max(4, min(MOST_CONNECTIONS, room))
    return Limits(most, most, min(MOST_IDLE_OF_AN_ADDRESS, most // 2), HANDSHAKE_S)


class Front:
    """Takes connections on `host` and `port`, which are its own from the beginning, until it is closed.

    Raises OSError where it can't listen.
    """

    def __init__(self, host: str, port: int, inner: Path) -> None:
        self._inner = str(inner)
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=QUEUED
        )
        self._listener.setblocking(False)
        self._admission = Admission(limits_of_port())
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._closing = False
        self._listener_closed = threading.Event()
        self._refused = 0
        self._paused_until_s = 0.0
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name=f"port {port}", daemon=True)

    def start(self) -> None:
        """Begin, once the ZeroMQ socket listens."""
        self._thread.start()

    def close(self) -> None:
        """Close the port; what the ZeroMQ socket still sends while it closes is carried to its peers."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(OSError):  # it has seen it already, and ended
            self._wake.send(b"x")
        self._listener_closed.wait(LINGER_S)

    def join(self) -> None:
        """Wait until all connections are closed; at most `LINGER_S` after `close`."""
        self._thread.join(LINGER_S + TICK_S)

    def _run(self) -> None:
        look = Periodic(TICK_S)
        while not self._closing:
            self._carry()
            if look.due():
                self._admission.close_overdue()
                self._listen_again(time.monotonic())
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._listener)
        self._listener.close()
        self._listener_closed.set()
        until_s = time.monotonic() + LINGER_S
        while len(self._admission) and time.monotonic() < until_s:
            self._carry()
        for key in [*self._selector.get_map().values()]:
            if (passage := _passage_of(key)) is not None:
                passage.close()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _carry(self) -> None:
        for key, events in self._selector.select(TICK_S):
            if key.data is None:
                self._woken.recv(1)
                continue
            try:
                key.data(events)
            except Exception:  # one connection must not take the port with it
                _log.exception("connection failed")
                if (passage := _passage_of(key)) is not None:
                    passage.close()

    def _accept(self, events: int) -> None:
        try:
            client, address = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._selector.unregister(self._listener)
                self._paused_until_s = time.monotonic() + TICK_S
                _log.error("no connection can be taken now", reason=error.strerror)
            return
        passage = _Passage(client, self._selector, self._admission)
        if not self._admission.admit(passage, str(address[0]), passage.close) or not passage.open(self._inner):
            passage.close()
            self._refused += 1
            if self._refused & (self._refused - 1) == 0:  # the first, second, fourth, eighth ...: a flood is no log
                _log.warning("connection refused: too many of them", address=address[0], refused=self._refused)

    def _listen_again(self, now_s: float) -> None:
        if self._paused_until_s and now_s >= self._paused_until_s:
            self._paused_until_s = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)


def _passage_of(key: selectors.SelectorKey) -> _Passage | None:
    owner = getattr(key.data, "__self__", None)
    return owner if isinstance(owner, _Passage) else None


class _Passage:
    """One peer and its connection to the ZeroMQ socket."""

    def __init__(self, peer: socket.socket, selector: selectors.BaseSelector, admission: Admission) -> None:
        self._peer = peer
        self._inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._selector = selector
        self._admission = admission
        self._to: dict[socket.socket, memoryview] = {}  # what waits to be sent there
        self._heard = 0  # bytes that the peer sent before it was known
        self._answers: _Answers | None = _Answers()  # None: it is known
        self._closed = False

    def open(self, inner: str) -> bool:
        """Connect to the ZeroMQ socket; False when that does not answer."""
        for one in (self._peer, self._inner):
            one.setblocking(False)
        with contextlib.suppress(OSError):
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
        try:
            self._inner.connect(inner)
        except OSError:
            return False
        self._selector.register(self._peer, selectors.EVENT_READ, self._on_peer)
        self._selector.register(self._inner, selectors.EVENT_READ, self._on_inner)
        return True

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._admission.gone(self)
        for one in (self._peer, self._inner):
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)
            one.close()

    def _on_peer(self, events: int) -> None:
        self._turn(self._peer, self._inner, events)

    def _on_inner(self, events: int) -> None:
        self._turn(self._inner, self._peer, events)

    def _turn(self, here: socket.socket, there: socket.socket, events: int) -> None:
        if self._closed:
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._send(here, self._to.pop(here, memoryview(b"")))
            if events & selectors.EVENT_READ and there not in self._to:
                self._read(here, there)
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self, here: socket.socket, there: socket.socket) -> None:
        data = here.recv(CHUNK)
        if not data:
            self.close()
            return
        if self._answers is not None:
            self._watch(data, of_peer=here is self._peer)
        if not self._closed:
            self._send(there, memoryview(data))

    def _watch(self, data: bytes, *, of_peer: bool) -> None:
        """Until the peer is known: how much it says, and what it is answered."""
        if of_peer:
            self._heard += len(data)
            if self._heard > LARGEST_HANDSHAKE:
                self.close()
        elif self._answers is not None and self._answers.say_ready(data):
            self._answers = None
            self._admission.serve(self)

    def _send(self, there: socket.socket, data: memoryview) -> None:
        """Send what goes; the rest waits, and meanwhile nothing more is read for it."""
        try:
            sent = there.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._to[there] = data[sent:]
        for one, other in ((self._peer, self._inner), (self._inner, self._peer)):
            events = (selectors.EVENT_READ if other not in self._to else 0) | (
                selectors.EVENT_WRITE if one in self._to else 0
            )
            self._want(one, events)

    def _want(self, one: socket.socket, events: int) -> None:
        known = self._selector.get_map().get(one)
        handler = self._on_peer if one is self._peer else self._on_inner
        if known is None:
            if events:
                self._selector.register(one, events, handler)
        elif not events:
            self._selector.unregister(one)
        elif known.events != events:
            self._selector.modify(one, events, handler)


class _Answers:
    """What the ZeroMQ socket says to a peer while it gets to know it: a greeting, then commands, READY the last."""

    def __init__(self) -> None:
        self._data = b""
        self._passed = _GREETING

    def say_ready(self, data: bytes) -> bool:
        """Take in what it says next; whether READY was among it."""
        self._data += data
        while len(self._data) >= self._passed + 2:
            flags = self._data[self._passed]
            header = 9 if flags & _LONG else 2
            body = self._passed + header
            if len(self._data) < body + 6:
                return False
            if flags & _COMMAND and self._data[body : body + 6] == b"\x05READY":
                return True
            self._passed = body + int.from_bytes(self._data[self._passed + 1 : body], "big")
        return False


def inner_path(host: str, port: int) -> Path:
    """Where the ZeroMQ socket behind a port listens. Ports of another network namespace are other ports."""
    base = runtime_base()
    make_private(base)
    namespace = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - a link that leads to no path
    return base / f"{host.replace(':', '_')}-{port}-{namespace}.ipc"
