"""`f2p train` and `f2p test`."""
# ruff: noqa: PT028 - `test` is a command here, not a test function

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from f2pnet.errors import ConfigError
from training.data import load_data
from training.finish import finish
from training.loop import train as run_training
from training.model import open_engine, open_network
from training.recipe import DatasetChoice, TrainingRecipe, load_recipe
from training.records import find_dataset, read_records
from training.score_sheet import PROTOCOL, answers_for, score_sheet


def train(
    dataset: Annotated[
        list[str] | None, typer.Option(help="name under --data-dir, or a folder; several make a mix")
    ] = None,
    shot_num: Annotated[
        int | None, typer.Option(min=1, help="few-shot list of this size; default: the full list")
    ] = None,
    sam_type: Annotated[str | None, typer.Option(help="size of the network: nano, tiny, vit_b, vit_l, vit_h")] = None,
    config: Annotated[Path | None, typer.Option(help="recipe file; options given here go before it")] = None,
    train_list: Annotated[str, typer.Option(help="index file of each --dataset")] = "train.json",
    resume: Annotated[bool, typer.Option("--resume", help="go on from last.pth")] = False,
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    exp_dir: Annotated[Path, typer.Option(help="where experiments are kept")] = Path("exp"),
    as_json: Annotated[bool, typer.Option("--json", help="print the closing figures as JSON")] = False,
) -> None:
    """Train F2P-Net; leaves best.pth, last.pth, metrics.json, log.jsonl and pictures in the experiment's folder."""
    recipe = load_recipe(config) if config else TrainingRecipe()
    changes: dict[str, Any] = {"shots": shot_num, "sam_type": sam_type}
    if dataset:
        folders = [find_dataset(name, data_dir) for name in dataset]
        changes["datasets"] = tuple(DatasetChoice(path=folder, train_list=train_list) for folder in folders)
    recipe = recipe.model_copy(update={key: value for key, value in changes.items() if value is not None})
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    data = load_data(recipe)
    folder = exp_dir / experiment_name(recipe)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("training", total=recipe.steps)
        best = run_training(
            recipe, data, folder, resume=resume, report=lambda done, _: bar.update(task, completed=done)
        )
    facts = finish(best, recipe)
    if as_json:
        typer.echo(json.dumps({"checkpoint": str(best), **facts}))
    else:
        Console().print(f"{best}: step {facts['step']} of {recipe.steps}")
        Console().print(_sheet_table(facts["metrics"]))


def test(
    dataset: Annotated[list[str], typer.Option(help="name under --data-dir, or a folder; may be given several times")],
    ckpt_path: Annotated[Path | None, typer.Option(help="a checkpoint that `f2p train` wrote")] = None,
    engine: Annotated[Path | None, typer.Option(help="an engine bundle")] = None,
    test_list: Annotated[str, typer.Option(help="index file of each data set")] = "test.json",
    protocol: Annotated[str, typer.Option(help="auto: without prompts")] = PROTOCOL,
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    json_file: Annotated[Path | None, typer.Option("--json", help="write the score sheets here")] = None,
) -> None:
    """Score a checkpoint or an engine on labelled images, without prompts."""
    if protocol != PROTOCOL:
        raise ConfigError(f"protocol is '{protocol}', wanted '{PROTOCOL}'")
    if (ckpt_path is None) == (engine is None):
        raise ConfigError("name what to score: either --ckpt-path FILE or --engine BUNDLE")
    model = open_engine(engine) if engine else open_network(ckpt_path or Path())
    sheets = []
    for name in dataset:
        folder = find_dataset(name, data_dir)
        answers = answers_for(model, read_records(folder, test_list))
        sheets.append(
            {
                "dataset": folder.name,
                "split": test_list,
                "protocol": protocol,
                "images": len(answers.labels),
                "values": score_sheet(answers, model.choice),
            }
        )
    if json_file:
        json_file.write_text(json.dumps(sheets, indent=2) + "\n", encoding="utf-8")
    Console().print(_sheet_table(sheets))


def experiment_name(recipe: TrainingRecipe) -> str:
    """`{dataset}_{sam_type}_{N|full}shot`; the data sets of a mix are joined by '+'."""
    sets = "+".join(choice.path.name for choice in recipe.datasets)
    return f"{sets}_{recipe.sam_type}_{recipe.shots or 'full'}shot"


def _sheet_table(sheets: list[dict[str, Any]]) -> Table:
    """One column for each data set, one row for each figure; empty where a set can't have it."""
    names = dict.fromkeys(name for sheet in sheets for name in sheet["values"])
    table = Table("", *(sheet["dataset"] for sheet in sheets), title=f"protocol {PROTOCOL}: no prompts")
    table.add_row("images", *(str(sheet["images"]) for sheet in sheets))
    for name in names:
        table.add_row(name, *(f"{sheet['values'][name]:.3f}" if name in sheet["values"] else "" for sheet in sheets))
    return table
