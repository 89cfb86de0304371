"""How a Redis address is written, and what of it may be shown.

redis://[user:password@]host[:port][/db]              rediss:// with TLS (?ssl_ca_certs=...), unix:// a socket
redis+sentinel://[user:password@]host[:port],.../SERVICE[/db][?sentinel_password=...]
redis+cluster://[user:password@]host[:port],...       rediss+sentinel://, rediss+cluster:// with TLS
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from f2pnet.address import HIDDEN, Address, parse_address
from f2pnet.errors import ConfigError
from f2pnet.redis.endpoint import EMBEDDED
from f2pnet.text import printable

SINGLE = ("redis", "rediss", "unix")
SEVERAL = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
SCHEMES = tuple(f"{scheme}://" for scheme in (*SINGLE, *SEVERAL))
EXAMPLE = "redis://[user:password@]host:port[/db]"

_PLAIN_PATH = re.compile(r"/?|/\d{1,5}")  # a number of a database
_SERVICE_PATH = re.compile(r"/[A-Za-z0-9_.-]+(/\d{1,5})?")  # of a Sentinel address


def parse_redis_address(url: str) -> Address:
    """Split a Redis address. Raises ConfigError, which never repeats it."""
    address = parse_address(url, (*SINGLE, *SEVERAL), EXAMPLE, host_optional=True)
    if not address.hosts and address.scheme in SEVERAL:
        raise ConfigError("Redis address: no host; wanted HOST[:PORT],HOST[:PORT]")
    if address.scheme == "unix" and not address.path:
        raise ConfigError("Redis address: no socket; wanted unix:///run/redis.sock")
    if address.scheme in SINGLE and len(address.hosts) > 1:
        raise ConfigError("several Redis servers: write redis+sentinel://HOST,HOST/SERVICE or redis+cluster://...")
    if address.scheme != "unix" and not _known_path(address):
        raise ConfigError(f"Redis address: behind the host stands no database number; wanted {EXAMPLE}")
    return address


def address_without_secrets(url: str) -> str:
    """What may be shown of a Redis address: scheme, host, port and database (or the socket's path)."""
    if url.startswith(EMBEDDED):
        return printable(url)
    try:
        address = parse_redis_address(url)
    except ConfigError:
        return HIDDEN
    return f"{address.scheme}://{address.netloc}{address.path}"


def secrets_of(url: str) -> list[str]:
    """Whatever in an address must not be shown, longest first."""
    if url.startswith(EMBEDDED):
        return []
    address = parse_redis_address(url)
    found = {address.login, address.password}
    found |= {address.login.partition(":")[2]} if address.login else set()
    found |= {value for name, value in parse_qsl(address.query) if not name.startswith(("ssl_", "socket_", "db"))}
    return sorted(filter(None, found), key=len, reverse=True)


def _known_path(address: Address) -> bool:
    sentinel = address.scheme.endswith("+sentinel")
    return (_SERVICE_PATH if sentinel else _PLAIN_PATH).fullmatch(address.path) is not None
