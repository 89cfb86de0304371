"""Trains every run of configs/studies/accuracy.yaml that is not there yet, one after the other.

    python benchmarks/accuracy_runs.py [--only TEXT]... [--list]

A run leaves `exp/accuracy/<run>/` with its recipe, best.pth and metrics; a run that was cut goes on where it stood.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from f2pnet.config.base import parse_config
from training.data import load_data
from training.finish import finish
from training.loop import LAST, train
from training.recipe import TrainingRecipe

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "configs/studies/accuracy.yaml"
RUNS = ROOT / "exp/accuracy"
FINISHED = "finished"


def recipes(study: Path = STUDY) -> Iterator[tuple[str, TrainingRecipe]]:
    """Name and recipe of every run, seeds unfolded, in the order of the file."""
    text = yaml.safe_load(study.read_text(encoding="utf-8"))
    for run in text["runs"]:
        for seed in run["seeds"]:
            yield run_name(run, seed), _recipe(text, run, seed, study.parent)


def run_name(run: dict[str, Any], seed: int) -> str:
    """`<set>-<shots>-<network>[-without-<module>][-<label>]-s<seed>`."""
    parts = [run["set"], run["shots"], run["network"], *(f"without-{part}" for part in run.get("without", []))]
    parts += [run["label"]] if "label" in run else []
    return "-".join([*parts, f"s{seed}"])


def _recipe(study: dict[str, Any], run: dict[str, Any], seed: int, folder: Path) -> TrainingRecipe:
    own = {key: value for key, value in run.items() if key not in ("set", "shots", "seeds", "label")}
    dataset = study["sets"][run["set"]] | {
        "train_list": "train.json" if run["shots"] == "paper" else "train_clean.json"
    }
    values = study["base"] | study["shots"][run["shots"]] | own | {"seed": seed, "datasets": [dataset]}
    return parse_config(values, TrainingRecipe, source=f"{STUDY.name}, {run_name(run, seed)}", folder=folder)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", action="append", default=[], help="runs whose name holds this text")
    options.add_argument("--list", action="store_true", help="name the runs, and train none")
    chosen = options.parse_args()
    for name, recipe in recipes():
        if chosen.only and not any(text in name for text in chosen.only):
            continue
        folder = RUNS / name
        state = "finished" if (folder / FINISHED).exists() else "to do"
        print(f"{name}: {state}", flush=True)
        if chosen.list or state == "finished":
            continue
        torch.set_num_threads(recipe.threads or torch.get_num_threads())
        best = train(recipe, load_data(recipe), folder, resume=(folder / LAST).exists())
        finish(best, recipe)
        (folder / FINISHED).touch()


if __name__ == "__main__":
    sys.exit(main())
