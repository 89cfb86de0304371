"""Trains every run of a study that is not there yet, one after the other.

    python benchmarks/accuracy_runs.py [--study FILE] [--only TEXT]... [--list]

A run leaves `exp/<study>/<run>/` with its recipe, best.pth and metrics; a run that was cut goes on where it stood.
The runs of a study that is `judged` are for choosing a recipe: they train on the lists that
benchmarks/validation_lists.py makes of the training list, and leave the figures of its held-out parts in `judged.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from f2pnet.config.base import parse_config
from f2pnet.engine.bundle import Thresholds
from f2pnet.yaml_file import read_yaml
from training.commands.named_recipes import named_recipe
from training.data.records import read_records
from training.loop.data import load_data
from training.loop.loop import BEST, LAST, train
from training.loop.run import complete_run
from training.metrics.thresholds import Choice
from training.networks.trainable import read_network
from training.recipe import TrainingRecipe
from training.score.image_stats import image_stats
from training.score.model import as_model, choice_of
from training.score.sheet import answers_for
from training.score.sheet_figures import plain_figures

ROOT = Path(__file__).parents[1]
STUDIES = [ROOT / f"configs/studies/{name}.yaml" for name in ("pretrained", "new-material", "accuracy")]
LISTS = ROOT / "exp/lists"
FINISHED = "finished"
JUDGED_FIGURES = (
    "iou", "iou_per_image", "boundary_iou", "precision", "recall", "object_recall", "pixel_ap", "image_auroc",
    "recall_at_fr05_by_score", "recall_at_fr05_by_map",
)  # fmt: skip


def runs_folder(study: Path) -> Path:
    return ROOT / "exp" / study.stem


def recipes(study: Path) -> Iterator[tuple[str, TrainingRecipe]]:
    """Name and recipe of every run, seeds unfolded, in the order of the file."""
    text = read_yaml(study)
    for run in text["runs"]:
        for seed in run["seeds"]:
            yield run_name(run, seed), _recipe(text, run, seed, study)


def run_name(run: dict[str, Any], seed: int) -> str:
    """`<set>-<shots>-<model>[-without-<module>][-<label>]-s<seed>`."""
    model = run.get("model", run.get("network", ""))
    parts = [run["set"], run["shots"], model, *(f"without-{part}" for part in run.get("without", []))]
    parts += [run["label"]] if "label" in run else []
    return "-".join([*parts, f"s{seed}"])


def _recipe(study: dict[str, Any], run: dict[str, Any], seed: int, path: Path) -> TrainingRecipe:
    own = {key: value for key, value in run.items() if key not in ("set", "shots", "seeds", "label", "model")}
    dataset = dict(study["sets"][run["set"]])
    if study.get("judged"):
        lists = LISTS / Path(dataset["path"]).name
        dataset |= {"train_list": str(lists / "train.json"), "few_shot_list": str(lists / "shots.json")}
    elif "train_list" not in dataset:
        dataset["train_list"] = "train.json" if run["shots"] == "paper" else "train_clean.json"
    if study.get("drawn_shots"):
        dataset["few_shot_list"] = str(LISTS / Path(dataset["path"]).name / "drawn.json")
    model = study["models"][run["model"]] if "model" in run else {}
    values = study["base"] | model | study["shots"][run["shots"]] | own | {"seed": seed, "datasets": [dataset]}
    changes = parse_config(values, TrainingRecipe, source=f"{path.name}, {run_name(run, seed)}", folder=path.parent)
    return named_recipe(study.get("recipe", "default"), changes)


def was_cut(folder: Path, recipe: TrainingRecipe) -> bool:
    """Whether there is something to go on from; a run with folds may have been cut in one of them."""
    return (folder / LAST).exists() or (recipe.folds is not None and folder.exists())


def judge(checkpoint: Path, recipe: TrainingRecipe) -> dict[str, Any]:
    """Figures of the mask and of the pixel map, cut at 0.5, on the judging list of the recipe's data set."""
    network, _ = read_network(checkpoint)
    (dataset,) = recipe.datasets
    records = read_records(dataset.path, str(LISTS / dataset.path.name / "judge.json"))
    answers = answers_for(as_model(network, choice_of({}), recipe.resize), records)
    figures: dict[str, Any] = {"images_seen": recipe.steps * recipe.batch}
    for output in ("mask", "pixel_map"):
        values = plain_figures(image_stats(answers, Choice(output, Thresholds(pixel=0.5, score=0, min_area_px=0))))
        figures[output] = {name: round(values[name], 4) for name in JUDGED_FIGURES if name in values}
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--study", type=Path, default=STUDIES[0], help="file under configs/studies/")
    options.add_argument("--only", action="append", default=[], help="runs whose name holds this text")
    options.add_argument("--list", action="store_true", help="name the runs, and train none")
    chosen = options.parse_args()
    judged = bool(read_yaml(chosen.study).get("judged"))
    for name, recipe in recipes(chosen.study):
        if chosen.only and not any(text in name for text in chosen.only):
            continue
        folder = runs_folder(chosen.study) / name
        state = "finished" if (folder / FINISHED).exists() else "to do"
        print(f"{name}: {state}", flush=True)
        if chosen.list or state == "finished":
            continue
        torch.set_num_threads(recipe.threads or torch.get_num_threads())
        if judged:
            train(recipe, load_data(recipe), folder, resume=(folder / LAST).exists())
            figures = judge(folder / BEST, recipe)
            (folder / "judged.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
            print(json.dumps(figures), flush=True)
        else:
            complete_run(recipe, folder, resume=was_cut(folder, recipe))
        (folder / FINISHED).touch()


if __name__ == "__main__":
    sys.exit(main())
