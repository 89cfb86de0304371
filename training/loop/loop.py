"""The training loop, from top to bottom in one function."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.f2pnet import F2PNet
from training.loop.data import TrainingData
from training.loop.ema import AveragedWeights
from training.loop.notes import Pace, RunNotes
from training.loop.pictures import draw_extremes
from training.loop.processes import Processes, find_device
from training.loop.state import RunState
from training.metrics.evaluate import class_ious, figures, network_predictor, predict, without_ignored
from training.networks.trainable import new_network, save_network
from training.pretrained.start import Prior
from training.recipe import TrainingRecipe
from training.steps.batches import Batch, draw_batch, step_generator
from training.steps.losses import positive_weight
from training.steps.rates import parameter_groups
from training.steps.schedule import learning_rate
from training.steps.step import BATCH, StepLosses, asked_of, draw_asked, total

VALIDATION_BATCH = 16
BEST, LAST, METRICS = "best.pth", "last.pth", "metrics.json"

Report = Callable[[int, dict[str, Any]], None]
"""Called after every logged step with: steps done, and the line of the log."""


def train(
    recipe: TrainingRecipe,
    data: TrainingData,
    folder: Path,
    *,
    resume: bool = False,
    report: Report = lambda step, values: None,
    processes: Processes | None = None,
    pretrained: Path | None = None,
    started: Callable[[list[Prior]], None] = lambda priors: None,
    validated: Report = lambda step, sheet: None,
) -> Path:
    """Train, and leave `best.pth`, `last.pth`, `metrics.json`, `log.jsonl` and pictures in `folder`.

    Returns the path of the best checkpoint: averaged weights, chosen by the mean foreground IoU over the validation
    sets. With `resume`, goes on from `last.pth` to the same weights as without the break. Several `processes` divide
    each step's images among them; the first of them validates and writes. `pretrained` is the folder of published
    weights; `started` is given those that the run starts from, `validated` the figures of every validation set.
    """
    processes = processes or Processes(find_device(recipe.device))
    parts = processes.own_parts(recipe)
    run = new_run(recipe, processes, len(data.classes), pretrained, with_weights=not resume)
    folder.mkdir(parents=True, exist_ok=True)
    if resume:
        run.restore(folder / LAST, recipe)
    started(run.priors)
    notes = RunNotes(folder, run.step) if processes.leads else None
    losses = processes.together(StepLosses(run.network, recipe, processes.device))  # type: ignore[arg-type]
    pace = Pace()

    last_step = recipe.stop_after or recipe.steps
    while run.step < last_step and not is_stale(run, recipe):
        step = run.step
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe) * group["factor"]
        torch.manual_seed(recipe.seed + step)  # whatever a layer draws is a function of the step too
        rng = step_generator(recipe.seed, step, BATCH)
        batch = draw_batch(data.training, data.chances, recipe.batch, recipe.augmentation, rng)

        run.network.train()
        run.optimizer.zero_grad(set_to_none=True)
        terms = backward(losses, batch, recipe, step, parts, processes.count)
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(run.network.parameters(), recipe.clip_norm)
        run.optimizer.step()
        run.averaged.follow(run.network, step)
        run.step = step + 1
        pace.count(recipe.batch)

        if run.step % recipe.log_every == 0:
            line = {"learning_rate": learning_rate(step, recipe), **logged(terms, processes), **pace.values()}
            if notes:
                notes.write("step", run.step, line)
            report(run.step, line)
        validates = run.step % recipe.evaluate_every == 0 or run.step == last_step
        if validates:
            if notes and (sheet := validate_and_keep(run, recipe, data, folder, notes)):
                validated(run.step, sheet)
            run.best, run.stale = processes.from_leader((run.best, run.stale))
        if notes and (validates or run.step % recipe.save_every == 0):
            run.save(folder / LAST, recipe)
        pace.pause_ends()

    if notes:
        notes.close()
    return folder / BEST


def new_run(
    recipe: TrainingRecipe,
    processes: Processes | None = None,
    classes: int = 0,
    pretrained: Path | None = None,
    *,
    with_weights: bool = True,
) -> RunState:
    """A network with its optimiser; the same recipe gives the same start weights. See `new_network`."""
    processes = processes or Processes(find_device(recipe.device))
    torch.manual_seed(recipe.seed)
    new, priors = new_network(recipe, classes, pretrained, with_weights=with_weights)
    network: nn.Module = new
    if processes.count > 1 and processes.device.type == "cuda":
        # On CPUs there is none: each process normalises by its own images there, and the first one's averages are kept.
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster
    groups = parameter_groups(network, recipe.rates)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    return RunState(network, optimizer, AveragedWeights(network, recipe.ema_decay), priors)


def backward(
    losses: nn.Module, batch: Batch, recipe: TrainingRecipe, step: int, parts: list[slice], processes: int
) -> dict[str, Tensor]:
    """Gradients of the mean over the step's images, of which this process takes `parts`.

    Returns each term's sum over these images, divided by the step's images: over all processes that adds to the mean.
    """
    asked = draw_asked(batch, recipe, step)
    weight = positive_weight(step, recipe.steps, recipe.losses.positive_start)
    sums: dict[str, Tensor] = {}
    for part in parts:
        share = (part.stop - part.start) / recipe.batch
        # Gradients of parts add up, those of processes are averaged, and exchanged once, after the last part.
        with nullcontext() if processes == 1 or part is parts[-1] else losses.no_sync():  # type: ignore[operator]
            terms = losses(batch.of(part), asked_of(asked, part), weight)
            (total(terms, recipe.losses) * (share * processes)).backward()
        sums = {name: term.detach() * share + sums.get(name, 0) for name, term in terms.items()}
    return sums


def logged(terms: dict[str, Tensor], processes: Processes) -> dict[str, float]:
    """Plain numbers for the log, of the whole step."""
    values = processes.summed(torch.stack(list(terms.values()))).tolist()
    return {name: round(value, 5) for name, value in zip(terms, values, strict=True)}


def is_stale(run: RunState, recipe: TrainingRecipe) -> bool:
    """Whether validation has not got better for as long as the recipe waits."""
    return recipe.patience is not None and run.stale >= recipe.patience


def validate_and_keep(
    run: RunState, recipe: TrainingRecipe, data: TrainingData, folder: Path, notes: RunNotes
) -> dict[str, dict[str, Any]]:
    """Measure the averaged weights on every validation set; keep them as `best.pth` when they are the best so far.

    Without validation images the latest are kept. Returns the figures by set.
    """
    averaged: F2PNet = run.averaged.network  # type: ignore[assignment]
    predictor = network_predictor(averaged)
    sheet: dict[str, dict[str, Any]] = {}
    for name, images in data.validation.items():
        predicted = predict(predictor, images.images, VALIDATION_BATCH)
        predicted = without_ignored(predicted, images.ignored or [None] * len(images))
        labels = [record.label for record in images.records]
        sheet[name] = figures(predicted, "mask", images.masks, labels, threshold=0.5)
        sheet[name]["pixel_map_iou"] = figures(predicted, "pixel_map", images.masks, labels, threshold=0.5)["iou"]
        if images.classes is not None:
            sheet[name]["class_iou"] = class_ious(predictor, images.images, images.classes, data.classes)
        draw_extremes(images, predicted, folder / f"worst-{name}.png", folder / f"best-{name}.png")
    selection = float(run.step)
    if sheet:
        notes.write("validation", run.step, {"datasets": sheet})
        selection = sum(values["iou"] for values in sheet.values()) / len(sheet)
    run.stale += 1
    if selection > run.best:
        run.best, run.stale = selection, 0
        facts = {
            "recipe": recipe.model_dump(mode="json", exclude={"datasets"}),
            "datasets": [choice.path.name for choice in recipe.datasets],
            "training_images": len(data.training),
            "step": run.step,
            "images_seen": run.step * recipe.batch,
            "validation": sheet,
            "from_scratch": not run.priors,
            "priors": [prior.facts() for prior in run.priors],
        }
        if data.classes:
            facts["classes"] = list(data.classes)
        save_network(folder / BEST, averaged, facts)
        (folder / METRICS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return sheet
