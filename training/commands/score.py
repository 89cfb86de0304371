"""`f2p test`: score sheets of a checkpoint, an engine or a trivial baseline."""
# ruff: noqa: PT028 - `test` is a command here, not a test function

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, get_args

import typer

from f2pnet.commands.output_places import refuse_shared, try_file, write_file
from f2pnet.commands.terminal import Fitted, plain_console
from f2pnet.engine.blind import blind_on
from f2pnet.errors import ExitCode
from models.configuration import SecondPass
from training.commands.blind_warning import warn_of
from training.report.sheet_tables import sheet_tables
from training.score.names import TRIVIAL_NAMES


def test(
    dataset: Annotated[list[str], typer.Option(help="name under --data-dir, or a folder; may be given several times")],
    ckpt_path: Annotated[Path | None, typer.Option(help="a checkpoint that `f2p train` wrote")] = None,
    engine: Annotated[Path | None, typer.Option(help="an engine bundle")] = None,
    trivial: Annotated[
        list[str] | None, typer.Option(help=f"a baseline without a network: {', '.join(TRIVIAL_NAMES)}")
    ] = None,
    test_list: Annotated[str, typer.Option(help="index file of each data set")] = "test.json",
    train_list: Annotated[
        str, typer.Option(help="training list, which the baseline `twin` copies from")
    ] = "train.json",
    protocol: Annotated[
        list[str] | None, typer.Option(help="auto (no prompts; the default), oracle-box, oracle-point; several allowed")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="what a checkpoint makes of its own pixel map to prompt a second decoding: "
            f"{', '.join(get_args(SecondPass))}; default: as it was trained"
        ),
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    json_file: Annotated[Path | None, typer.Option("--json", help="write the score sheets here")] = None,
    page: Annotated[Path | None, typer.Option(help="write curves, tables and images here, one HTML page")] = None,
) -> None:
    """Score a checkpoint, an engine or a trivial baseline on labelled images.

    Exit code 1 when none, or nearly none, of the defective images would be rejected.
    """
    from training.commands.subjects import score, subjects_of
    from training.layouts.find import find_datasets
    from training.report.page import write_page
    from training.score.sheet import PROTOCOL

    refuse_shared({"--json": json_file, "--page": page}, {"--ckpt-path": ckpt_path})
    for path, option in ((json_file, "--json"), (page, "--page")):
        if path is not None:
            try_file(path, option)
    subjects = list(subjects_of(ckpt_path, engine, trivial or [], protocol or [PROTOCOL], train_list, prompts))
    folders = find_datasets(dataset, data_dir)
    scored = [score(subject, folder, test_list) for subject in subjects for folder in folders]
    sheets = [each.sheet for each in scored]
    if json_file:
        write_file(json_file, json.dumps(sheets, indent=2) + "\n", "--json")
    if page:
        write_page(page, scored)
    for table in sheet_tables(sheets):
        plain_console().print(Fitted(table))
    if not trivial and (blind := blind_on(sheets)):
        warn_of(blind)
        raise typer.Exit(ExitCode.CHECK_FAILED)
