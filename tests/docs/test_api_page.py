"""The page of the Python API is what the docstrings say now."""

from __future__ import annotations

import runpy

from tests.conftest import REPOSITORY


def test_the_page_is_up_to_date() -> None:
    written = runpy.run_path(str(REPOSITORY / "docs" / "make_api.py"))["page"]()
    assert (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8") == written, "run: python docs/make_api.py"
