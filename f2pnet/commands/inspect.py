"""`f2p inspect`: images, folders and videos to masks, overlays and results.jsonl, without a line."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from f2pnet.commands.output_places import try_file, try_folder
from f2pnet.commands.terminal import Fitted, plain_console
from f2pnet.config.precision import Precision
from f2pnet.errors import ConfigError, ExitCode, MissingExtra
from f2pnet.inspection.inspector import Inspector
from f2pnet.inspection.overlay import draw_overlay
from f2pnet.inspection.result import InspectionResult, SourceRef, Verdict
from f2pnet.pictures.folder import PassedOver, describe
from f2pnet.pictures.stream import Picture, find_inputs, pictures
from f2pnet.pictures.writing import write_picture
from f2pnet.providers import provider
from f2pnet.text import printable

RESULTS_NAME = "results.jsonl"
JPEG_QUALITY = 92


def inspect(
    *,
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="INPUT...", help="images, folders or videos")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="where masks/, overlays/ and results.jsonl go")],
    engine: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="engine bundle")] = None,
    ckpt_path: Annotated[Path | None, typer.Option(metavar="FILE", help="a checkpoint in place of an engine")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="test images of a data set: a name under --data-dir, or a folder"),
    ] = None,
    data_dir: Annotated[Path, typer.Option(metavar="DIR", help="folder of named data sets")] = Path("data"),
    test_list: Annotated[str, typer.Option(help="index file of --dataset")] = "test.json",
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="default: the engine's own thresholds")] = None,
    backend: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, tensorrt")] = "auto",
    precision: Annotated[Precision | None, typer.Option(help="which of the engine's files; default: the first")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="where the engine runs")] = "auto",
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="the CPU, where the device asked for is absent")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one engine run")] = None,
    bit_depth: Annotated[
        int | None, typer.Option(min=9, max=16, help="bits that 16-bit images fill, where the files don't say")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Inspect images, folders or videos. Exit code 1 when something could not be inspected."""
    if (engine is None) == (ckpt_path is None):
        raise ConfigError("name what inspects: either --engine BUNDLE or --ckpt-path FILE")
    if bool(inputs) == (dataset is not None):
        raise ConfigError("name what to inspect: either images, folders or videos, or --dataset NAME")
    for place in (out, out / "masks", out / "overlays"):
        try_folder(place, "--out")
    try_file(out / RESULTS_NAME, "--out")
    listed = dict(list_images(dataset, data_dir, test_list)) if dataset is not None else {}
    found = find_inputs(list(listed) or inputs or [], out, bit_depth, listed)
    files = found.files
    opened = (
        Inspector.of_checkpoint(ckpt_path, recipe)
        if ckpt_path is not None
        else Inspector.open(
            engine or Path(),
            recipe,
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
            allow_fallback=allow_fallback,
        )
    )
    console = plain_console(stderr=True)
    tally = Tally()
    with (
        opened as inspector,
        OutputFolder(out) as folder,
        Progress(console=console, disable=as_json or not console.is_terminal) as progress,
    ):
        unknown_length = any(file.is_video for file in files)
        bar = progress.add_task("inspecting", total=None if unknown_length else len(files))
        for picture, result, mask in inspect_pictures(inspector, pictures(files)):
            folder.write(picture, result, mask)
            tally.count(result)
            if picture.note is not None:
                note = f"note: {printable(picture.file.path)}: {picture.note}"
                console.print(note, style="yellow", markup=False, soft_wrap=True)
            if result.verdict == Verdict.NOT_INSPECTED:
                console.print(not_inspected_line(picture, result), style="yellow", markup=False, soft_wrap=True)
            progress.advance(bar)
        summary = tally.summary(inspector, out) | passed_over_summary(found.passed_over)
    if found.passed_over:
        console.print(describe(found.passed_over), style="yellow", markup=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        plain_console().print(Fitted(as_table(summary)))
    if tally.reasons or found.may_miss_pictures:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def list_images(dataset: str, data_dir: Path, list_name: str) -> list[tuple[Path, int | None]]:
    """The images of one list of a data set, each with its bit depth where the list states one.

    Raises MissingExtra without the extra `train`, which reads data sets.
    """
    try:
        found: list[tuple[Path, int | None]] = provider("data_set_images")(dataset, data_dir, list_name)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"--dataset and the packages that read data sets ({error.name})", "train") from error
    return found


def inspect_pictures(
    inspector: Inspector, stream: Iterable[Picture]
) -> Iterator[tuple[Picture, InspectionResult, NDArray[np.uint8] | None]]:
    """Each picture with its result and mask (None: not inspected), in order, in batches."""
    stream = iter(stream)
    while chunk := list(islice(stream, inspector.facts.max_batch)):
        images = [picture.image for picture in chunk if picture.image is not None]
        answers = iter(inspector.inspect_batch_with_masks(images))
        for picture in chunk:
            result, mask = (not_inspected(inspector, picture), None) if picture.image is None else next(answers)
            source_ref = SourceRef(file=printable(picture.file.path), frame=picture.frame)
            yield picture, msgspec.structs.replace(result, frame_id=picture.id, source_ref=source_ref), mask


def not_inspected_line(picture: Picture, result: InspectionResult) -> str:
    """What people read about a picture without a verdict."""
    detail = f": {picture.detail}" if picture.detail else ""
    return f"not inspected: {picture.id} ({result.reason}{detail})"


def passed_over_summary(passed_over: Sequence[PassedOver]) -> dict[str, Any]:
    """What --json says of files that were found and not read."""
    counts = Counter(each.reason for each in passed_over)
    files = [{"path": printable(each.path), "reason": each.reason} for each in passed_over]
    return {"passed_over": dict(counts), "passed_over_files": files}


def not_inspected(inspector: Inspector, picture: Picture) -> InspectionResult:
    """The result of a picture that could not be read."""
    return InspectionResult(
        verdict=Verdict.NOT_INSPECTED,
        reason=picture.reason,
        engine=inspector.bundle.engine_id,
        recipe=inspector.recipe.recipe_id,
        device=inspector.facts.device,
    )


class OutputFolder:
    """Writes `masks/NAME.png`, `overlays/NAME.jpg` and a line of results.jsonl for each picture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = (folder / RESULTS_NAME).open("wb")

    def write(self, picture: Picture, result: InspectionResult, mask: NDArray[np.uint8] | None) -> None:
        """Paths in the line are relative to the folder; `image` is the path that was read."""
        more: dict[str, Any] = {"image": printable(picture.file.path), "detail": picture.detail, "mask": None}
        if mask is not None and picture.image is not None:
            more["mask"] = self._save("masks", picture, ".png", mask)
            more["evidence"] = self._save("overlays", picture, ".jpg", draw_overlay(picture.image, result, mask))
        self._lines.write(msgspec.json.encode(msgspec.to_builtins(result) | more) + b"\n")
        self._lines.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def _save(self, kind: str, picture: Picture, suffix: str, image: NDArray[np.uint8]) -> str:
        path = write_picture(self._folder / kind / f"{picture.name}{suffix}", image, JPEG_QUALITY)
        return printable(path.relative_to(self._folder))


class Tally:
    """What the closing table shows."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()

    def count(self, result: InspectionResult) -> None:
        """Add one picture."""
        self.verdicts[result.verdict.value] += 1
        self.classes.update(defect.class_name for defect in result.defects)
        if result.verdict == Verdict.NOT_INSPECTED:
            self.reasons[str(result.reason)] += 1

    def summary(self, inspector: Inspector, out: Path) -> dict[str, Any]:
        """The answer of --json."""
        inspected = self.verdicts["OK"] + self.verdicts["NG"]
        elapsed_s = time.monotonic() - self._started
        return {
            "inspected": inspected,
            "ok": self.verdicts["OK"],
            "ng": self.verdicts["NG"],
            "not_inspected": dict(self.reasons),
            "defects": dict(self.classes),
            "duration_s": round(elapsed_s, 3),
            "images_per_s": round(inspected / elapsed_s, 1),
            "engine": {
                "name": inspector.bundle.manifest.name,
                "sha256": inspector.bundle.sha256,
                "backend": inspector.facts.name,
                "device": inspector.facts.device,
            },
            "recipe": {"name": inspector.recipe.name, "sha256": inspector.recipe.sha256},
            "out": printable(out),
        }


def as_table(summary: dict[str, Any]) -> Table:
    """The summary for people."""
    table = Table(title=f"{summary['engine']['name']} on {summary['engine']['device']}", show_header=False)
    rows = {
        "inspected": f"{summary['inspected']} in {summary['duration_s']:.1f} s ({summary['images_per_s']} per s)",
        "OK": str(summary["ok"]),
        "NG": str(summary["ng"]),
        "not inspected": _counts(summary["not_inspected"]),
        "passed over": _counts(summary["passed_over"]),
        "defects": _counts(summary["defects"]),
        "results": str(Path(summary["out"], RESULTS_NAME)),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "0"
