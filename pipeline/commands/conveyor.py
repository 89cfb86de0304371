"""`f2p conveyor`: write a labelled data set of simulated belts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from f2pnet.commands.options import share
from f2pnet.commands.output_places import try_folder
from f2pnet.commands.terminal import say
from f2pnet.config.sources import TEXTURES, SyntheticSource, TextureName
from f2pnet.errors import ConfigError
from pipeline.sources.conveyor.dataset import belts, write_dataset


def conveyor(
    out_dir: Annotated[Path, typer.Argument(help="new folder for the data set")],
    count: Annotated[int, typer.Option(min=2, help="frames in all")] = 1000,
    texture: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(TEXTURES)}; may be given several times; default: all")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the first belt; the others count up from it")] = 0,
    belts_per_texture: Annotated[int, typer.Option("--belts", min=2, help="belts (seeds) of each texture")] = 10,
    size: Annotated[str, typer.Option(help="width x height of a frame in px")] = "512x512",
    defect_rate: Annotated[float, typer.Option(callback=share, help="share of defective frames, 0 to 1")] = 0.5,
    test_share: Annotated[
        float, typer.Option(callback=share, help="share of the belts kept for testing, 0 to 1")
    ] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="print the counts as JSON")] = False,
) -> None:
    """Write a labelled data set of simulated surfaces with drawn defects."""
    try:
        base = SyntheticSource(size=size, defect_rate=defect_rate)
    except ValidationError as error:
        raise ConfigError("; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())) from None
    try_folder(out_dir, "OUT_DIR")
    configs = belts(base, _known_textures(texture), seed, belts_per_texture)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("drawing", total=count)
        facts = write_dataset(
            configs, out_dir, count, test_share=test_share, progress=lambda done: bar.update(task, completed=done)
        )
    if as_json:
        typer.echo(json.dumps({"folder": str(out_dir), **asdict(facts)}))
    else:
        say(
            f"{out_dir}: {facts.train} train ({facts.train_defective} defective), "
            f"{facts.test} test ({facts.test_defective} defective) frames of {len(configs)} belts"
        )


def _known_textures(names: list[str] | None) -> list[TextureName]:
    unknown = set(names or ()) - set(get_args(TextureName))
    if unknown:
        raise ConfigError(f"unknown texture {', '.join(sorted(unknown))}; known are {', '.join(TEXTURES)}")
    return [texture for texture in TEXTURES if not names or texture in names]
