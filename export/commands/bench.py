"""`f2p bench engine`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from export.bench import measure_engines
from f2pnet.commands.options import positive
from f2pnet.commands.terminal import Fitted, plain_console
from f2pnet.engine.bundle import open_bundle


def bench_engine(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="engine bundle")],
    backend: Annotated[list[str] | None, typer.Option(help="only this one; repeatable; default: all")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="only this one; repeatable; default: all")] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="images in a run; repeatable; default: 1 and 8")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="CPU threads; repeatable; default: 1 and 2")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, callback=positive, help="measured for each row")] = 3.0,
    ckpt_path: Annotated[Path | None, typer.Option(help="the checkpoint, as torch runs it, beside the engine")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Rates and latencies of an engine's files on the backends that are here, taking turns in one run."""
    opened = open_bundle(bundle)
    more = {}
    if ckpt_path is not None:
        from export.checkpoint import open_checkpoint  # torch, only where it is asked for

        more = {count: open_checkpoint(ckpt_path, count)[1] for count in threads or (1, 2)}
    report = measure_engines(
        opened,
        backends=backend or (),
        precisions=precision or (),
        batches=batch or (1, 8),
        threads=threads or (1, 2),
        seconds=seconds,
        more=more,
    )
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _show(report)


def _show(report: dict[str, Any]) -> None:
    machine = report["machine"]
    console = plain_console()
    console.print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']}, {machine['date']}")
    peaks = ", ".join(f"{n} thread(s) {peak}" for n, peak in report["peak_gflops"].items())
    console.print(f"{report['image_gflop']} GFLOP an image; matrix products reach, GFLOP/s: {peaks}")
    table = Table("engine", "threads", "batch", "images/s", "p50 ms", "p99 ms", "CPU ms/image", "of peak")
    for row in report["rows"]:
        share = "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"
        engine = f"{row['backend']} {row['precision']}" + ("" if row["device"] == "cpu" else f" {row['device']}")
        columns = ("threads", "batch", "images_per_s", "p50_ms", "p99_ms", "cpu_ms_per_image")
        table.add_row(engine, *(str(row[column]) for column in columns), share)
    console.print(Fitted(table))
    for line in report["missing"]:
        console.print(f"not measured: {line}", style="yellow", markup=False)
