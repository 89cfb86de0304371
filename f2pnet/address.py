"""Addresses with a user and a password in them: split strictly, and shown without anything that may be secret.

    scheme://[user[:password]@]host[:port][,host[:port]...][/path][?query]

An address that could be read in two ways is refused and never repeated: where a `/`, `#`, `?` or `[` of a password is
not percent-encoded, "the host" would be a part of the password.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from f2pnet.errors import ConfigError

HIDDEN = "***"
CURE = (
    "percent-encode the password and user where they hold special characters "
    "(/ as %2F, # as %23, ? as %3F, @ as %40, : as %3A, [ as %5B, ] as %5D, % as %25)"
)

SHORTEST_SECRET_PATH = 4  # characters: replacing "/0" everywhere would garble texts and hide nothing

_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<login>[^/?#\[\]\\]*)@)?"
    r"(?P<hosts>[^@/?#\\]*)"
    r"(?P<path>/[^@?#]*)?"
    r"(?:\?(?P<query>[^@#]*))?"
)
_SCHEME_AND_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:+/")  # one slash: paths lose the second one
_LOGIN_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/+)\S*@")
_QUERY_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/+[^\s?]*)\?[^\s,;)'\"]+")
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])(?::(?P<port>[0-9]{1,5}))?")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_LARGEST_PORT = 65_535

HostAndPort = tuple[str, int | None]


@dataclass(frozen=True, repr=False)
class Address:
    """The parts of an address. `user` and `password` are decoded; `path` and `query` are as written."""

    scheme: str
    login: str | None  # as written: user[:password]
    hosts: tuple[HostAndPort, ...]
    path: str
    query: str

    @property
    def user(self) -> str | None:
        return None if self.login is None else unquote(self.login.partition(":")[0])

    @property
    def password(self) -> str | None:
        if self.login is None or ":" not in self.login:
            return None
        return unquote(self.login.partition(":")[2])

    @property
    def host(self) -> str:
        """The (first) host, without brackets."""
        return self.hosts[0][0] if self.hosts else ""

    @property
    def port(self) -> int | None:
        return self.hosts[0][1] if self.hosts else None

    @property
    def target(self) -> str:
        """What an HTTP request line asks for: path and query."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    @property
    def netloc(self) -> str:
        """Hosts and ports as written in an address."""
        return ",".join(_written(*host) for host in self.hosts)

    @property
    def without_login(self) -> str:
        """The same address for a client that gets user and password by another way. It may hold secrets still."""
        return f"{self.scheme}://{self.netloc}{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def basic_auth(self) -> str | None:
        """Value of the `Authorization` header (RFC 7617); None without a user."""
        if self.login is None:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password or ''}".encode()).decode("ascii")

    @property
    def secrets(self) -> list[str]:
        """Whatever must not be shown, longest first: replace it in texts of libraries."""
        login = [] if self.login is None else [self.login, *self.login.split(":", 1)[1:], self.password or ""]
        login += (self.basic_auth or "").split()[1:]
        values = [value for _, value in parse_qsl(self.query, keep_blank_values=True)]
        path = self.path.strip("/")
        found = {*login, self.query, *values, *([path, unquote(path)] if len(path) >= SHORTEST_SECRET_PATH else [])}
        return sorted((text for text in found if text), key=len, reverse=True)

    def __str__(self) -> str:
        """Scheme, host and port. Login, path and query may hold secrets, and are shown as `***`."""
        login = "" if self.login is None else f"{HIDDEN}@"
        path = "" if self.path in ("", "/") else f"/{HIDDEN}"
        query = f"?{HIDDEN}" if self.query else ""
        return f"{self.scheme}://{login}{self.netloc}{path}{query}"

    __repr__ = __str__  # what exceptions and debuggers show


def parse_address(text: str, wanted: Sequence[str], example: str, *, host_optional: bool = False) -> Address:
    """Split an address of one of the schemes `wanted`. Raises ConfigError, which never repeats the address.

    `example` shows what is wanted. Several hosts may stand between commas.
    """
    found = None if any(map(_is_blank_or_control, text)) else _SHAPE.fullmatch(text)
    if found is None:
        raise ConfigError(f"not a valid address; wanted an address like {example}; {CURE}")
    if found["scheme"].lower() not in wanted:
        raise ConfigError(f"an address of another kind; wanted an address like {example}")
    hosts = tuple(_host(part, example) for part in found["hosts"].split(",")) if found["hosts"] else ()
    if not hosts and not host_optional:
        raise ConfigError(f"an address without a host; wanted an address like {example}")
    return Address(found["scheme"].lower(), found["login"], hosts, found["path"] or "", found["query"] or "")


def redact_url(url: str) -> str:
    """`url` fit for logs: scheme, host and port. One that is not a valid address is `***`."""
    try:
        return str(parse_address(url, [url.partition("://")[0].lower()], "", host_optional=True))
    except ConfigError:
        return HIDDEN


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name or an IP address and nothing more (no scheme, port, user or path)."""
    return _HOST_NAME.fullmatch(text) is not None


def looks_like_address(text: str) -> bool:
    """Whether a word may hold a login: such a word is never repeated in a message."""
    return "@" in text or _SCHEME_AND_SLASH.search(text) is not None


def masked(text: str) -> str:
    """A message with the login and query of whatever in it looks like an address replaced."""
    return _QUERY_IN_TEXT.sub(rf"\1?{HIDDEN}", _LOGIN_IN_TEXT.sub(rf"\1{HIDDEN}@", text))


def without(secrets: Sequence[str], text: object) -> str:
    """`text` with each of the secrets replaced."""
    cleaned = str(text)
    for secret in secrets:
        cleaned = cleaned.replace(secret, HIDDEN)
    return cleaned


def _host(text: str, example: str) -> HostAndPort:
    found = _HOST.fullmatch(text)
    if found is None or (found["port"] is not None and int(found["port"]) > _LARGEST_PORT):
        raise ConfigError(f"an address whose host or port is not valid; wanted an address like {example}; {CURE}")
    return found["name"].strip("[]"), None if found["port"] is None else int(found["port"])


def _written(name: str, port: int | None) -> str:
    host = f"[{name}]" if ":" in name else name
    return host if port is None else f"{host}:{port}"


def _is_blank_or_control(character: str) -> bool:
    return character.isspace() or not character.isprintable()
