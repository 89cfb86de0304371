"""Reading YAML: one way for every file, which refuses a key that stands twice and never repeats a file's content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from f2pnet.errors import ConfigError, MissingResource
from f2pnet.text import printable

CONTENT_SHOWN = ("alias", "anchor", "tag", "second occurrence")  # PyYAML's messages that repeat text of the file
SPECIAL = "quote a value that begins with one of & * ! % @ `, and one that holds ': ' or ' #'"


def read_yaml(path: Path) -> object:
    """The content of a YAML file as plain Python values.

    Raises MissingResource (no such file) or ConfigError: not YAML, not UTF-8, not readable, or a key that stands twice
    in one mapping, with both lines.
    """
    if not path.is_file():
        raise MissingResource(f"no configuration file {printable(path)}: check the path")
    try:
        return parse_yaml(path.read_text(encoding="utf-8-sig"), printable(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{printable(path)} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{printable(path)} can't be read: {error.strerror}; check its permissions") from None


def parse_yaml(text: str, name: str) -> object:
    """As `read_yaml`, of a text; `name` says in messages where it stands."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_double_keys(root, name)
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not YAML: {_problem(error)}") from None
    except (ValueError, TypeError, RecursionError):
        # Such as the date 2026-13-45 or a mapping as a key; the text of the error would repeat the value.
        raise ConfigError(f"{name} holds a value that YAML can't read, such as a date that does not exist") from None


def _refuse_double_keys(root: yaml.Node, name: str) -> None:
    for mapping in _mappings(root):
        lines: dict[tuple[str, str], int] = {}  # where each key stands
        for key in (key for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if (first := lines.get((key.tag, key.value))) is not None:
                raise ConfigError(
                    f"{name}: key '{_shown_key(key.value)}' stands twice, on lines {first} and {line}: "
                    "only one of them would count; remove or rename one"
                )
            lines[key.tag, key.value] = line


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Every mapping of a document, once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            waiting += [part for pair in node.value for part in pair]
        else:
            waiting += node.value


def _shown_key(key: str) -> str:
    return "***" if "@" in key or "://" in key else printable(key)


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the file's content, which may hold passwords."""
    problem = getattr(error, "problem", None) or "characters that YAML does not allow"
    if any(word in problem for word in CONTENT_SHOWN):
        problem = "an alias (*), anchor (&) or tag (!) that is not known, or an anchor that stands twice"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return f"{where}{printable(problem)}; {SPECIAL}"
