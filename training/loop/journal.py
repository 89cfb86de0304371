"""The log of a run: one JSON object in each line of `log.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """Appends lines. A resumed run first forgets the lines of steps that it will do again."""

    def __init__(self, path: Path, done_steps: int) -> None:
        self.path = path
        kept = [line for line in read_journal(path) if line["step"] <= done_steps] if done_steps else []
        unfinished = path.with_name(path.name + ".part")  # a kill just now must not cost the whole log
        unfinished.write_text("".join(_as_line(line) for line in kept), encoding="utf-8")
        unfinished.replace(path)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """`kind` is "step" or "validation"; `step` counts the steps done."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_as_line({"kind": kind, "step": step, **values}))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; none where there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _as_line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
