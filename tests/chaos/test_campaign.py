"""A short campaign of faults on a whole line; `make chaos` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import numbered
from tests.chaos.campaign import as_table, holds, run


def result_of(number: int) -> bytes:
    """What a correct line says of a picture, written by hand."""
    if numbered.is_poisoned(number):
        return b'{"verdict": "NOT_INSPECTED", "reason": "engine_fault", "score": null, "defects": []}'
    if not numbered.is_ng(number):
        grey = (20 + number % 60) / 200
        return b'{"verdict": "OK", "reason": null, "score": %f, "defects": []}' % grey
    boxes = [
        b'{"bbox_px": [%d, %d, 10, 10]}' % (bit % 4 * 16 + 3, bit // 4 * 16 + 3)
        for bit in range(12)
        if number + 1 >> bit & 1
    ]
    return b'{"verdict": "NG", "reason": null, "score": 0.9, "defects": [%s]}' % b", ".join(boxes)


def test_a_result_shows_its_own_picture_and_no_neighbour() -> None:
    for number in range(numbered.NUMBERS):
        assert numbered.shows(result_of(number), number), number
        neighbours = {(number + step) % numbered.NUMBERS for step in (-3, -2, -1, 1, 2, 3)}
        judged = not numbered.is_poisoned(number)
        assert not any(judged and numbered.shows(result_of(number), other) for other in neighbours), number


@pytest.mark.timeout(200)
def test_faults_break_no_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"/tmp/f2p-{tmp_path.parent.name}")  # noqa: S108 - Unix socket paths must be short
    report = run(faults=25, seed=7, folder=tmp_path)
    assert holds(report), as_table(report) + str(report["audit"]["examples"])
    assert report["audit"]["frames"] > 300
    assert sum(row["count"] for row in report["recovery_s"].values()) == 25
