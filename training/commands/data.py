"""`f2p data`: look at a data set before training on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from f2pnet.commands.output_places import try_file, try_folder, write_file
from f2pnet.commands.terminal import Fitted, cell, plain_console, say, say_json
from f2pnet.errors import ConfigError, ExitCode, MissingResource
from f2pnet.pictures.writing import write_picture
from f2pnet.text import printable
from training.data.check import Check, check_dataset
from training.data.examples import read_frame
from training.data.few_shot import few_shot_lists
from training.data.records import BIT_DEPTHS, ImageFile, read_records
from training.layouts.find import find_dataset
from training.layouts.index import LAYOUTS
from training.layouts.index import index as write_index

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
        import torch

        torch.set_num_threads(threads)
    folder = find_dataset(dataset, data_dir)
    if pictures is not None:
        try_folder(pictures, "--pictures")
    found = check_dataset(folder, train_list, test_list)
    if pictures is not None:
        _write_pairs(found, pictures)
    if as_json:
        typer.echo(json.dumps({"passes": found.passes, "images": found.images, "findings": _plain(found)}))
    else:
        _show(folder, found)
    if not found.passes:
        raise typer.Exit(ExitCode.CHECK_FAILED)


@data.command()
def index(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="folder of a data set in another layout")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="where to write train.json, test.json, few_shot.json")],
    layout: Annotated[str | None, typer.Option(help=f"one of {', '.join(LAYOUTS)}; default: by its files")] = None,
    bit_depth: Annotated[
        int | None,
        typer.Option(min=BIT_DEPTHS[0], max=BIT_DEPTHS[-1], help="bits that 16-bit pixels fill, if files don't say"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write the index files of a data set in another layout, recognised by its files; images stay in place."""
    if not source.is_dir():
        raise MissingResource(f"{source}: no such folder; name the folder that the data set was unpacked into")
    try_folder(out, "--out")
    done = write_index(source, out, layout, bit_depth)
    if as_json:
        typer.echo(json.dumps({**vars(done), "folder": str(done.folder)}))
        return
    say(f"{source}: recognised as {done.layout}" if layout is None else f"{source}: read as {done.layout}")
    table = Table("class", *done.counts, title=f"{source}: {done.layout}")
    for name in sorted(set().union(*done.counts.values())):
        table.add_row(cell(name), *(str(counts[name]) for counts in done.counts.values()))
    plain_console().print(Fitted(table))
    for remark in done.remarks:
        say(remark)
    say(f"{out}: few-shot lists of {', '.join(map(str, done.shots)) or 'no size'}")


@data.command("few-shot")
def few_shot(
    dataset: Annotated[str, typer.Argument(metavar="DIR", help="data set folder, or its name under --data-dir")],
    train_list: Annotated[str, typer.Option(help="index file to draw from")] = "train.json",
    out_list: Annotated[str, typer.Option(help="file to write, beside it")] = "few_shot.json",
    seed: Annotated[int, typer.Option(min=0, help="of the draw")] = 3407,
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    as_json: Annotated[bool, typer.Option("--json", help="print the file and the sizes of its lists as JSON")] = False,
) -> None:
    """Draw the few-shot lists: 1, 4, 16, 32 and 64 images, classes and parts in turn, each list in the next."""
    folder = find_dataset(dataset, data_dir)
    path = folder / out_list
    if path.exists():
        raise ConfigError(f"{path} is there already: name another with --out-list, or delete it")
    try_file(path, "--out-list")
    lists = few_shot_lists(read_records(folder, train_list), seed)
    write_file(path, json.dumps(lists, indent=1) + "\n", "--out-list")
    if as_json:
        say_json({"file": printable(path), "sizes": {size: len(ids) for size, ids in lists.items()}})
        return
    say(f"{path}: lists of {', '.join(lists) or 'no size: there is no defective image'}")


def _plain(found: Check) -> list[dict[str, object]]:
    return [asdict(finding) for finding in found.findings]


def _show(folder: Path, found: Check) -> None:
    console = plain_console()
    counts = ", ".join(f"{count} records in {name}" for name, count in found.images.items())
    say(f"{folder}: {counts}")
    table = Table("", "found", "count", "such as")
    for finding in found.findings:
        table.add_row(
            finding.gravity,
            finding.what,
            str(finding.count),
            Text("\n".join(map(printable, finding.examples))),
            style=STYLES[finding.gravity],
        )
    if found.findings:
        console.print(Fitted(table))
    console.print("no leak, nothing unusable" if found.passes else "FAILED", style="green" if found.passes else "red")


def _write_pairs(found: Check, folder: Path) -> None:
    """`0001.png` and so on: the training picture on the left, the test picture on the right."""
    for number, (train, test, _) in enumerate(found.pairs, start=1):
        pair = [cv2.resize(_read(file), (PAIR_PX, PAIR_PX), interpolation=cv2.INTER_AREA) for file in (train, test)]
        write_picture(folder / f"{number:04d}.png", np.hstack(pair).astype(np.uint8))


def _read(file: ImageFile) -> np.ndarray:
    """(H, W, 3) BGR."""
    image = read_frame(file)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
