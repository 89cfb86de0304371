"""Addresses: split as RFC 3986 has it, refused where a password could be taken for a host, shown without secrets."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from f2pnet.address import Address, is_host_name, masked, parse_address, redact_url, without
from f2pnet.config.base import parse_config
from f2pnet.config.line import LineConfig
from f2pnet.config.sources import source_from_uri
from f2pnet.errors import ConfigError, F2pError
from f2pnet.redis.address import address_without_secrets
from f2pnet.redis.link import RedisLink

SECRET = "eim9"


def parsed(text: str) -> Address:
    return parse_address(text, ("rtsp", "http", "https"), "rtsp://host/path")


def test_an_address_is_split_into_its_parts() -> None:
    address = parsed("http://operator:a%2Fb%40c@cam1:8080/video?token=t")

    assert (address.scheme, address.user, address.password) == ("http", "operator", "a/b@c")
    assert (address.host, address.port, address.target) == ("cam1", 8080, "/video?token=t")
    assert address.without_login == "http://cam1:8080/video?token=t"
    assert address.basic_auth == "Basic b3BlcmF0b3I6YS9iQGM="  # base64 of operator:a/b@c


def test_an_address_of_ip_version_6_keeps_its_brackets() -> None:
    address = parsed("rtsp://[2001:db8::1]:8554/live")

    assert (address.host, address.port) == ("2001:db8::1", 8554)
    assert address.without_login == "rtsp://[2001:db8::1]:8554/live"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@host:8554/live", "rtsp://***@host:8554/***"),
        ("http://host/video?token=abc&x=", "http://host/***?***"),
        ("rtsp://u:p@q@host/live", "rtsp://***@host/***"),
        ("rtsp://host", "rtsp://host"),
        ("https://hooks.example.com/services/T000/B000/abc", "https://hooks.example.com/***"),
        ("rtsp://u:p/q@host/live", "***"),
        ("images/part", "***"),
    ],
)
def test_an_address_is_shown_by_scheme_host_and_port(url: str, shown: str) -> None:
    assert redact_url(url) == shown


AMBIGUOUS = [
    f"admin:a/{SECRET}@10.0.0.5:554",
    f"admin:12/{SECRET}@10.0.0.5",  # "admin" would be the host, 12 its port
    f"admin:{SECRET}#x@10.0.0.5",
    f"admin:x?{SECRET}@10.0.0.5",
    f"admin:x[{SECRET}@10.0.0.5",
    f"admin:x]{SECRET}@10.0.0.5",
    f"admin:x\\{SECRET}@10.0.0.5",
    f"admin:x {SECRET}@10.0.0.5",
    f"admin:x\n{SECRET}@10.0.0.5",
    f"admin:{SECRET}",  # the host was forgotten
    f"10.0.0.5/user=admin&password=a@{SECRET}",
    f"admin:\uff0f{SECRET}@10.0.0.5\uff1a99999",
]


@pytest.mark.parametrize("rest", AMBIGUOUS)
@pytest.mark.parametrize("kind", ["rtsp", "mjpeg", "webhook", "redis", "otel", "mqtt"])
def test_an_ambiguous_address_is_refused_and_not_repeated(kind: str, rest: str) -> None:
    content = line_with(kind, rest)

    with pytest.raises(ConfigError) as caught:
        parse_config(content, LineConfig, source="line.yaml")

    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("rest", AMBIGUOUS)
def test_the_cure_is_named(rest: str) -> None:
    with pytest.raises(ConfigError, match="percent-encode the password"):
        parsed(f"rtsp://{rest}")


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtps", "ftp", "rtsp:"])
@pytest.mark.parametrize("rest", AMBIGUOUS)
def test_a_word_of_the_command_line_is_not_repeated_where_it_may_hold_a_login(scheme: str, rest: str) -> None:
    for uri in (f"{scheme}://{rest}", f"{scheme}:/{rest}", f"{scheme}://admin:{SECRET}@[x"):
        with pytest.raises(F2pError) as caught:
            source_from_uri(uri)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@127.0.0.1:6379/0",
        f"redis://:a#{SECRET}@127.0.0.1:6379",
        f"redis+sentinel://:a/{SECRET}@one,two/mymaster",
        f"redis+cluster://user:x[{SECRET}@one,two",
        f"unix://:a/{SECRET}@/run/redis.sock",
        f"redis://127.0.0.1/{SECRET}",
        f"http://:{SECRET}@127.0.0.1",
    ],
)
def test_a_redis_address_that_is_not_valid_is_not_repeated(url: str) -> None:
    assert SECRET not in address_without_secrets(url)
    with pytest.raises(ConfigError) as caught:
        RedisLink(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "rtsp", "url": f"http://admin:{SECRET}@host/live"},
        {"kind": "rtsp", "url": [f"rtsp://admin:{SECRET}@host/live"]},
        {"kind": f"rtsp://admin:{SECRET}@host/live"},
        {"kind": "rtsp", f"rtsp://admin:{SECRET}@host/live": None},
        f"rtsp://admin:{SECRET}@host/live",
        {"kind": "mjpeg", "url": f"admin:{SECRET}@host"},
    ],
)
def test_a_camera_of_a_wrong_shape_is_not_repeated(content: object) -> None:
    line = line_with("rtsp", "host")
    line["cameras"][0]["source"] = content

    with pytest.raises(ConfigError) as caught:
        parse_config(line, LineConfig, source="line.yaml")

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_loaded_line_does_not_show_its_addresses() -> None:
    for kind in ("rtsp", "mjpeg", "webhook", "redis", "otel"):
        line = parse_config(line_with(kind, f"admin:{SECRET}@host"), LineConfig, source="line.yaml")
        assert SECRET not in f"{line!r} {line}"


def test_secrets_are_taken_out_of_texts_of_libraries() -> None:
    address = parsed(f"http://admin:{SECRET}%21@host/hook/s3cret?token=t0ken")

    text = f"GET /hook/s3cret?token=t0ken for admin:{SECRET}! failed ({SECRET}%21)"

    assert not {SECRET, "s3cret", "t0ken"} & set(without(address.secrets, text).replace("/", " ").split())
    assert SECRET not in without(address.secrets, text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no file rtsp:/admin:eim9@host/live: check", "no file rtsp:/***@host/live: check"),
        ("a http://u:p/q@h/x?token=eim9, b", "a http://***@h/x?***, b"),
        ("is it whole? yes", "is it whole? yes"),
        ("mail operator@plant", "mail operator@plant"),
    ],
)
def test_addresses_in_messages_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("broker", True),
        ("10.0.0.5", True),
        ("::1", True),
        ("u:p@broker", False),
        ("mqtt://broker", False),
        ("a b", False),
    ],
)
def test_a_host_name_is_nothing_but_a_host(text: str, valid: bool) -> None:
    assert is_host_name(text) is valid


def line_with(kind: str, rest: str) -> dict:
    """A line whose address of one kind is `rest` behind its scheme."""
    line: dict = {
        "line": "pw",
        "engine": {"bundle": "engine"},
        "cameras": [{"id": "cam1", "source": {"kind": "synthetic"}}],
        "publish": {"spool": {"dir": str(Path("spool"))}},
    }
    match kind:
        case "rtsp":
            line["cameras"][0]["source"] = {"kind": "rtsp", "url": f"rtsp://{rest}"}
        case "mjpeg":
            line["cameras"][0]["source"] = {"kind": "mjpeg", "url": f"http://{rest}"}
        case "webhook":
            line["publish"]["sinks"] = [{"kind": "webhook", "name": "mes", "url": f"https://{rest}"}]
        case "mqtt":
            line["publish"]["sinks"] = [{"kind": "mqtt", "name": "mes", "host": f"mqtt://{rest}"}]
        case "redis":
            line["publish"]["redis"] = f"redis://{rest}"
        case "otel":
            line["tracing"] = {"endpoint": f"https://{rest}"}
    return line
