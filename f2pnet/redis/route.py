"""Which server a Redis address leads to: one server, the master that Sentinels name, or a node of a cluster.

A line's keys share one hash tag, so that one node of a cluster holds them all: a plain connection to it will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry
from redis.sentinel import Sentinel

from f2pnet.address import Address
from f2pnet.errors import ConfigError, MissingResource
from f2pnet.redis.address import SINGLE, parse_redis_address
from f2pnet.redis.endpoint import EMBEDDED, find_embedded

REDIS_PORT = 6379
SENTINEL_PORT = 26379

HostAndPort = tuple[str, int]


class Route(Protocol):
    """Leads to the server that takes our commands now."""

    def connection(self) -> Any:
        """A connection to it, not yet open. Raises redis.RedisError where nobody can say which server that is."""

    def lost(self) -> None:
        """The connection broke, or its server does not take our commands any more."""

    def moved(self, address: HostAndPort) -> bool:
        """A server says that another one holds our keys; False when there should be no other."""


def route_to(url: str, options: Mapping[str, Any]) -> Route:
    """The route for an address; `options` are redis-py's for each connection. Raises ConfigError or ValueError."""
    if url.startswith(EMBEDDED):
        return _EmbeddedRoute(Path(url.removeprefix(EMBEDDED)), options)
    address = parse_redis_address(url)
    if address.scheme in SINGLE:
        return _OneServer(url, options)
    tls, _, kind = address.scheme.partition("+")
    return _SentinelRoute(address, tls, options) if kind == "sentinel" else _ClusterRoute(address, tls, options)


class _OneServer:
    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._connection = _connection(url, options)

    def connection(self) -> Any:
        return self._connection

    def lost(self) -> None:
        """The next connection leads to the same address."""

    def moved(self, address: HostAndPort) -> bool:
        return False


class _EmbeddedRoute:
    """Leads to a line's own server, which has another port and password after each start of the line."""

    def __init__(self, data_dir: Path, options: Mapping[str, Any]) -> None:
        self._data_dir, self._options = data_dir, options

    def connection(self) -> Any:
        try:
            return _connection(find_embedded(self._data_dir), self._options)
        except MissingResource as error:
            raise redis.ConnectionError(str(error)) from error

    def lost(self) -> None:
        """The next connection asks again where it listens."""

    def moved(self, address: HostAndPort) -> bool:
        return False


class _SentinelRoute:
    """Asks the Sentinels anew for each connection: a server that was the master once may be a replica now."""

    def __init__(self, address: Address, scheme: str, options: Mapping[str, Any]) -> None:
        self._service, _, self._database = address.path.strip("/").partition("/")
        if not self._service:
            raise ConfigError(
                "a Sentinel address ends with the name of the service: redis+sentinel://HOST,HOST/SERVICE"
            )
        query = dict(parse_qsl(address.query))
        password = query.pop("sentinel_password", None)
        self._options, self._scheme, self._query = options, scheme, urlencode(query)
        self._login = address.login or ""
        tls = {"ssl": True, **query} if scheme == "rediss" else {}
        timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
        once = Retry(NoBackoff(), 0)
        self._sentinels: Any = Sentinel(  # type: ignore[no-untyped-call] # redis-py has no types here
            _with_ports(address, SENTINEL_PORT),
            sentinel_kwargs={**timeouts, "password": password, "protocol": 2, "retry": once, **tls},
        )

    def connection(self) -> Any:
        host, port = self._sentinels.discover_master(self._service)
        return _connection(_url(self._scheme, self._login, (host, port), self._database, self._query), self._options)

    def lost(self) -> None:
        """The Sentinels are asked again."""

    def moved(self, address: HostAndPort) -> bool:
        return False


class _ClusterRoute:
    """Begins at any node, and goes where that one points to. Nodes take turns when one is away."""

    def __init__(self, address: Address, scheme: str, options: Mapping[str, Any]) -> None:
        self._options, self._scheme, self._query = options, scheme, address.query
        self._login = address.login or ""
        self._known = _with_ports(address, REDIS_PORT)
        self._turn = 0
        self._owner: HostAndPort | None = None

    def connection(self) -> Any:
        address = self._owner or self._known[self._turn % len(self._known)]
        return _connection(_url(self._scheme, self._login, address, "", self._query), self._options)

    def lost(self) -> None:
        self._owner = None
        self._turn += 1

    def moved(self, address: HostAndPort) -> bool:
        self._owner = address
        return True


def _with_ports(address: Address, default_port: int) -> list[HostAndPort]:
    return [(host, port or default_port) for host, port in address.hosts]


def _connection(url: str, options: Mapping[str, Any]) -> Any:
    return ConnectionPool.from_url(url, **options).make_connection()


def _url(scheme: str, login: str, address: HostAndPort, database: str, query: str) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    at = f"{login}@" if login else ""
    return f"{scheme}://{at}{host}:{address[1]}/{database}" + (f"?{query}" if query else "")
