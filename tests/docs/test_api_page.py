"""The pages that programs write from the code say what the code says now."""

from __future__ import annotations

import re
import runpy

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.parametrize("name", ["api", "contract"])
def test_the_page_is_up_to_date(name: str) -> None:
    if name == "contract":
        pytest.importorskip("torch")  # commands of training are among those listed
    written = runpy.run_path(str(REPOSITORY / "docs" / f"make_{name}.py"))["page"]()
    page = REPOSITORY / "docs" / f"{name}.md"
    assert page.read_text(encoding="utf-8") == written, f"run: python docs/make_{name}.py"


def test_every_field_of_the_contract_has_a_meaning() -> None:
    page = (REPOSITORY / "docs/contract.md").read_text(encoding="utf-8")
    fields = page.partition("## Exit codes")[2]
    assert [line for line in fields.splitlines() if re.search(r"\|\s*\|$", line)] == []
