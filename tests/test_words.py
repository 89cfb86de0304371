"""Words that the product does not use, in names, messages and documents; each with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTEAD = {
    r"told|tells|telling|tell": "is reported, is notified of, says, distinguishes",
    r"rooms|roofs?|floors?|houses?": "packages, modules, layers",
    r"g[ia]ves? way": "is dropped, is closed",
    r"laggards?": "lagging groups",
    r"doors": "access, authentication",
    r"keepers?": "supervisor, parent process",
    r"takes? up (a|the|its) \w+|taken up": "loads, applies",
    r"has (the|its|had its) say": "decides",
    r"lies? apart": "differs, is stored separately",
    r"can't be had": "is missing, is unavailable",
    r"takes its place in the order": "gets a sequence number",
    r"whose word|who may look": "which reviewer, authentication",
    r"last words": "final counters",
    r"what no disk takes": "results that cannot be persisted",
    r"a message that is none|a place that is none": "a malformed message, an invalid URL",
}
NAMES = r"_?told_?|(?<![a-z])tell_|_told(?![a-z])|laggard|keeper"
"""Parts of names in code."""
EXEMPT = re.compile(r"\.tell\(\)|np\.floor|floors = |in floors|above a floor|a floor plus|own strength above")


def _texts() -> list[Path]:
    folders = ("f2pnet", "models", "training", "export", "pipeline", "docs", "deploy")
    kinds = ("*.py", "*.md", "*.html", "*.js", "*.yml", "*.yaml")
    found = [path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(kind)]
    return sorted([*found, ROOT / "README.md", ROOT / "CHANGELOG.md"])


@pytest.mark.parametrize("word", INSTEAD)
def test_a_word_is_not_used(word: str) -> None:
    pattern = re.compile(rf"\b({word})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(EXEMPT.sub("", line))
    ]
    assert found == [], f"write instead: {INSTEAD[word]}"


def test_no_name_in_code_uses_them() -> None:
    pattern = re.compile(NAMES)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts()
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(EXEMPT.sub("", line))
    ]
    assert found == []
