"""`f2p pretrained`: published weights, listed, fetched, converted and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ExitCode, MissingResource
from training.pretrained.catalogue import (
    CATALOGUE,
    FOLDER,
    FOLDER_VARIABLE,
    Published,
    locate,
    pretrained_folder,
    published,
)
from training.pretrained.fetch import BASE_VARIABLE
from training.pretrained.fetch import fetch as fetch_file

pretrained = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Published weights that training starts from: list, fetch, check."
)

Folder = Annotated[
    Path | None, typer.Option(envvar=FOLDER_VARIABLE, help=f"folder of pretrained weights; default: {FOLDER}")
]
AsJson = Annotated[bool, typer.Option("--json", help="print the answer as JSON")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="of `f2p pretrained list`")]


@pretrained.command("list")
def list_(pretrained_dir: Folder = None, as_json: AsJson = False) -> None:
    """Which weights are known, and which are here."""
    facts = [_facts(entry, pretrained_folder(pretrained_dir)) for entry in CATALOGUE]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table(title=f"pretrained weights in {pretrained_folder(pretrained_dir)}/", title_justify="left")
    for column in ("name", "file", "here", "licence"):
        table.add_column(column, overflow="fold")
    for each in facts:
        table.add_row(each["name"], each["file"], "yes" if each["present"] else "no", each["licence"])
    Console().print(table)
    for each in facts:
        if not each["present"]:
            typer.echo(f"to get {each['name']}: {each['command']}")


@pretrained.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="of `f2p pretrained list`")],
    pretrained_dir: Folder = None,
    base_url: Annotated[
        str | None, typer.Option(envvar=BASE_VARIABLE, help="mirror that holds the files under their names")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download weights, go on with a broken download, and check what came."""
    entries, folder = [published(name) for name in names], pretrained_folder(pretrained_dir)
    facts = []
    for entry in entries:
        with _bar() as bar:
            task = bar.add_task(entry.file, total=None)
            path = fetch_file(
                entry,
                folder,
                base_url=base_url,
                progress=lambda done, size, bar=bar, task=task: bar.update(task, completed=done, total=size),  # type: ignore[misc]
            )
        facts.append(_facts(entry, folder))
        if not as_json:
            known = "checksum right" if entry.sha256 else "names and shapes right; no checksum is published"
            typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {known}; licence: {entry.licence}")
    if as_json:
        typer.echo(json.dumps(facts, indent=2))


@pretrained.command()
def convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="encoder's and decoder's ONNX graph")],
    pretrained_dir: Folder = None,
    out: Annotated[Path | None, typer.Option(help="file to write; known graphs have their place in the folder")] = None,
    licence: Annotated[str | None, typer.Option(help="terms of the weights, for graphs that are not known")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn the ONNX encoder and decoder of a MobileSAM into one file of weights for vit_t."""
    from training.pretrained.convert import convert as convert_graphs  # torch, which help need not wait for

    path = convert_graphs(files, out, pretrained_folder(pretrained_dir), licence)
    facts = {"file": str(path), "sha256": sha256_of(path), "size_mb": round(path.stat().st_size / 1e6, 1)}
    typer.echo(json.dumps(facts) if as_json else f"{path}: {facts['size_mb']} MB, sha256 {facts['sha256']}")


@pretrained.command()
def verify(names: Names = None, pretrained_dir: Folder = None, as_json: AsJson = False) -> None:
    """Check hash, names and shapes of the weights that are here; exit code 1 where one is not sound."""
    folder = pretrained_folder(pretrained_dir)
    entries = [published(name) for name in names] if names else list(CATALOGUE)
    here = [(entry, path) for entry in entries if (path := locate(entry, folder)) is not None]
    absent = [entry for entry in entries if entry not in [found for found, _ in here]]
    if (names and absent) or not here:
        cures = "; ".join(entry.command for entry in absent)
        raise MissingResource(f"{folder} lacks {', '.join(entry.file for entry in absent)}: {cures}")
    from training.pretrained.reading import check  # torch, which help need not wait for

    checked = [check(entry, path) for entry, path in here]
    if as_json:
        sheet = [
            {"name": c.entry.name, "file": str(c.path), "sha256": c.sha256, "ok": not c.problem, "problem": c.problem}
            for c in checked
        ]
        typer.echo(json.dumps(sheet, indent=2))
    else:
        for each in checked:
            typer.echo(f"{each.path}: {each.problem or f'sound, sha256 {each.sha256}'}")
    if any(each.problem for each in checked):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _facts(entry: Published, folder: Path) -> dict[str, Any]:
    path = locate(entry, folder)
    return {
        "name": entry.name,
        "file": entry.file,
        "present": path is not None,
        "sha256": entry.sha256 if path is None else sha256_of(path),
        "licence": entry.licence,
        "source": entry.url or entry.source,
        "fits": entry.fits,
        "path": None if path is None else str(path),
        "command": entry.command,
    }


def _bar() -> Progress:
    """On stderr, and only on a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
