"""`f2p train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from f2pnet.commands.output_places import try_folder
from f2pnet.commands.terminal import Fitted, plain_console, say
from f2pnet.engine.blind import blind_on
from f2pnet.errors import ConfigError, ExitCode
from training.commands.blind_warning import warn_of
from training.commands.named_recipes import NAMED, named_recipe
from training.pretrained.catalogue import FOLDER, FOLDER_VARIABLE
from training.recipe import DatasetChoice, TrainingRecipe, load_recipe
from training.report.sheet_tables import figures_table

if TYPE_CHECKING:
    from training.pretrained.start import Prior

GOOD_ONLY_PX = 256


def train(
    dataset: Annotated[
        list[str] | None, typer.Option(help="name under --data-dir, or a folder; several make a mix")
    ] = None,
    shot_num: Annotated[
        int | None, typer.Option(min=1, help="few-shot list of this size; default: the full list")
    ] = None,
    sam_type: Annotated[
        str | None, typer.Option(help="size of the network: nano, tiny, vit_t, vit_b, vit_l, vit_h")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="recipe file; options given here go before it")] = None,
    recipe_name: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help=f"one of {', '.join(NAMED)}; see docs/training.md. Not given: default with --config; else few-shot or "
            "fine-tune, by the number of images, where vit_t's pretrained weights are here",
        ),
    ] = None,
    train_list: Annotated[str, typer.Option(help="index file of each --dataset")] = "train.json",
    resume: Annotated[bool, typer.Option("--resume", help="go on from last.pth")] = False,
    start_from: Annotated[
        Path | None, typer.Option(help="checkpoint of ours to fine-tune; gives the network's size, unless one is set")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="start from random numbers, without any pretrained weights")
    ] = False,
    pretrained_dir: Annotated[
        Path | None,
        typer.Option(envvar=FOLDER_VARIABLE, help=f"folder of pretrained weights; default: {FOLDER}"),
    ] = None,
    good_only: Annotated[
        bool, typer.Option("--good-only", help="from good images alone: a memory of good parts, in minutes")
    ] = False,
    false_rejects: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="with --good-only: share of good images that may be rejected")
    ] = 0.05,
    data_dir: Annotated[Path, typer.Option(help="where named data sets lie")] = Path("data"),
    exp_dir: Annotated[Path, typer.Option(help="where experiments are kept")] = Path("exp"),
    as_json: Annotated[bool, typer.Option("--json", help="print the closing figures as JSON")] = False,
) -> None:
    """Train F2P-Net; leaves best.pth, last.pth, metrics.json, log.jsonl and pictures in the experiment's folder.

    Exit code 1 when validation shows that none, or nearly none, of the defective images would be rejected.
    """
    from training.layouts.find import find_datasets  # torch takes seconds, which help and completion need not wait for

    if from_scratch and start_from is not None:
        raise ConfigError(f"--from-scratch and --start-from {start_from} exclude each other: leave one out")
    changes: dict[str, Any] = {"shots": shot_num, "sam_type": sam_type, "start_from": start_from}
    folders = find_datasets(dataset, data_dir) if dataset else []
    if folders:
        changes["datasets"] = tuple(DatasetChoice(path=folder, train_list=train_list) for folder in folders)
    if good_only:
        others = {"--shot-num": shot_num, "--sam-type": sam_type, "--start-from": start_from}
        others |= {"--from-scratch": from_scratch, "--resume": resume}
        if named := [name for name, value in others.items() if value]:
            raise ConfigError(f"--good-only and {named[0]} exclude each other: leave one out")
        _train_good_only(config, changes, exp_dir, pretrained_dir, false_rejects, as_json=as_json)
        return
    from training.commands.suited_recipe import has_few_images, starts_pretrained, suited_recipe

    if recipe_name is None:
        recipe_name = "default"
        if config is None and folders:
            recipe_name = suited_recipe(
                pretrained=not from_scratch and starts_pretrained(sam_type, start_from, pretrained_dir),
                few=has_few_images(folders, train_list, shot_num),
                sam_type=sam_type,
            )
    recipe = named_recipe(recipe_name, load_recipe(config) if config else TrainingRecipe())
    if from_scratch:
        recipe = recipe.model_copy(update={"start_from": None})
        changes |= {"sam_weights": "none", "cnn_weights": "none"}
    recipe = recipe.model_copy(update={key: value for key, value in changes.items() if value is not None})
    _train(recipe, exp_dir, pretrained_dir, resume=resume, as_json=as_json)


def _train(recipe: TrainingRecipe, exp_dir: Path, pretrained: Path | None, *, resume: bool, as_json: bool) -> None:
    import torch

    from training.loop.loop import BEST
    from training.loop.processes import joined
    from training.loop.run import complete_run, steps_of_run
    from training.networks.trainable import adopt_start
    from training.pretrained.start import priors_of

    recipe = adopt_start(recipe)
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    folder = exp_dir / experiment_name(recipe)
    try_folder(folder, "--exp-dir")
    with joined(recipe.device) as processes:
        with progress_bar(shown=processes.leads) as bar:
            task = bar.add_task("training", total=steps_of_run(recipe), figures="")
            facts = complete_run(
                recipe,
                folder,
                resume=resume,
                report=lambda done, line: bar.update(task, completed=done, figures=in_words(line)),
                processes=processes,
                pretrained=pretrained,
                validated=lambda fold, step, sheet: bar.console.print(validation_line(fold, step, sheet), markup=False),
                started=lambda priors: (
                    bar.console.print(starts_from(recipe, priors), markup=False) if processes.leads else None
                ),
            )
        if facts is None:
            return
    best = folder / BEST
    if as_json:
        typer.echo(json.dumps({"checkpoint": str(best), **facts}))
    else:
        say(f"{best}: step {facts['step']} of {recipe.steps}")
        say(starts_from(recipe, priors_of(facts, str(best))))
        plain_console().print(Fitted(figures_table(facts["metrics"])))
    if blind := blind_on(facts["metrics"]):
        warn_of(blind, from_scratch=bool(facts.get("from_scratch")))
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _train_good_only(
    config: Path | None,
    changes: dict[str, Any],
    exp_dir: Path,
    pretrained: Path | None,
    false_rejects: float,
    *,
    as_json: bool,
) -> None:
    """Only the data sets, `image_size`, `resize`, `seed`, `threads` and `notes` of a recipe matter here."""
    import torch

    from training.loop.good_only import doubt_of_limit, train_good_only
    from training.loop.loop import BEST

    recipe = load_recipe(config) if config else TrainingRecipe(image_size=GOOD_ONLY_PX, resize="letterbox")
    recipe = recipe.model_copy(update={key: value for key, value in changes.items() if value is not None})
    if not recipe.datasets:
        raise ConfigError("nothing to learn from: give --dataset, or list data sets under 'datasets' of the recipe")
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    folder = exp_dir / f"{'+'.join(choice.path.name for choice in recipe.datasets)}_good-only"
    try_folder(folder, "--exp-dir")
    console = Console(stderr=True, markup=False)
    facts = train_good_only(recipe, folder, pretrained, false_rejects, console.print)
    rate = facts["metrics"][0]["values"]["false_reject_rate"]
    if as_json:
        typer.echo(json.dumps({"checkpoint": str(folder / BEST), **facts}))
    else:
        held = facts["good_only"]["held_out_images"]
        say(f"{folder / BEST}: rejects {rate:.1%} of {held} held-out good images, wanted {false_rejects:.1%}")
        if doubt := doubt_of_limit(held, false_rejects):
            console.print(doubt, style="red")


def starts_from(recipe: TrainingRecipe, priors: list[Prior]) -> str:
    """The line that says what the weights began as."""
    network = recipe.sam_type if recipe.network == "f2pnet" else recipe.network
    if not priors:
        return (
            f"{network} starts from scratch: all weights are random numbers, none are pretrained. With few images, "
            "pretrained weights are worth more than anything else: `f2p pretrained list` shows which are found, and "
            "--pretrained-dir or F2P_PRETRAINED names their folder, in a checkout after `make priors` its pretrained/"
        )
    files = "; ".join(f"{prior.part} {prior.file} (sha256 {prior.sha256[:12]}, {prior.licence})" for prior in priors)
    return f"{network} starts from {files}"


def progress_bar(*, shown: bool) -> Progress:
    """Steps, time left, and in a field `figures` what the last logged step said; on stderr, and only on a terminal."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not shown or not console.is_terminal)


def validation_line(fold: int | None, step: int, sheet: dict[str, dict[str, Any]]) -> str:
    """One line for each validation, above the bar on a terminal and in every log."""
    sets = "; ".join(
        f"{name}: IoU {values['iou']:.3f}"
        + (f", image AUROC {values['image_auroc']:.3f}" if "image_auroc" in values else "")
        for name, values in sheet.items()
    )
    return f"{'' if fold is None else f'fold {fold}, '}step {step}, validation: {sets}"


def in_words(line: dict[str, Any]) -> str:
    """A line of the log for the progress bar: the sum of the losses, and the pace."""
    loss = sum(line.get(name, 0.0) for name in ("mask", "pixel", "image", "refined", "taught", "prompted", "classes"))
    return f"loss {loss:.3f}, {line['images_per_s']:.1f} images/s"


def experiment_name(recipe: TrainingRecipe) -> str:
    """`{dataset}_{sam_type}_{N|full}shot`; the data sets of a mix are joined by '+'."""
    sets = "+".join(choice.path.name for choice in recipe.datasets)
    return f"{sets}_{recipe.sam_type}_{recipe.shots or 'full'}shot"
