"""One connection to Redis: several commands in one round trip, short time-outs, errors without passwords.

redis-py is used for what is hard (TLS, Unix sockets, login, the protocol); its retries are switched off, since they
hold a caller for seconds while the server is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import MovedError
from redis.retry import Retry

from f2pnet.address import without
from f2pnet.errors import ConfigError, StoreAway, StoreRefused
from f2pnet.redis.address import address_without_secrets, secrets_of
from f2pnet.redis.route import route_to
from f2pnet.text import printable

Argument = str | bytes | int | float
Command = Sequence[Argument]

DEFAULT_TIMEOUT_S = 0.3  # a healthy server answers in a few ms; a frame ring holds about half a second of frames


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Fields of a hash or of a stream entry, as Redis lists them. Names are bytes: others choose them too."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


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
        self.address = address_without_secrets(url)
        self._secrets = secrets_of(url)
        self._connection: Any = None
        options = {
            "protocol": 2,  # one shape of replies for every server version
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(timeout_s, DEFAULT_TIMEOUT_S),
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": False,
        }
        try:
            self._route = route_to(url, options)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"Redis address {self.address}: {self._clean(error)}") from None
        except OSError as error:  # redis-py reads files of its own, for which there may be no descriptor
            raise StoreAway(f"Redis at {self.address} can't be asked now: {error.strerror}") from error

    def exchange(self, *commands: Command) -> list[Any]:
        """Send all commands at once; their replies, in order, as Redis gives them (bytes, int, None, lists).

        Raises StoreRefused or StoreAway. After StoreAway the commands may or may not have been carried out.
        """
        replies = self._sent(commands)
        if all(isinstance(reply, MovedError) for reply in replies) and self._follow(replies[0]):
            replies = self._sent(commands)  # none of them was carried out
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                if isinstance(reply, (redis.ReadOnlyError, MovedError)):
                    self._drop()  # a replica by now, or not the owner of our keys: another server is to be found
                raise self._translated(reply) from reply
        return replies

    def close(self) -> None:
        """Let go of the connection; the next `exchange` makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _sent(self, commands: Sequence[Command]) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = self._route.connection()
            self._connection.connect()
            self._connection.send_packed_command([_packed(commands)])
            return [self._reply() for _ in commands]
        except (redis.RedisError, OSError) as error:
            self._drop()
            raise self._translated(error) from error
        except BaseException:
            self._drop()  # replies still on their way would answer the next question
            raise

    def _drop(self) -> None:
        self.close()
        self._route.lost()

    def _follow(self, error: MovedError) -> bool:
        """Whether the route leads to the server that is said to hold our keys."""
        self.close()
        return self._route.moved((error.host, error.port))

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
        if isinstance(error, redis.OutOfMemoryError):
            cure = "raise its maxmemory, or lower publish.results_kept and alerts_kept"
            return ErrorReply(f"Redis at {self.address} is full ({text}): {cure}", code="OOM")
        message = f"Redis at {self.address} does not serve: {text}"
        if isinstance(error, redis.ResponseError):
            return ErrorReply(message, code=text.partition(" ")[0])
        return StoreAway(message)

    def _clean(self, error: Exception) -> str:
        return printable(without(self._secrets, str(error) or type(error).__name__)).rstrip(".")


def _packed(commands: Sequence[Command]) -> bytes:
    """The commands as Redis reads them; redis-py's own packer takes most of the time of a large batch."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            raw = argument if isinstance(argument, bytes) else str(argument).encode(errors="backslashreplace")
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)
