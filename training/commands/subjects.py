"""What `f2p test` scores: a checkpoint under a protocol, an engine, a trivial baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from f2pnet.errors import ConfigError
from f2pnet.pictures.preprocess import Resize
from models.configuration import NetworkConfig, SecondPass
from models.f2pnet import F2PNet
from training.data.records import Record, read_records
from training.metrics.thresholds import Choice, Validated
from training.networks.trainable import Network, read_network
from training.report.page import Scored
from training.score.image_stats import ImageStats, image_stats
from training.score.model import Model, as_model, choice_of, open_engine, resize_of
from training.score.names import ORACLES, TRIVIAL_NAMES
from training.score.oracle import oracle_answers
from training.score.sheet import PROTOCOL, answers_for, full_sheet
from training.score.trivial import CHOICE, protocol_of, trivial_answers

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


def subjects_of(
    checkpoint: Path | None,
    engine: Path | None,
    trivial: Sequence[str],
    protocols: Sequence[str],
    train_list: str,
    prompts: str | None,
) -> Iterator[Subject]:
    """What the options of `f2p test` name. Raises ConfigError for none, two, or what does not go together."""
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
    known = next((known for known in TRIVIAL_NAMES if known == name), None)
    if known is None:
        raise ConfigError(f"no trivial baseline '{name}', wanted one of {', '.join(TRIVIAL_NAMES)}")

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
