"""The command line that the soaks share: how long, where the report goes, and the line's log whatever happens."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import typer

Report = dict[str, Any]


def soak_command(
    description: str | None, run: Callable[[float, Path], Report], holds: Callable[[Report], bool]
) -> NoReturn:
    """Run for `--minutes` in a new folder, leave `report.json` and `line.log` in `--out`, and end with 1 where the
    report does not hold."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--out", type=Path, default=Path("soak"), help="folder for report.json")
    wanted = options.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="f2p-soak-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = f"{folder}/run"
        try:
            report = run(wanted.minutes, Path(folder))
        finally:
            log = Path(folder) / "line.log"
            if log.exists():
                (wanted.out / "line.log").write_bytes(log.read_bytes())
    (wanted.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "samples"}, indent=2))
    sys.exit(0 if holds(report) else 1)
