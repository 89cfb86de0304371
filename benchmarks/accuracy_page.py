"""docs/benchmarks/accuracy.md from the kept score sheets: no figure on the page is typed in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kept = Mapping[str, Any]
Pixels = Mapping[str, Sequence[int]]
"""part -> TP, FP, FN"""
RESAMPLES = 1000
SETS = {"neu": "NEU_Seg", "mt": "MT"}
MATERIALS = {"pcb": "DeepPCB", "aitex": "AITEX", "masonry": "Masonry", "mtnew": "MT", "neunew": "NEU_Seg"}
NAMES = {
    "from_base": "F2P-Net vit_t, from the base",
    "vit_t": "F2P-Net vit_t, pretrained",
    "unet_imagenet": "U-Net, pretrained",
    "f2pnet": "F2P-Net nano, from scratch",
    "unet": "U-Net, from scratch",
    "segformer": "SegFormer-B0, from scratch",
}
SHOTS = {"16": "16 shots", "32": "32 shots", "64": "64 shots", "full": "full list"}
BASE_PAIR = ("from_base", "unet_imagenet")
PAIRS = (("vit_t", "unet_imagenet"), ("f2pnet", "unet"))
"""Each F2P-Net, and the network that an engineer would try in its place."""
PIXEL_COLUMNS = {
    "iou_per_image": "IoU per image",
    "mean_iou": "mIoU",
    "boundary_iou": "boundary IoU",
    "precision": "precision",
    "recall": "recall",
    "pixel_ap": "pixel AP",
    "PxR": "PxR",
    "object_recall": "object recall",
    "false_alarms_per_image": "false alarms per image",
}
FRAME_COLUMNS = {
    "image_auroc": "image AUROC",
    "frame_recall": "frame recall",
    "false_reject_rate": "false rejects",
    "recall_at_fr05_by_score": "recall at false rejects <= 0.05, by score",
    "recall_at_fr05_by_map": "the same, by map",
}
INTRODUCTION = """# Accuracy

Written by `python benchmarks/accuracy.py` from the score sheets in `accuracy/`; the runs are those of
`configs/studies/pretrained.yaml` and `configs/studies/accuracy.yaml` (from scratch), trained by
`python benchmarks/accuracy_runs.py --study FILE`. What each figure means: [evaluation](../evaluation.md). How the
recipe was chosen: [experiments](experiments.md).

All figures are of `test.json`, which is read only for runs that are finished; thresholds and checkpoints were chosen on
the training list. Networks of one study saw the same number of images at the same size. F2P-Net vit_t starts from SAM's
and ImageNet's weights; the pretrained U-Net is segmentation-models-pytorch's, on F2P-Net's CNN with the same ImageNet
weights. Protocol `auto` gives no prompts. In round brackets stands the 95 % interval from drawing the parts of the
test list again. Of several seeds the figure and the edges of its interval are means, and the range of the figure
over the seeds follows in square brackets. The columns "recall at false rejects <= 0.05" choose their threshold on
the test images, so they tell what a right threshold would reach, not what ships; "frame recall" and "false rejects" are
at the thresholds that ship."""
NEW_MATERIALS = """## New materials

Few images of a material that the base of F2P-Net (`configs/training/surface-small-base.yaml`) has never seen; runs of
`configs/studies/new-material.yaml`, protocol `auto`, on each set's `test.json`."""
LEAKY = """## Paper split, leaky

The paper's own training lists hold other pictures of almost every test part, so these figures say nothing about
new parts; they are here only for comparison with published tables. `oracle-box` gives the network the boxes of the true
defects, as the published evaluation does."""
ABLATION = """## What each module brings

F2P-Net without one of its modules at the same budget, clean lists, protocol `auto`, same seed (1). One seed tells
a large difference only."""


def page(study: Sequence[str], kept: Mapping[str, Kept]) -> str:
    """The whole page. `study` names all runs; `kept` holds what is known of them, and the trivial baselines."""
    done = {name: kept[name] for name in study if name in kept}
    sections = [INTRODUCTION]
    for short, dataset in SETS.items():
        sections.append("\n".join(_comparison(short, dataset, done, kept)))
    sections.append("\n".join([NEW_MATERIALS, *_new_materials(done)]))
    sections.append("\n".join([ABLATION, *_ablation(done)]))
    sections.append("\n".join([LEAKY, *_leaky(done, kept)]))
    if missing := [name for name in study if name not in kept]:
        sections.append("## Missing\n\nNot trained yet: " + ", ".join(f"`{name}`" for name in missing) + ".")
    return "\n\n".join(sections) + "\n"


def _comparison(short: str, dataset: str, done: Mapping[str, Kept], kept: Mapping[str, Kept]) -> Iterator[str]:
    """The clean lists of one data set: all networks by number of shots, then the trivial baselines."""
    yield f"## {dataset}, clean lists\n"
    rows = [
        Row(f"{NAMES[network]}, {what}", f"{runs[0]['run']['images_seen']:,}", [_auto(run) for run in runs])
        for shots, what in SHOTS.items()
        for network in NAMES
        if (runs := _seeds(done, f"{short}-{shots}-{network}"))
    ]
    rows += [row for row in _trivial(dataset, kept) if "train.json" not in row.name]
    yield from table(rows)
    for pair in PAIRS:
        if text := _lead(short, done, *pair):
            yield f"\n{text}"


def _lead(short: str, done: Mapping[str, Kept], ours_name: str, theirs_name: str) -> str:
    """By how much one network is ahead of another, over the seeds that both have."""
    words = []
    for shots, what in SHOTS.items():
        ours, theirs = (
            {run["run"]["seed"]: _auto(run)["pixels_by_part"] for run in _seeds(done, f"{short}-{shots}-{network}")}
            for network in (ours_name, theirs_name)
        )
        if common := sorted(set(ours) & set(theirs)):
            points, low, high = lead([ours[seed] for seed in common], [theirs[seed] for seed in common])
            seeds = f"{len(common)} {'seed' if len(common) == 1 else 'seeds'}"
            words.append(f"{points:+.1f} points ({low:+.1f} to {high:+.1f}; {what}, {seeds})")
    if not words:
        return ""
    names = f"{NAMES[ours_name]} less that of {NAMES[theirs_name]}"
    return f"Foreground IoU of {names}, on the same parts: {'; '.join(words)}."


def lead(ours: Sequence[Pixels], theirs: Sequence[Pixels]) -> tuple[float, float, float]:
    """Difference of the foreground IoU in points, mean over the seeds, with its 95 % interval.

    Both models are measured on the same drawn parts, so that parts which are hard for both cancel out.
    """
    parts = sorted(ours[0])
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=RESAMPLES)
    weights = np.vstack([np.ones(len(parts)), drawn])

    def ious(runs: Sequence[Pixels]) -> NDArray[np.float64]:
        pixels = [weights @ np.array([run[part] for part in parts]) for run in runs]
        return np.mean([each[:, 0] / each.sum(axis=1) for each in pixels], axis=0)

    difference = 100 * (ious(ours) - ious(theirs))
    low, high = np.percentile(difference[1:], [2.5, 97.5])
    return float(difference[0]), float(low), float(high)


def _new_materials(done: Mapping[str, Kept]) -> Iterator[str]:
    for shots, what in list(SHOTS.items())[:2]:
        yield f"\n{what}:\n"
        yield from table(
            [
                Row(f"{material}: {NAMES[network]}", f"{runs[0]['run']['images_seen']:,}", [_auto(run) for run in runs])
                for short, material in MATERIALS.items()
                for network in NAMES
                if (runs := _seeds(done, f"{short}-{shots}-{network}"))
            ]
        )
        both = [
            [np.mean([_auto(run)["values"]["iou"] for run in runs]) for runs in pair]
            for short in MATERIALS
            if all(pair := [_seeds(done, f"{short}-{shots}-{network}") for network in BASE_PAIR])
        ]
        if both:
            ahead = 100 * float(np.mean([ours - theirs for ours, theirs in both]))
            names = f"{NAMES[BASE_PAIR[0]]} less that of {NAMES[BASE_PAIR[1]]}"
            yield f"\nForeground IoU of {names}, mean over {len(both)} materials: {ahead:+.1f} points."


def _ablation(done: Mapping[str, Kept]) -> Iterator[str]:
    pattern = re.compile(r"(?P<base>\w+-\w+-(?:vit_t|f2pnet))-(?P<change>.+)-s1")
    changed = [found for name in done if (found := pattern.fullmatch(name))]
    for base in dict.fromkeys(found["base"] for found in changed):
        short, shots, network = base.split("-")
        rows = [_run_row(NAMES[network], done[f"{base}-s1"])] if f"{base}-s1" in done else []
        rows += [
            _run_row(found["change"].replace("-", " "), done[found[0]]) for found in changed if found["base"] == base
        ]
        yield f"\n{SETS[short]}, {SHOTS[shots]}, {NAMES[network]}:\n"
        yield from table(rows)
    if not changed:
        yield "\nNo such run is finished."


def _leaky(done: Mapping[str, Kept], kept: Mapping[str, Kept]) -> Iterator[str]:
    for short, dataset in SETS.items():
        yield f"\n{dataset}, paper split, leaky:\n"
        rows = []
        for network in NAMES:
            for run in _seeds(done, f"{short}-paper-{network}"):
                seen = f"{run['run']['images_seen']:,}"
                rows += [Row(f"{NAMES[network]}, paper split, leaky", seen, [sheet]) for sheet in run["sheets"]]
        rows += [
            row for row in _trivial(dataset, kept) if "clean" not in row.name and row.name not in ("nothing", "otsu")
        ]
        yield from table(rows)


class Row:
    """One line of a table: a model under one protocol, with the sheets of its seeds."""

    def __init__(self, name: str, images_seen: str, sheets: Sequence[Mapping[str, Any]]) -> None:
        self.name, self.images_seen, self.sheets = name, images_seen, sheets

    def figure(self, name: str) -> str:
        """`0.546`; empty where the row can't have it."""
        values = self._values(name)
        return f"{sum(values) / len(values):.3f}" if values else ""

    def with_interval(self, name: str) -> str:
        """`0.546 (0.52-0.58) [0.531..0.560]`: mean, interval, range over the seeds."""
        values, text = self._values(name), self.figure(name)
        edges = [sheet["intervals"][name] for sheet in self.sheets if name in sheet["intervals"]]
        if edges:
            low, high = (sum(edge[side] for edge in edges) / len(edges) for side in (0, 1))
            text += f" ({low:.2f}-{high:.2f})"
        return text + (f" [{min(values):.3f}..{max(values):.3f}]" if len(values) > 1 else "")

    def _values(self, name: str) -> list[float]:
        return [sheet["values"][name] for sheet in self.sheets if name in sheet["values"]]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown; columns that no row fills are left out."""
    if not rows:
        yield "No run is finished."
        return
    columns = {
        name: title for name, title in (PIXEL_COLUMNS | FRAME_COLUMNS).items() if any(row.figure(name) for row in rows)
    }
    yield "| " + " | ".join(["model", "protocol", "seeds", "images seen", "foreground IoU", *columns.values()]) + " |"
    yield "| --- | --- |" + " ---: |" * (len(columns) + 3)
    for row in rows:
        seeds = str(len(row.sheets)) if row.images_seen else ""
        cells = [row.name, row.sheets[0]["protocol"], seeds, row.images_seen, row.with_interval("iou")]
        yield "| " + " | ".join([*cells, *(_cell(row, name) for name in columns)]) + " |"


def _cell(row: Row, name: str) -> str:
    return row.with_interval(name) if name in FRAME_COLUMNS else row.figure(name)


def _run_row(name: str, run: Kept) -> Row:
    return Row(name, f"{run['run']['images_seen']:,}", [_auto(run)])


def _trivial(dataset: str, kept: Mapping[str, Kept]) -> list[Row]:
    sheets = kept.get(f"trivial-{dataset}", {"sheets": []})["sheets"]
    return [Row(sheet["model"].removeprefix("trivial: "), "", [sheet]) for sheet in sheets]


def _seeds(done: Mapping[str, Kept], base: str) -> list[Kept]:
    return [run for name, run in done.items() if re.fullmatch(rf"{re.escape(base)}-s\d+", name)]


def _auto(run: Kept) -> Mapping[str, Any]:
    return next(sheet for sheet in run["sheets"] if sheet["protocol"] == "auto")
