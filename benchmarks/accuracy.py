"""Tests every finished run of the accuracy studies and the trivial baselines, and writes docs/benchmarks/accuracy.md.

    python benchmarks/accuracy.py [--again TEXT]...

Each run's score sheets are kept in docs/benchmarks/accuracy/<run>.json; what is there is not tested again, unless its
checkpoint is younger or `--again` names it. Runs that are not trained yet are listed as missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from accuracy_page import SETS, page
from accuracy_runs import FINISHED, ROOT, STUDIES, recipes, runs_folder

from training.commands.subjects import Subject, checkpoint_subjects, score, trivial_subject
from training.recipe import TrainingRecipe
from training.report.page import Scored

KEPT = ROOT / "docs/benchmarks/accuracy"
PAGE = ROOT / "docs/benchmarks/accuracy.md"
TEST_LIST = "test.json"
CLEAN_TRIVIAL = ("nothing", "otsu", "twin", "fill-box", "otsu-box")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--again", action="append", default=[], help="test again what has this text in its name")
    again = options.parse_args().again
    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    study: dict[str, TrainingRecipe] = {}
    folders: dict[str, Path] = {}
    for file in STUDIES:
        for name, recipe in recipes(file):
            study[name], folders[name] = recipe, runs_folder(file) / name
    for name, recipe in study.items():
        checkpoint = folders[name] / "best.pth"
        if (folders[name] / FINISHED).exists() and _is_due(name, again, checkpoint):
            # A network that never saw a prompt in training can't be judged by what it makes of one.
            protocols = ["auto", "oracle-box"] if recipe.prompted_share else ["auto"]
            _keep(name, run_facts(recipe), checkpoint_subjects(checkpoint, protocols), recipe.datasets[0].path)
    for folder in sorted({recipe.datasets[0].path.resolve() for recipe in study.values()}):
        if folder.name not in SETS.values():
            continue
        name = f"trivial-{folder.name}"
        if _is_due(name, again):
            subjects = [trivial_subject(trivial, "train_clean.json") for trivial in CLEAN_TRIVIAL]
            _keep(name, {}, [*subjects, trivial_subject("twin", "train.json")], folder)
    kept = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(KEPT.glob("*.json"))}
    PAGE.write_text(page(list(study), kept), encoding="utf-8")
    print(f"{PAGE}: {len(set(study) & set(kept))} of {len(study)} runs")


def run_facts(recipe: TrainingRecipe) -> dict[str, Any]:
    """What a run may be compared by."""
    return {
        "network": recipe.network,
        "sam_type": recipe.sam_type,
        "second_pass": recipe.second_pass,
        "without": list(recipe.without),
        "seed": recipe.seed,
        "image_size": recipe.image_size,
        "images_seen": recipe.steps * recipe.batch,
        "prompted_share": recipe.prompted_share,
        "train_list": recipe.datasets[0].train_list,
        "shots": recipe.shots,
    }


def _is_due(name: str, again: Sequence[str], checkpoint: Path | None = None) -> bool:
    kept = KEPT / f"{name}.json"
    if not kept.exists() or any(text in name for text in again):
        return True
    return checkpoint is not None and checkpoint.stat().st_mtime > kept.stat().st_mtime


def _keep(name: str, facts: dict[str, Any], subjects: Iterable[Subject], folder: Path) -> None:
    """Score the subjects on the test list, and keep their sheets without the long curves."""
    print(name, flush=True)
    sheets = [_small(score(subject, folder, TEST_LIST), name) for subject in subjects]
    (KEPT / f"{name}.json").write_text(json.dumps({"run": facts, "sheets": sheets}) + "\n", encoding="utf-8")


def _small(scored: Scored, name: str) -> dict[str, Any]:
    """A sheet without the long curves, and with TP, FP, FN of each part: two models are compared in pairs."""
    sheet = {key: value for key, value in scored.sheet.items() if key != "curves"}
    sheet["model"] = sheet["model"] if sheet["model"].startswith("trivial") else name
    parts: dict[str, list[int]] = {}
    for record, pixels in zip(scored.records, scored.stats.pixels[:, :3].tolist(), strict=True):
        parts[record.part_id] = [
            old + new for old, new in zip(parts.get(record.part_id, [0, 0, 0]), pixels, strict=True)
        ]
    return sheet | {"pixels_by_part": parts}


if __name__ == "__main__":
    main()
