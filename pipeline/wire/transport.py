"""The file that speaks ZeroMQ: sockets that send and receive messages, with limits, and never block.

A `Hub` is bound and talks to many peers by name; a `Link` connects to one hub and re-connects by itself for ever;
a `Broadcaster` publishes to whoever listens. Every queue has a limit; what does not fit is refused to the sender, who
decides (`send` returns False). ZeroMQ's errors become ours.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import structlog
import zmq

from f2pnet.errors import ConfigError, F2pError, out_of_resources
from pipeline.wire.curve import Curve, end_guards
from pipeline.wire.messages import BadMessage, Message, decode, encode

LINGER_MS = 2_000  # how long a closing socket goes on delivering what was sent, by default
MAX_MESSAGE_BYTES = 512 * 2**20  # a peer that sends more is cut off
MAX_PARTS = 1_024
HEARTBEAT_MS = 1_000
MOST_REMADE = 32  # socket files made anew by one process; then it starts afresh
_log = structlog.get_logger(__name__)


class TransportError(F2pError):
    """A socket failed in a way that retrying does not cure."""


class Waitable(Protocol):
    """Something a `Poller` can wait for: one of our sockets, or anything with a file descriptor."""

    def fileno(self) -> int: ...


class _Socket:
    """A ZeroMQ socket with our limits."""

    def __init__(self, kind: int, queue_limit: int, curve: Curve | None, linger_ms: int = LINGER_MS) -> None:
        self._curve = curve
        self._files: dict[Path, int | None] = {}  # of what was bound; inode
        self._remade = 0
        try:
            self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        except zmq.ZMQError as error:
            raise _translated("no socket", error) from error
        self._socket.set_hwm(queue_limit)
        self._socket.setsockopt(zmq.LINGER, linger_ms)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)

    def bind(self, address: str) -> None:
        if self._curve is not None:
            self._curve.guard(self._socket)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"{address} is in use by another program: choose another port or stop it") from error
            if short := out_of_resources(f"cannot listen on {address}", OSError(error.errno, error.strerror)):
                raise short from error
            raise ConfigError(f"cannot listen on {address}: {error.strerror}; check the line's transport") from error
        self._note_file(address)

    def keep(self, make_folder: Callable[[], None]) -> bool:
        """Make socket files anew that were removed, in the folder that `make_folder` makes; True if one was.

        Peers that are connected stay so. To be called now and then by whoever bound it. Raises OutOfResources.
        """
        lost = [path for path, inode in self._files.items() if _inode(path) != inode]
        for path in lost:
            if self._remade >= MOST_REMADE:  # each of them leaves a descriptor behind
                raise TransportError(f"{path} was removed {self._remade} times: exclude its folder from cleaning")
            make_folder()
            try:
                self._socket.bind(f"ipc://{path}")
            except zmq.ZMQError as error:
                raise _translated(f"socket {path} was removed and can't be made anew", error) from error
            self._remade += 1
            self._note_file(f"ipc://{path}")
            _log.warning("socket file was removed and is made anew", file=str(path))
        return bool(lost)

    def _note_file(self, address: str) -> None:
        if address.startswith("ipc://"):
            path = Path(address.removeprefix("ipc://"))
            self._files[path] = _inode(path)

    def connect(self, address: str) -> None:
        if self._curve is not None:
            self._curve.introduce(self._socket)
        self._socket.connect(address)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """ZeroMQ's notification descriptor. Poll it through `Poller`, which knows how."""
        return int(self._socket.FD)

    @property
    def raw(self) -> zmq.Socket[bytes]:
        return self._socket

    def _send(self, parts: list[bytes]) -> bool:
        try:
            self._socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            return False  # the queue is full
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                return False  # the hub knows no such peer (any more)
            raise TransportError(f"sending failed: {error.strerror}") from error
        return True

    def _receive(self) -> list[bytes] | None:
        try:
            return self._socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise TransportError(f"receiving failed: {error.strerror}") from error


def _translated(what: str, error: zmq.ZMQError) -> F2pError:
    """ZeroMQ's error as ours, with the cure where resources ran out."""
    system = OSError(error.errno, error.strerror)
    return out_of_resources(what, system) or TransportError(f"{what}: {error.strerror}")


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _decoded(parts: list[bytes]) -> tuple[Message, list[bytes]] | None:
    """Message and extra parts, or None (and a log entry) for what is none: a bad peer must not stop the line."""
    try:
        if not 1 <= len(parts) <= MAX_PARTS:
            raise BadMessage(f"{len(parts)} parts", b"")
        return decode(parts[0]), parts[1:]
    except BadMessage as error:
        _log.warning("bad message refused", reason=str(error), start=error.data[:32].hex())
        return None


class Hub(_Socket):
    """Bound socket that many peers connect to. `queue_limit` messages wait for each peer at most."""

    def __init__(self, address: str, queue_limit: int, curve: Curve | None = None) -> None:
        super().__init__(zmq.ROUTER, queue_limit, curve)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an unknown peer is an answer, not silence
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted peer takes its name over
        self.bind(address)

    def send(self, peer: bytes, message: Message, extra: Iterable[bytes] = ()) -> bool:
        """False when the peer is unknown or its queue full."""
        return self._send([peer, encode(message), *extra])

    def receive(self, at_most: int) -> Iterator[tuple[bytes, Message, list[bytes]]]:
        """What has arrived: (peer, message, extra parts)."""
        for _ in range(at_most):
            parts = self._receive()
            if parts is None:
                return
            if decoded := _decoded(parts[1:]):
                yield parts[0], *decoded


class Link(_Socket):
    """Connection to one hub, under a name that the hub answers to.

    `linger_ms`: how long closing waits for a hub that is away to take what was sent.
    """

    def __init__(
        self, address: str, name: str, queue_limit: int, curve: Curve | None = None, linger_ms: int = LINGER_MS
    ) -> None:
        super().__init__(zmq.DEALER, queue_limit, curve, linger_ms)
        self._socket.setsockopt(zmq.IDENTITY, name.encode())
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        if address.startswith("tcp://"):  # a cut cable is noticed, and mended by connecting again
            self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        self.connect(address)

    def send(self, message: Message, extra: Iterable[bytes] = ()) -> bool:
        """False when the queue is full (the hub is away, or slow)."""
        return self._send([encode(message), *extra])

    def receive(self, at_most: int) -> Iterator[tuple[Message, list[bytes]]]:
        """What has arrived: (message, extra parts)."""
        for _ in range(at_most):
            parts = self._receive()
            if parts is None:
                return
            if decoded := _decoded(parts):
                yield decoded


class Broadcaster(_Socket):
    """Live alerts to any number of listeners, none of whom can hold it up."""

    def __init__(self, addresses: Iterable[str], queue_limit: int, curve: Curve | None = None) -> None:
        super().__init__(zmq.PUB, queue_limit, curve)
        for address in addresses:
            self.bind(address)

    def send(self, topic: str, payload: bytes) -> None:
        self._send([topic.encode(), payload])


class Subscriber(_Socket):
    """Listens to a `Broadcaster`; what comes faster than it is read beyond `queue_limit` is lost to it alone."""

    def __init__(self, address: str, topic: str, queue_limit: int, curve: Curve | None = None) -> None:
        super().__init__(zmq.SUB, queue_limit, curve)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self.connect(address)

    def receive(self, at_most: int) -> Iterator[tuple[str, bytes]]:
        """What has arrived: (topic, payload)."""
        for _ in range(at_most):
            parts = self._receive()
            if parts is None:
                return
            if len(parts) == 2:
                yield parts[0].decode(errors="replace"), parts[1]


class Poller:
    """Waits until one of several sockets or file descriptors has something, or the time is over."""

    def __init__(self, *waitables: Waitable) -> None:
        self._poller = zmq.Poller()
        for waitable in waitables:
            self._poller.register(waitable.raw if isinstance(waitable, _Socket) else waitable.fileno(), zmq.POLLIN)

    def wait(self, timeout_ms: float) -> None:
        self._poller.poll(max(0, math.ceil(timeout_ms)))


def end_transport() -> None:
    """Close what is still open and wait, at most `LINGER_MS`, until everything that was sent has left the process."""
    end_guards()
    zmq.Context.instance().destroy(LINGER_MS)
