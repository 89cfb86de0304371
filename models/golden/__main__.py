"""`python -m models.golden DIR`: a table of the worst error of every kind of entry; exit 1 above the limit."""

import argparse
import math
import sys
import time
from pathlib import Path

import torch

from models.golden.cases import Cases
from models.golden.comparison import Comparison, compare_file

LIMIT = 1e-4
"""Relative L2 error that every array must keep."""
DONE, FAILED, USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with cases.json and golden .npz files")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    options = parser.parse_args(arguments)
    files = sorted(options.folder.glob("*.npz"))
    if not files or not (options.folder / "cases.json").is_file():
        sys.stderr.write(f"{options.folder} is no golden folder: it needs cases.json and at least one .npz file\n")
        return USAGE
    if options.threads:
        torch.set_num_threads(options.threads)
    cases = Cases.read(options.folder)
    worst = max(_report(path, cases) for path in files)
    say(f"worst relative error {worst:.3g}")
    return DONE if worst <= LIMIT else FAILED


def _report(path: Path, cases: Cases) -> float:
    """Compares one file, prints its part of the table and gives its worst error."""
    say(f"{path.name}")
    started = time.monotonic()
    try:
        comparisons = list(compare_file(path, cases))
    except ValueError as error:
        say(f"  cannot be compared: {error}")
        return math.inf
    kinds: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        kinds.setdefault(kind_of(comparison.entry), []).append(comparison)
    say(f"  {'entry':24} {'arrays':>6} {'worst error':>12}  worst at")
    for kind, of_kind in kinds.items():
        worst = max(of_kind, key=lambda comparison: comparison.relative_error)
        say(f"  {kind:24} {len(of_kind):6} {worst.relative_error:12.2e}  {worst.entry} {worst.note}".rstrip())
    say(f"  {len(comparisons)} arrays in {time.monotonic() - started:.0f} s")
    return max((comparison.relative_error for comparison in comparisons), default=math.inf)


def kind_of(entry: str) -> str:
    """The entry's name without picture and case: `A__box__sparse__stats` is of the kind `sparse stats`."""
    is_statistic = entry.endswith("__stats")
    kind = entry.removesuffix("__stats").split("__")[-1]
    return f"{kind} stats" if is_statistic else kind


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
