"""Annotation files as other programs write them: JSON with or without a byte-order mark, XML without its dangers."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from f2pnet.errors import ConfigError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def read_json(path: Path) -> Any:
    """A JSON file in UTF-8, with a byte-order mark or without. Raises ConfigError."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{path} is not JSON in UTF-8: {error}") from error


@lru_cache(maxsize=8)
def _peeked(path: Path, changed_ns: int) -> Any:
    return read_json(path)


def peek_json(path: Path) -> Any:
    """`read_json` for finding out what a file is: None where it is no JSON. Not to be changed."""
    try:
        return _peeked(path, path.stat().st_mtime_ns)
    except (ConfigError, OSError):
        return None


def read_xml(path: Path) -> Element:
    """The root of an XML file; entities and outside references are refused. Raises ConfigError."""
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except DefusedXmlException as error:
        raise ConfigError(f"{path} declares entities, which annotation tools don't write: refused ({error})") from error
    except (defusedxml.ElementTree.ParseError, ValueError, OSError, LookupError) as error:
        raise ConfigError(f"{path} is not XML: {error}") from error
    if root is None:
        raise ConfigError(f"{path} is not XML: it is empty")
    return root


def as_list(value: Any, where: str, what: str) -> list[Any]:
    """A JSON list. Raises ConfigError for anything else."""
    if not isinstance(value, list):
        raise ConfigError(f"{where}: {what} is {shown(value)}, wanted a list")
    return value


def as_object(value: Any, where: str) -> dict[str, Any]:
    """A JSON object. Raises ConfigError for anything else."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: is {shown(value)}, wanted an object")
    return value


def shown(value: Any) -> str:
    """A JSON value for a message: short."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        return repr(value[:60])
    return "an object" if isinstance(value, dict) else "a list"
