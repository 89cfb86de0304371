"""`f2p data`: look at a data set before training on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from f2pnet.errors import ExitCode
from training.data_check import Check, check_dataset
from training.records import find_dataset

PAIR_PX = 256
STYLES = {"leak": "red", "error": "red", "note": "yellow"}

data = typer.Typer(help="Look at a data set before training on it.")


@data.callback()
def _data() -> None:
    """Look at a data set before training on it."""


@data.command()
def check(
    dataset: Annotated[str, typer.Argument(metavar="DIR", help="data set folder, or its name under --data-dir")],
    train_list: Annotated[str, typer.Option(help="index file to train on")] = "train.json",
    test_list: Annotated[str, typer.Option(help="index file to test on")] = "test.json",
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    pictures: Annotated[Path | None, typer.Option(metavar="DIR", help="write leaking pairs here, side by side")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Find leaks between the lists (also turned, mirrored or lit otherwise) and records that can't be used.

    Exit code 1 when there is a leak or an unusable record.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    folder = find_dataset(dataset, data_dir)
    found = check_dataset(folder, train_list, test_list)
    if pictures is not None:
        _write_pairs(found, pictures)
    if as_json:
        typer.echo(json.dumps({"passes": found.passes, "images": found.images, "findings": _plain(found)}))
    else:
        _show(folder, found)
    if not found.passes:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _plain(found: Check) -> list[dict[str, object]]:
    return [asdict(finding) for finding in found.findings]


def _show(folder: Path, found: Check) -> None:
    console = Console()
    console.print(f"{folder}: " + ", ".join(f"{count} records in {name}" for name, count in found.images.items()))
    table = Table("", "found", "count", "such as")
    for finding in found.findings:
        table.add_row(
            finding.gravity,
            finding.what,
            str(finding.count),
            "\n".join(finding.examples),
            style=STYLES[finding.gravity],
        )
    if found.findings:
        console.print(table)
    console.print("no leak, nothing unusable" if found.passes else "FAILED", style="green" if found.passes else "red")


def _write_pairs(found: Check, folder: Path) -> None:
    """`0001.png` and so on: the training picture on the left, the test picture on the right."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (train, test, _) in enumerate(found.pairs, start=1):
        pair = [cv2.resize(_read(path), (PAIR_PX, PAIR_PX), interpolation=cv2.INTER_AREA) for path in (train, test)]
        cv2.imwrite(str(folder / f"{number:04d}.png"), np.hstack(pair))


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path  # noqa: S101 - it was read a moment ago
    return image
