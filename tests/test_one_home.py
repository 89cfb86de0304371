"""Each fact of tests/one_home.py is stated in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.one_home import FACTS, homes

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_has_one_home(fact: str) -> None:
    assert len(homes(ROOT, FACTS[fact])) <= 1
