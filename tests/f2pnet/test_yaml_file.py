"""One way to read YAML: double keys are errors, and messages never repeat the content."""

from __future__ import annotations

from pathlib import Path

import pytest

from f2pnet.config import load_line
from f2pnet.errors import ConfigError
from f2pnet.inspection.recipe import load_recipe
from f2pnet.yaml_file import parse_yaml, read_yaml

DOUBLES = {
    "at the top": ("a: 1\nb: 2\na: 3\n", 1, 3),
    "in a mapping": ("top:\n  x: 1\n  y: 2\n  x: 1\n", 2, 4),
    "in a list": ("top:\n- {a: 1}\n- b: 1\n  c: 2\n  b: 3\n", 3, 5),
    "on one line": ("top: {a: 1, b: 2, a: 3}\n", 1, 1),
    "with quotes": ("'a': 1\n\"a\": 2\n", 1, 2),
    "behind an alias": ("x: &m\n  a: 1\n  a: 2\ny: *m\n", 2, 3),
    "three times": ("a: 1\na: 2\na: 3\n", 1, 2),
}


@pytest.mark.parametrize("where", DOUBLES)
def test_a_key_that_stands_twice_is_refused_with_both_lines(where: str) -> None:
    text, first, second = DOUBLES[where]

    with pytest.raises(ConfigError, match=f"stands twice, on lines {first} and {second}:"):
        parse_yaml(text, "line.yaml")


def test_a_merged_key_may_be_given_anew() -> None:
    assert parse_yaml("base: &b {a: 1, c: 2}\nmore:\n  <<: *b\n  a: 3\n", "x") == {
        "base": {"a": 1, "c": 2},
        "more": {"a": 3, "c": 2},
    }
    assert parse_yaml("one: {a: 1}\ntwo: {a: 1}\n", "x") == {"one": {"a": 1}, "two": {"a": 1}}
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    "text",
    [
        'url: "rtsp://admin:eim9@host',
        "source: [rtsp, rtsp://admin:x[eim9@host",
        "password: *eim9",
        "password: !eim9 x",
        "password: @eim9",
        "password: x: eim9",
        "a: &eim9 1\nb: &eim9 2\n",
        "a: x\x00eim9",
        'a: "\\qeim9"',
        "2026-13-45: eim9",
        "rtsp://u:eim9@host: 1\nrtsp://u:eim9@host: 2\n",
        "? {eim9: 1}\n: 2\n",
        "<<: eim9",
    ],
)
def test_what_is_not_yaml_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "line.yaml")

    assert "eim9" not in str(caught.value)
    assert "line.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_reader_of_a_file_refuses_a_double_key(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("line: a\nline: b\n")

    for read in (read_yaml, load_line, load_recipe):
        with pytest.raises(ConfigError, match="on lines 1 and 2"):
            read(file)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")

    assert read_yaml(file) == {"a": 1}
