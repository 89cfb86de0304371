"""How a Redis address is written, and what of it may be shown.

redis://[user:password@]host[:port][/db]              rediss:// with TLS (?ssl_ca_certs=...), unix:// a socket
redis+sentinel://[user:password@]host[:port],.../SERVICE[/db][?sentinel_password=...]
redis+cluster://[user:password@]host[:port],...       rediss+sentinel://, rediss+cluster:// with TLS
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from f2pnet.errors import ConfigError

SINGLE = ("redis", "rediss", "unix")
SEVERAL = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
SCHEMES = tuple(f"{scheme}://" for scheme in (*SINGLE, *SEVERAL))

HostAndPort = tuple[str, int]


def hosts_of(url: str, default_port: int) -> list[HostAndPort]:
    """The servers that an address names, in order. Raises ConfigError or ValueError (a port that is none)."""
    hosts = []
    for text in urlsplit(url).netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname:
            raise ConfigError(f"Redis address: '{text}' is no host; wanted HOST[:PORT],HOST[:PORT]")
        hosts.append((one.hostname, one.port or default_port))
    return hosts


def address_without_secrets(url: str) -> str:
    """What may be shown of a Redis address: scheme, host, port and database (or the socket's path)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def secrets_of(url: str) -> list[str]:
    """Whatever in an address must not be shown, longest first."""
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    found = {password, unquote(password)}
    found |= {value for name, value in parse_qsl(parts.query) if "password" in name}
    return sorted(filter(None, found), key=len, reverse=True)
