"""What the gate leaves behind when it refuses: figures and pictures, and nothing that looks like an engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from export.gate.gate import Judgement
from export.gate.parity import Case
from f2pnet.pictures.writing import write_picture

ROWS = 8
SIDE_PX = 256
TITLES = ("image", "checkpoint", "engine", "difference")


def refusal_folder(out_dir: Path) -> Path:
    """Where the report on a refused export to `out_dir` lies."""
    return out_dir.with_name(f"{out_dir.name}.refused")


def clear_refusal(out_dir: Path) -> None:
    """Remove the report of an earlier attempt; only files that this module writes."""
    folder = refusal_folder(out_dir)
    for name in ("report.json", "report.html"):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir():
        for picture in folder.glob("worst-*.png"):
            picture.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def write_refusal(out_dir: Path, judgements: Sequence[Judgement], threshold: float) -> Path:
    """Write report.html, report.json and one picture of the worst images for each artifact; returns report.html."""
    folder = refusal_folder(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    facts = [_facts(judgement) for judgement in judgements]
    (folder / "report.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for judgement in judgements:
        picture = f"worst-{judgement.artifact.file}.png"
        if judgement.worst:
            write_picture(folder / picture, worst_sheet(judgement.worst[:ROWS], threshold))
    pages = Environment(loader=PackageLoader("export.gate"), autoescape=True, undefined=StrictUndefined)
    page = folder / "report.html"
    text = pages.get_template("refusal.html").render(name=out_dir.name, judgements=judgements)
    page.write_text(text + "\n", encoding="utf-8")
    return page


def worst_sheet(cases: Sequence[Case], threshold: float) -> NDArray[np.uint8]:
    """A BGR picture with a row for each case: image, checkpoint's mask, engine's mask, where they differ."""
    rows = [_title_row(), *(_row(case, threshold) for case in cases)]
    return np.vstack(rows).astype(np.uint8)


def _row(case: Case, threshold: float) -> NDArray[np.uint8]:
    image = np.asarray(cv2.resize(cv2.cvtColor(case.image, cv2.COLOR_RGB2BGR), (SIDE_PX, SIDE_PX)), np.uint8)
    wanted, found = (_as_mask(values, threshold) for values in (case.wanted, case.found))
    shown = [image, _painted(image, wanted, (0, 200, 0)), _painted(image, found, (0, 120, 255))]
    shown.append(_painted(image, wanted != found, (0, 0, 255)))
    row = np.hstack(shown)
    cv2.putText(row, f"IoU {case.iou:.3f}", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 2, cv2.LINE_AA)
    cv2.putText(row, f"IoU {case.iou:.3f}", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(row, np.uint8)


def _as_mask(values: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    return np.asarray(cv2.resize(values, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST) >= threshold)


def _painted(image: NDArray[np.uint8], mask: NDArray[np.bool_], color: tuple[int, int, int]) -> NDArray[np.uint8]:
    painted = image.copy()
    painted[mask] = (0.4 * painted[mask] + 0.6 * np.array(color)).astype(np.uint8)
    return painted


def _title_row() -> NDArray[np.uint8]:
    row = np.full((24, SIDE_PX * len(TITLES), 3), 255, np.uint8)
    for place, title in enumerate(TITLES):
        cv2.putText(row, title, (place * SIDE_PX + 6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return row


def _facts(judgement: Judgement) -> dict[str, object]:
    artifact = judgement.artifact
    return {
        "file": artifact.file,
        "format": artifact.format,
        "precision": artifact.precision,
        "refused_for": judgement.misses,
        "parities": [parity.model_dump() for parity in judgement.parities],
    }
