"""One connection to one Redis server: several commands in one round trip, short time-outs, errors without passwords.

redis-py is used for what is hard (TLS, Unix sockets, login, the protocol); its retries are switched off, since they
hold a caller for seconds while the server is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from f2pnet.errors import ConfigError, StoreAway

Argument = str | bytes | int | float
Command = Sequence[Argument]

SCHEMES = ("redis://", "rediss://", "unix://")
DEFAULT_TIMEOUT_S = 0.3  # a healthy server answers in a few ms; a frame ring holds about half a second of frames


class StoreRefused(StoreAway):
    """The server is there and lets us not in or not do this: trying again will not help."""


class ErrorReply(StoreAway):
    """The server answered a command with an error; `code` is its first word, such as NOGROUP or OOM."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class RedisLink:
    """Connects when first used and again after a failure. For one thread at a time.

    `timeout_s` limits connecting and each wait for a reply; a blocking command needs a link whose `timeout_s` is
    longer than its own block time.
    """

    def __init__(self, url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        if "," in url:
            raise ConfigError("several Redis addresses (Sentinel, Cluster) are not supported yet: give one address")
        if not url.startswith(SCHEMES):
            raise ConfigError(f"a Redis address starts with {', '.join(SCHEMES)}: this one does not")
        self.address = address_without_secrets(url)
        self._secrets = _secrets_of(url)
        try:
            pool = ConnectionPool.from_url(
                url,
                protocol=2,  # one shape of replies for every server version
                socket_timeout=timeout_s,
                socket_connect_timeout=min(timeout_s, DEFAULT_TIMEOUT_S),
                retry=Retry(NoBackoff(), 0),
                decode_responses=False,
            )
            self._connection: Any = pool.make_connection()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"Redis address {self.address}: {self._clean(error)}") from None

    def exchange(self, *commands: Command) -> list[Any]:
        """Send all commands at once; their replies, in order, as Redis gives them (bytes, int, None, lists).

        Raises StoreRefused or StoreAway. After StoreAway the commands may or may not have been carried out.
        """
        try:
            self._connection.connect()
            self._connection.send_packed_command([_packed(commands)])
            replies = [self._reply() for _ in commands]
        except (redis.RedisError, OSError) as error:
            self._connection.disconnect()
            raise self._translated(error) from error
        except BaseException:
            self._connection.disconnect()  # replies still on their way would answer the next question
            raise
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                raise self._translated(reply) from reply
        return replies

    def close(self) -> None:
        """Let go of the connection; the next `exchange` makes a new one."""
        self._connection.disconnect()

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error  # an answer like any other: those behind it must still be read

    def _translated(self, error: Exception) -> StoreAway:
        text = self._clean(error)
        if isinstance(error, redis.exceptions.AuthenticationError) or "HELLO must be called" in text:
            return StoreRefused(
                f"Redis at {self.address} refuses the login ({text}): "
                "put the right password into its address, redis://:PASSWORD@host:port"
            )
        if isinstance(error, redis.exceptions.NoPermissionError):
            return StoreRefused(f"Redis at {self.address} forbids this user a command ({text}): widen its ACL")
        message = f"Redis at {self.address} does not serve: {text}"
        if isinstance(error, redis.ResponseError):
            return ErrorReply(message, code=text.partition(" ")[0])
        return StoreAway(message)

    def _clean(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text.rstrip(".")


def _packed(commands: Sequence[Command]) -> bytes:
    """The commands as Redis reads them; redis-py's own packer takes most of the time of a large batch."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            raw = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def address_without_secrets(url: str) -> str:
    """What may be shown of a Redis address: scheme, host, port and database (or the socket's path)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _secrets_of(url: str) -> list[str]:
    password = urlsplit(url).password
    return sorted({password, unquote(password)}, key=len, reverse=True) if password else []
