"""CurveZMQ: who may connect to the sockets of a line that spans hosts, and encryption on the way.

Each host has a key pair. Binding sockets let in the public keys in one folder and nobody else; connecting sockets know
the key of the host that they connect to, so that nobody can stand in for it. (CurveZMQ: rfc.zeromq.org/spec/26; the
files are pyzmq's certificates.)
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from f2pnet.config.line import CurveConfig
from f2pnet.errors import ConfigError, MissingResource

_authenticators: dict[zmq.Context[zmq.Socket[bytes]], ThreadAuthenticator] = {}


@dataclass(frozen=True)
class Curve:
    """The keys of one host, ready for its sockets."""

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes
    allowed: Path

    @classmethod
    def load(cls, config: CurveConfig) -> Curve:
        """Read the key files. Raises MissingResource or ConfigError, with the cure."""
        public, secret = _certificate(config.key)
        if secret is None:
            raise ConfigError(f"{config.key} holds no secret key: wanted NAME.key_secret, as `f2p keys` writes it")
        if not config.allowed.is_dir() or not any(config.allowed.glob("*.key")):
            raise MissingResource(f"{config.allowed}: no *.key of a host that may connect; copy their NAME.key there")
        return cls(public, secret, _certificate(config.server_key)[0], config.allowed)

    def seal(self, text: bytes) -> bytes:
        """A seal on `text` that only who has this host's secret key can make or check."""
        return hashlib.blake2b(text, key=self.secret, digest_size=16).digest()

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let only those in whose public key is allowed. Call before `bind`."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        if context not in _authenticators:
            authenticator = ThreadAuthenticator(context)
            authenticator.start()
            authenticator.configure_curve(domain="*", location=str(self.allowed))
            _authenticators[context] = authenticator
        socket.curve_secretkey, socket.curve_publickey = self.secret, self.public
        socket.curve_server = True

    def introduce(self, socket: zmq.Socket[bytes]) -> None:
        """Show who we are, and insist on the server's key. Call before `connect`."""
        socket.curve_secretkey, socket.curve_publickey = self.secret, self.public
        socket.curve_serverkey = self.server


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Make `name`.key (public) and `name`.key_secret in `folder`. Raises ConfigError where they are already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / f"{name}.key_secret").exists():
        raise ConfigError(f"{folder / name}.key_secret is there already: name another, or delete it")
    before = os.umask(0o077)  # the secret must never be readable, not for a moment
    try:
        public, secret = zmq.auth.create_certificates(folder, name)
    finally:
        os.umask(before)
    Path(public).chmod(0o644)
    return Path(public), Path(secret)


def end_guards() -> None:
    """Stop the threads that check keys."""
    while _authenticators:
        _, authenticator = _authenticators.popitem()
        authenticator.stop()


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    if not path.is_file():
        raise MissingResource(f"no key file {path}: `f2p keys` makes a pair, and NAME.key is what others need of it")
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no key file: {error}; make one with `f2p keys`") from error
