"""A short fuzz of what the line reads; `make fuzz` runs the long one."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import campaign


def test_damaged_input_is_refused_with_an_error_of_ours(tmp_path: Path) -> None:
    outcome = campaign.run(2_000, seed=3, folder=tmp_path)
    assert not outcome.findings, outcome.findings[0]
    for name in ("message", "line file", "recipe", "bundle"):
        assert outcome.refused[name] > 100, name
