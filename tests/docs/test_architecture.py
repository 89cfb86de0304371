"""The drawing of packages and layers in docs/architecture.md, held against the imports of the code."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("f2pnet", "models", "training", "export", "pipeline")
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
DRAWINGS = {
    container: [re.split(r"\s{2,}", line)[0].split(" · ") for line in drawing.splitlines()]
    for container, drawing in re.findall(r"```layers ?(\w*)\n(.*?)```", PAGE, re.DOTALL)
}
MOST_FILES = 13


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def test_every_package_is_drawn_once() -> None:
    assert set(DRAWINGS) == {"", *PACKAGES}
    assert sorted(chain(*DRAWINGS[""])) == sorted(PACKAGES)
    for package in PACKAGES:
        parts = {
            path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        assert sorted(chain(*DRAWINGS[package])) == sorted(parts - {"__init__"}), package


@pytest.mark.parametrize("container", DRAWINGS)
def test_imports_run_downward_only(container: str, imports: grimp.ImportGraph) -> None:
    depth = len(container.split(".")) if container else 0
    level = {name: number for number, names in enumerate(DRAWINGS[container]) for name in names}

    def part(module: str) -> str | None:
        words = module.split(".")
        inside = not container or words[0] == container
        return words[depth] if inside and len(words) > depth else None

    upward = [
        f"{module} imports {imported}"
        for module in imports.modules
        for imported in imports.find_modules_directly_imported_by(module)
        if (above := part(module)) and (below := part(imported)) and above != below and level[above] >= level[below]
    ]
    assert upward == []


def test_no_folder_is_too_full_to_survey() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    full = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in full.items() if count > MOST_FILES} == {}
