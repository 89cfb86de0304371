"""Mutated messages, configurations and bundles: `python -m tests.fuzz.campaign --inputs 100000 --seed 1`.

Each is read as the line reads it. It is accepted, or refused with an error of ours; anything else is a finding, and so
is an input that takes longer than a second.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import typer

from f2pnet.config import load_line
from f2pnet.engine.bundle import open_bundle
from f2pnet.errors import F2pError
from f2pnet.inspection.recipe import load_recipe
from f2pnet.inspection.result import Defect, InspectionResult, Timings, Verdict
from pipeline.frames.ledger import Ledger
from pipeline.wire.messages import (
    Acks,
    Fault,
    Heartbeat,
    Judged,
    LatencyCounts,
    Lease,
    LedgerReport,
    NotStored,
    Ready,
    Verdicts,
    decode,
    encode,
)
from pipeline.wire.run_id import new_run_id
from tests.fuzz.mutations import mutated
from tests.toy_engine import write_toy_bundle

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 1.0
FINDINGS_SHOWN = 5
Target = Callable[[random.Random], None]


@dataclass
class Outcome:
    """`accepted` and `refused` by target; `findings` must stay empty."""

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


class TooSlow(BaseException):
    """Not an Exception, so that nothing under test can swallow it."""


def run(inputs: int, seed: int, folder: Path) -> Outcome:
    """`inputs` mutated inputs, shared evenly among the targets."""
    outcome, chance = Outcome(), random.Random(seed)
    targets = _targets(folder)
    before = signal.signal(signal.SIGALRM, _too_slow)
    try:
        for number in range(inputs):
            name = list(targets)[number % len(targets)]
            _try(name, targets[name], chance, outcome)
    finally:
        signal.signal(signal.SIGALRM, before)
    return outcome


def _try(name: str, target: Target, chance: random.Random, outcome: Outcome) -> None:
    state = chance.getstate()
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        target(chance)
    except F2pError:
        outcome.refused[name] += 1
    except (Exception, TooSlow):
        chance.setstate(state)
        outcome.findings.append(f"{name}: {traceback.format_exc(limit=-3)}")
        chance.random()
    else:
        outcome.accepted[name] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def _targets(folder: Path) -> dict[str, Target]:
    messages = [encode(message) for message in _messages()]
    line = (ROOT / "configs/lines/demo.yaml").read_bytes()
    recipes = [path.read_bytes() for path in (ROOT / "configs/recipes").glob("*.yaml")]
    bundle = folder / "bundle"
    write_toy_bundle(bundle)
    whole = {path: path.read_bytes() for path in bundle.iterdir()}

    def message(chance: random.Random) -> None:
        decode(mutated(chance.choice(messages), chance))

    def line_file(chance: random.Random) -> None:
        path = folder / "line.yaml"
        path.write_bytes(mutated(line, chance))
        load_line(path)

    def recipe_file(chance: random.Random) -> None:
        path = folder / "recipe.yaml"
        path.write_bytes(mutated(chance.choice(recipes), chance))
        load_recipe(path)

    def bundle_folder(chance: random.Random) -> None:
        path = chance.choice(sorted(whole))
        path.write_bytes(mutated(whole[path], chance))
        try:
            open_bundle(bundle)
        finally:
            path.write_bytes(whole[path])

    return {"message": message, "line file": line_file, "recipe": recipe_file, "bundle": bundle_folder}


def _messages() -> list[object]:
    run_id = new_run_id()
    defect = Defect(
        class_name="pit",
        score=0.9,
        severity="reject",
        bbox_px=(1, 2, 3, 4),
        area_px=9,
        area_mm2=None,
        polygon_px=[(1, 2), (3, 4), (5, 6)],
    )
    result = InspectionResult(
        frame_id=f"cam1/{run_id}/000007",
        camera_id="cam1",
        seq=7,
        verdict=Verdict.NG,
        defects=[defect],
        timings_ms=Timings(total=3.5),
    )
    return [
        Ready(
            worker="w",
            incarnation="i",
            epoch="e",
            received=3,
            holding=[1],
            capacity=4,
            inline=True,
            at_mono_ns=5,
            frame_ms=1.5,
            batch_ms=2.5,
            backlog_ms=0.0,
        ),
        Lease(
            epoch="e",
            number=4,
            camera_id="cam1",
            frame_id=f"cam1/{run_id}/000007",
            seq=7,
            part_id="p",
            ring="r",
            ring_id="i",
            slot=2,
            generation=4,
            shape=[48, 64, 3],
            captured_at_ns=10**18,
            captured_mono_ns=10**12,
            deadline_mono_ns=None,
        ),
        Verdicts(items=[Judged(result=result, captured_mono_ns=1, judged_mono_ns=2, has_picture=True)]),
        Acks(run_id=run_id, stored=[(7, Verdict.NOT_INSPECTED, "deadline"), (8, Verdict.OK, None)]),
        NotStored(run_id=run_id, seqs=[7, 8]),
        LedgerReport(camera_id="cam1", run_id=run_id, version=9, ledger=Ledger(captured=3, ok=2, ng=1)),
        Fault(event_id="e", at_ns=1, source="s", camera_id=None, kind="camera", text="away"),
        Heartbeat(
            name="w",
            role="infer",
            pid=1,
            state="running",
            at_ns=1,
            progress=2,
            counters={"a": 1},
            latency={"total": LatencyCounts(buckets=[(1, 2)], max_ms=3.0)},
        ),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="f2p-fuzz-") as folder:
        outcome = run(wanted.inputs, wanted.seed, Path(folder))
    for name in sorted(outcome.refused | outcome.accepted):
        typer.echo(f"{name}: {outcome.refused[name]} refused, {outcome.accepted[name]} accepted")
    typer.echo(f"findings: {len(outcome.findings)}")
    for finding in outcome.findings[:FINDINGS_SHOWN]:
        typer.echo(finding)
    sys.exit(1 if outcome.findings else 0)


if __name__ == "__main__":
    main()
