"""`f2p test`: score sheets of a checkpoint, an engine or a trivial baseline."""
# ruff: noqa: PT028 - `test` is a command here, not a test function

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from f2pnet.commands.output_places import refuse_shared, try_file, write_file
from f2pnet.commands.terminal import Fitted, plain_console
from f2pnet.engine.blind import blind_on
from f2pnet.errors import ConfigError, ExitCode
from f2pnet.pictures.preprocess import Resize
from models.configuration import NetworkConfig, SecondPass
from models.f2pnet import F2PNet
from training.commands.blind_warning import warn_of
from training.data.records import Record, read_records
from training.layouts.find import find_datasets
from training.metrics.thresholds import Choice, Validated
from training.networks.trainable import Network, read_network
from training.report.page import Scored, write_page
from training.report.sheet_tables import sheet_tables
from training.score.image_stats import ImageStats, image_stats
from training.score.model import Model, as_model, choice_of, open_engine, resize_of
from training.score.oracle import OraclePrompt, oracle_answers
from training.score.sheet import PROTOCOL, answers_for, full_sheet
from training.score.trivial import CHOICE, NAMES, protocol_of, trivial_answers

ORACLES: tuple[OraclePrompt, ...] = get_args(OraclePrompt)
SECOND_PASSES: tuple[SecondPass, ...] = get_args(SecondPass)
PROTOCOLS = (PROTOCOL, *ORACLES)
Answer = Callable[[Sequence[Record], Path], Validated]
"""(records, folder of the data set) -> answers"""


@dataclass(frozen=True)
class Subject:
    """One thing to score under one protocol."""

    name: str
    protocol: str
    choice: Choice
    answer: Answer


def test(
    dataset: Annotated[list[str], typer.Option(help="name under --data-dir, or a folder; may be given several times")],
    ckpt_path: Annotated[Path | None, typer.Option(help="a checkpoint that `f2p train` wrote")] = None,
    engine: Annotated[Path | None, typer.Option(help="an engine bundle")] = None,
    trivial: Annotated[list[str] | None, typer.Option(help=f"a baseline without a network: {', '.join(NAMES)}")] = None,
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
            f"{', '.join(SECOND_PASSES)}; default: as it was trained"
        ),
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    json_file: Annotated[Path | None, typer.Option("--json", help="write the score sheets here")] = None,
    page: Annotated[Path | None, typer.Option(help="write curves, tables and images here, one HTML page")] = None,
) -> None:
    """Score a checkpoint, an engine or a trivial baseline on labelled images.

    Exit code 1 when none, or nearly none, of the defective images would be rejected.
    """
    refuse_shared({"--json": json_file, "--page": page}, {"--ckpt-path": ckpt_path})
    for path, option in ((json_file, "--json"), (page, "--page")):
        if path is not None:
            try_file(path, option)
    subjects = list(_subjects(ckpt_path, engine, trivial or [], protocol or [PROTOCOL], train_list, prompts))
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


def score(subject: Subject, folder: Path, list_name: str) -> Scored:
    """The score sheet of one subject on one list of a data set, with what it was made from."""
    records = read_records(folder, list_name)
    answers = subject.answer(records, folder)
    stats: ImageStats = image_stats(answers, subject.choice)
    sheet: dict[str, Any] = {
        "dataset": folder.name,
        "split": list_name,
        "protocol": subject.protocol,
        "images": len(records),
        "defective": sum(record.label for record in records),
        "model": subject.name,
        **full_sheet(stats, records, frames=subject.protocol == PROTOCOL),
    }
    return Scored(sheet, records, answers, stats, subject.choice)


def _subjects(
    checkpoint: Path | None,
    engine: Path | None,
    trivial: Sequence[str],
    protocols: Sequence[str],
    train_list: str,
    prompts: str | None,
) -> Iterator[Subject]:
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise ConfigError(f"protocol is '{unknown[0]}', wanted one of {', '.join(PROTOCOLS)}")
    if (checkpoint is not None) + (engine is not None) + bool(trivial) != 1:
        raise ConfigError("name what to score, one of --ckpt-path FILE, --engine BUNDLE and --trivial NAME")
    if prompts is not None and (checkpoint is None or protocols != [PROTOCOL]):
        raise ConfigError(
            f"--prompts {prompts} is for a checkpoint under protocol '{PROTOCOL}': give --ckpt-path FILE and no "
            "other --protocol; an engine keeps the pass that it was exported with"
        )
    if checkpoint:
        return checkpoint_subjects(checkpoint, protocols, prompts)
    if engine:
        return iter([_engine_subject(engine, protocols)])
    return (trivial_subject(name, train_list) for name in trivial)


def checkpoint_subjects(path: Path, protocols: Sequence[str], prompts: str | None = None) -> Iterator[Subject]:
    """A checkpoint under each protocol; `prompts` takes the place of the second pass that it was trained with."""
    network, facts = read_network(path)
    if prompts is not None:
        network.config = _with_second_pass(path, network, prompts)
    for protocol in protocols:
        if protocol == PROTOCOL:
            yield _unprompted(str(path), as_model(network, choice_of(facts), resize_of(facts)))
        elif isinstance(network, F2PNet):
            yield _prompted(str(path), network, protocol, resize_of(facts))
        else:
            name = network.config.network
            raise ConfigError(f"{path}: protocol '{protocol}' needs F2P-Net, and '{name}' takes no prompts")


def _with_second_pass(path: Path, network: Network, prompts: str) -> NetworkConfig:
    known = next((known for known in SECOND_PASSES if known == prompts), None)
    if known is None:
        raise ConfigError(f"--prompts is '{prompts}', wanted one of {', '.join(SECOND_PASSES)}")
    if not isinstance(network, F2PNet):
        raise ConfigError(f"{path}: --prompts needs F2P-Net, and '{network.config.network}' takes no prompts")
    return replace(network.config, second_pass=known)


def trivial_subject(name: str, train_list: str) -> Subject:
    """A baseline without a network, under the one protocol it has."""
    known = next((known for known in NAMES if known == name), None)
    if known is None:
        raise ConfigError(f"no trivial baseline '{name}', wanted one of {', '.join(NAMES)}")

    def answer(records: Sequence[Record], folder: Path) -> Validated:
        return trivial_answers(known, records, read_records(folder, train_list) if known == "twin" else [])

    shown = f"twin of {train_list}" if known == "twin" else known
    return Subject(f"trivial: {shown}", protocol_of(known), CHOICE, answer)


def _engine_subject(folder: Path, protocols: Sequence[str]) -> Subject:
    if prompted := [name for name in protocols if name in ORACLES]:
        raise ConfigError(
            f"protocol '{prompted[0]}' asks the network with prompts, which an engine does not take: "
            "score the checkpoint with --ckpt-path instead"
        )
    return _unprompted(str(folder), open_engine(folder))


def _unprompted(name: str, model: Model) -> Subject:
    return Subject(name, PROTOCOL, model.choice, lambda records, _: answers_for(model, records))


def _prompted(name: str, network: F2PNet, protocol: str, resize: Resize) -> Subject:
    """Thresholds are chosen without prompts; a prompted mask is cut where the published evaluation cuts it."""
    kind = next(oracle for oracle in ORACLES if oracle == protocol)
    choice = Choice("mask", CHOICE.thresholds)
    return Subject(name, protocol, choice, lambda records, _: oracle_answers(network, records, kind, resize))
