"""The training loop, from top to bottom in one function."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.f2pnet import F2PNet
from training.batches import draw_batch, step_generator
from training.data import TrainingData
from training.ema import AveragedWeights
from training.evaluate import figures, network_predictor, predict
from training.journal import Journal, read_journal
from training.networks import new_network, save_network
from training.pictures import draw_curves, draw_worst
from training.recipe import TrainingRecipe
from training.schedule import learning_rate
from training.state import RunState
from training.steps import BATCH, step_losses

VALIDATION_BATCH = 16
LOG, BEST, LAST, METRICS = "log.jsonl", "best.pth", "last.pth", "metrics.json"

Report = Callable[[int, dict[str, Any]], None]
"""Told of every logged step: steps done, and the line of the log."""


def train(
    recipe: TrainingRecipe,
    data: TrainingData,
    folder: Path,
    *,
    resume: bool = False,
    report: Report = lambda step, values: None,
) -> Path:
    """Train, and leave `best.pth`, `last.pth`, `metrics.json`, `log.jsonl` and pictures in `folder`.

    Returns the path of the best checkpoint: averaged weights, chosen by the mean foreground IoU over the validation
    sets. With `resume`, goes on from `last.pth` to the same weights as without the break.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = new_run(recipe)
    if resume:
        run.restore(folder / LAST, recipe)
    journal = Journal(folder / LOG, run.step)
    network: F2PNet = run.network  # type: ignore[assignment]
    started = time.monotonic()

    last_step = recipe.stop_after or recipe.steps
    for step in range(run.step, last_step):
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        torch.manual_seed(recipe.seed + step)  # whatever a layer draws is a function of the step too
        rng = step_generator(recipe.seed, step, BATCH)
        batch = draw_batch(data.training, data.chances, recipe.batch, recipe.augmentation, rng)

        network.train()
        losses = step_losses(network, batch, recipe, step)
        run.optimizer.zero_grad(set_to_none=True)
        losses.total(recipe).backward()  # type: ignore[no-untyped-call]
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        run.optimizer.step()
        run.averaged.follow(network, step)
        run.step = step + 1

        if run.step % recipe.log_every == 0:
            line = {"learning_rate": learning_rate(step, recipe), **losses.values()}
            line["elapsed_s"] = round(time.monotonic() - started, 1)
            journal.write("step", run.step, line)
            report(run.step, line)
        if run.step % recipe.evaluate_every == 0 or run.step == last_step:
            validate_and_keep(run, recipe, data, folder, journal)
            run.save(folder / LAST, recipe)

    draw_curves(read_journal(folder / LOG), folder / "curves.png")
    return folder / BEST


def new_run(recipe: TrainingRecipe) -> RunState:
    """A network with its optimiser; the same recipe gives the same start weights."""
    torch.manual_seed(recipe.seed)
    network = new_network(recipe)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on CPUs
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    return RunState(network, optimizer, AveragedWeights(network, recipe.ema_decay))


def validate_and_keep(
    run: RunState, recipe: TrainingRecipe, data: TrainingData, folder: Path, journal: Journal
) -> None:
    """Measure the averaged weights on every validation set; keep them as `best.pth` when they are the best so far."""
    averaged: F2PNet = run.averaged.network  # type: ignore[assignment]
    predictor = network_predictor(averaged)
    sheet: dict[str, dict[str, float]] = {}
    for name, images in data.validation.items():
        predicted = predict(predictor, images.images, VALIDATION_BATCH)
        labels = [record.label for record in images.records]
        sheet[name] = figures(predicted, "mask", images.masks, labels, threshold=0.5)
        sheet[name]["pixel_map_iou"] = figures(predicted, "pixel_map", images.masks, labels, threshold=0.5)["iou"]
        draw_worst(images, predicted, folder / f"worst-{name}.png")
    journal.write("validation", run.step, {"datasets": sheet})
    draw_curves(read_journal(folder / LOG), folder / "curves.png")
    selection = sum(values["iou"] for values in sheet.values()) / len(sheet)
    if selection > run.best:
        run.best = selection
        facts = {
            "recipe": recipe.model_dump(mode="json", exclude={"datasets"}),
            "datasets": list(data.validation),
            "training_images": len(data.training),
            "step": run.step,
            "images_seen": run.step * recipe.batch,
            "validation": sheet,
        }
        save_network(folder / BEST, averaged, facts)
        (folder / METRICS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
