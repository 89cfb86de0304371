"""`f2p bench pipeline`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from f2pnet.commands.options import positive
from f2pnet.commands.output_places import write_file
from pipeline.commands.options import AsJson, SummaryFile
from pipeline.commands.shown_run import try_summary
from pipeline.processes.logs import log_to_stderr


def bench_pipeline(
    cameras: Annotated[int, typer.Option(min=1, max=64)] = 2,
    size: Annotated[str, typer.Option(metavar="WxH", help="frame size in pixels")] = "1920x1080",
    engine: Annotated[
        str,
        typer.Option(
            metavar="BUNDLE|null|simulated:RATE[:BATCH]",
            help="null answers at once, simulated as an accelerator of RATE images/s would",
        ),
    ] = "null",
    fps: Annotated[
        float | None, typer.Option(callback=positive, help="frames/s of each camera; default: as fast as it goes")
    ] = None,
    duration: Annotated[float, typer.Option(min=1, callback=positive, help="seconds of measuring")] = 10.0,
    summary: SummaryFile = None,
    as_json: AsJson = False,
) -> None:
    """Frames per second from capture to durable verdict, beside the single-memcpy rate of the same frames."""
    from pipeline.adhoc.bench import measure_pipeline

    log_to_stderr()
    try_summary(summary, {})
    report = measure_pipeline(cameras, size, engine, duration, fps)
    if summary is not None:
        write_file(summary, json.dumps(report, indent=2) + "\n", "--summary")
    if as_json:
        typer.echo(json.dumps(report))
        return
    ratio = report["baseline"]["ratio"]
    total, bare_fps = report["latency_ms"]["total"], report["engine"]["bare_fps"]
    engine_line = bare_fps and f"engine alone {bare_fps:.1f} images/s; ratio {report['ratio_to_engine']:.2f}\n"
    typer.echo(
        f"{report['throughput_fps']:.1f} frames/s of {size} from {cameras} cameras; "
        f"single memcpy {report['baseline']['memcpy_fps']:.1f} frames/s; ratio {ratio:.2f}\n"
        f"{engine_line or ''}"
        f"latency captured -> stored p50 {total['p50']} ms, p99 {total['p99']} ms; "
        f"peak memory {report['peak_memory_mb']:.0f} MB over all processes"
    )
