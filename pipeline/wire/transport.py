"""The file that speaks ZeroMQ: sockets that send and receive messages, with limits, and never block.

A `Hub` is bound and talks to many peers by name; a `Link` connects to one hub and re-connects by itself for ever;
a `Broadcaster` publishes to whoever listens. Every queue has a limit; what does not fit is refused to the sender, who
decides (`send` returns False). ZeroMQ's errors become ours.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
import zmq

from f2pnet.errors import ConfigError, F2pError, out_of_resources
from f2pnet.foreign import clipped
from pipeline.wire.curve import Curve, end_guards
from pipeline.wire.front import Front, inner_path
from pipeline.wire.messages import BadMessage, Message, decode, encode

LINGER_MS = 2_000  # how long a closing socket goes on delivering what was sent, by default
MAX_MESSAGE_BYTES = 512 * 2**20  # a peer that sends more is cut off
MAX_PARTS = 1_024
HEARTBEAT_MS = 1_000
MOST_REMADE = 32  # socket files made anew by one process; then it starts afresh
HANDSHAKE_MS = 3_000
SEPARATOR = b"~"
PEERS_OF_A_GUEST = 128
"""Peers behind one key that are answered: those that came last."""
NAMES_OF_A_GUEST = 64
"""Names of workers that are one key's alone: those that it used last."""
MOST_REFUSALS_TOLD = 1_024
LARGEST_FROM_GUESTS = 32 * 2**20
"""Bytes of a guest's message, without the pictures that come with it."""
LINES_OWN = (b"ingest", b"publish", b"supervisor", b"console")
LINES_OWN_PREFIXES = (b"ingest-", b"sink-")
_all_fronts: list[Front] = []
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
        self._fronts: list[Front] = []
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
            if address.startswith("tcp://"):
                self._bind_behind_front(address)
            else:
                self._socket.bind(address)
        except (OSError, zmq.ZMQError) as error:
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

    def _bind_behind_front(self, address: str) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        host = host.strip("[]")
        inner = inner_path(host, int(port))
        front = Front(host, int(port), inner)  # first: who has the port may make the socket file
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self._socket.bind(f"ipc://{inner}")
        self._note_file(f"ipc://{inner}")
        front.start()
        self._fronts.append(front)
        _all_fronts.append(front)

    def connect(self, address: str) -> None:
        if self._curve is not None:
            self._curve.introduce(self._socket)
        self._socket.connect(address)

    def close(self) -> None:
        self._socket.close()
        for front in self._fronts:
            front.close()
        self._fronts.clear()

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
    """Bound socket that many peers connect to, each under a name. `queue_limit` messages wait for each peer at most.

    Behind keys, whoever has the key of this host is one of the line's own workers. Any other allowed key is a guest: it
    may send the messages `from_guests`, under names that no other key uses, and none of the line's own.
    """

    def __init__(
        self, address: str, queue_limit: int, curve: Curve | None = None, from_guests: tuple[type[Message], ...] = ()
    ) -> None:
        super().__init__(zmq.ROUTER, queue_limit, curve)
        self._from_guests = from_guests
        self._guests: dict[bytes, _Guest] = {}  # by name
        self._owners: dict[bytes, str] = {}  # which key uses a worker's name
        self._refused: set[tuple[str, str]] = set()
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an unknown peer is an answer, not silence
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted peer takes its name over
        self.bind(address)

    def send(self, peer: bytes, message: Message, extra: Iterable[bytes] = ()) -> bool:
        """False when the peer is unknown or its queue full."""
        guest = self._guests.get(peer)
        identity = guest.identity if guest is not None else _own_identity(peer, self._curve)
        return self._send([identity, encode(message), *extra])

    def receive(self, at_most: int) -> Iterator[tuple[bytes, Message, list[bytes]]]:
        """What has arrived: (peer, message, extra parts)."""
        for _ in range(at_most):
            found = self._receive_with_key()
            if found is None:
                return
            (identity, *parts), key = found
            if key is not None and parts and len(parts[0]) > LARGEST_FROM_GUESTS:
                self._refuse(key, f"it sends a message of more than {LARGEST_FROM_GUESTS >> 20} MB")
                continue
            decoded = _decoded(parts)
            if decoded is None:
                continue
            name = identity.rpartition(SEPARATOR)[0] if self._curve is not None else identity
            if key is None:
                self._own_speaks(name)
            elif not self._lets_in(name, identity, key, decoded[0]):
                continue
            yield name, *decoded

    def is_guest(self, peer: bytes) -> bool:
        """Whether the peer is behind a key of its own, and not one of the line's own workers."""
        return peer in self._guests

    def guest_key(self, peer: bytes) -> str | None:
        """The public key of a guest; None for the line's own workers."""
        guest = self._guests.get(peer)
        return None if guest is None else guest.key

    def seal(self, peer: bytes, text: str) -> bytes:
        """What shows that this line gave `text` to that guest; nothing for the line's own workers."""
        guest = self._guests.get(peer)
        if guest is None or self._curve is None:
            return b""
        return self._curve.seal(f"{guest.key}/{text}".encode())

    def _receive_with_key(self) -> tuple[list[bytes], str | None] | None:
        """The parts of a message, and the key of a guest; None for the key where the line's own worker speaks."""
        if self._curve is None:
            parts = self._receive()
            return None if parts is None else (parts, None)
        try:
            frames = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise TransportError(f"receiving failed: {error.strerror}") from error
        key = str(frames[-1].get("User-Id"))
        own = self._curve.public.decode()
        return [frame.bytes for frame in frames], None if key == own else key

    def _own_speaks(self, name: bytes) -> None:
        """A name of the line's own worker is nobody else's."""
        if self._curve is not None:
            self._owners[name.partition(b"/")[0]] = self._curve.public.decode()
            self._guests.pop(name, None)

    def _lets_in(self, name: bytes, identity: bytes, key: str, message: Message) -> bool:
        worker = name.partition(b"/")[0]
        if worker in LINES_OWN or worker.startswith(LINES_OWN_PREFIXES):
            return self._refuse(key, f"it calls itself {clipped(name)}, and only the line's own workers do")
        if self._owners.get(worker, key) != key:
            return self._refuse(key, f"it calls itself {clipped(name)}, as a worker with another key does")
        if not isinstance(message, self._from_guests):
            return self._refuse(key, f"it may not send {type(message).__name__}")
        self._use_name(worker, key)
        if name not in self._guests:
            peers = [peer for peer, guest in self._guests.items() if guest.key == key]
            for peer in peers[: max(0, len(peers) - PEERS_OF_A_GUEST + 1)]:  # its own, never another key's
                del self._guests[peer]
        self._guests[name] = _Guest(identity, key)
        return True

    def _use_name(self, worker: bytes, key: str) -> None:
        """The name is that guest's; of its many names, the one that it used last longest ago is free again."""
        is_new = self._owners.pop(worker, None) is None
        self._owners[worker] = key
        if is_new:
            names = [name for name, owner in self._owners.items() if owner == key]
            for name in names[:-NAMES_OF_A_GUEST]:
                del self._owners[name]

    def _refuse(self, key: str, why: str) -> bool:
        """Log once for each key and reason."""
        if (key, why) not in self._refused and len(self._refused) < MOST_REFUSALS_TOLD:
            self._refused.add((key, why))
            _log.warning("peer refused", key=key, why=why)
        return False


@dataclass(frozen=True)
class _Guest:
    """A peer behind a key of its own."""

    identity: bytes
    key: str


def _own_identity(name: bytes, curve: Curve | None) -> bytes:
    """What ZeroMQ calls a peer. Behind keys nobody can guess it, since who takes an identity takes its messages."""
    return name if curve is None else name + SEPARATOR + curve.seal(name).hex().encode()


class Link(_Socket):
    """Connection to one hub, under a name that the hub answers to.

    `linger_ms`: how long closing waits for a hub that is away to take what was sent.
    """

    def __init__(
        self, address: str, name: str, queue_limit: int, curve: Curve | None = None, linger_ms: int = LINGER_MS
    ) -> None:
        super().__init__(zmq.DEALER, queue_limit, curve, linger_ms)
        self._socket.setsockopt(zmq.IDENTITY, _own_identity(name.encode(), curve))
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
    while _all_fronts:
        front = _all_fronts.pop()
        front.close()
        front.join()
