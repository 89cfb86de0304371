"""Frame verdicts of an engine on simulated belts that it never saw: precision and recall by texture and threshold.

    python benchmarks/conveyor_verdicts.py configs/engines/surface-nano --page docs/benchmarks/conveyor.md

Training uses belts of seeds below 5000. This script looks at belts from 5000 on, and never at those of the demo
(9000 and above), so that a threshold chosen here is not chosen on what the demo is scored on.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from f2pnet import Inspector, Recipe, Verdict
from f2pnet.config.sources import TEXTURES, SyntheticSource, TextureName
from f2pnet.inspection.recipe import PixelThresholds
from pipeline.sources.conveyor import Conveyor

FIRST_SEED = 5000
BELTS_PER_TEXTURE = 5
FRAMES_PER_BELT = 40
DEFECT_RATE = 0.3
PIXEL_THRESHOLDS = (None, 0.2, 0.25, 0.3, 0.35)  # None: the engine's own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--page", type=Path, help="write the table here, as Markdown")
    options = parser.parse_args()
    rows = [row for pixel in PIXEL_THRESHOLDS for row in _rows(options.engine, pixel)]
    table = "\n".join(
        ["| pixel threshold | texture | frames | defective | precision | recall |", "|---|---|---|---|---|---|", *rows]
    )
    print(table)
    if options.page:
        options.page.write_text(_page(options.engine, table), encoding="utf-8")


def _rows(engine: Path, pixel: float | None) -> list[str]:
    """One row for each texture, and one for all of them."""
    recipe = Recipe(thresholds=PixelThresholds(default=pixel))
    with Inspector.open(engine, recipe) as inspector:
        own = inspector.bundle.manifest.thresholds.pixel
        counts = {texture: _count(inspector, texture) for texture in TEXTURES}
    total: Counter[tuple[bool, bool]] = sum(counts.values(), Counter())
    name = f"{own} (its own)" if pixel is None else str(pixel)
    return [_row(name, texture, found) for texture, found in [*counts.items(), ("all", total)]]


def _count(inspector: Inspector, texture: TextureName) -> Counter[tuple[bool, bool]]:
    """How often (defective, NG)."""
    counts: Counter[tuple[bool, bool]] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + BELTS_PER_TEXTURE):
        belt = Conveyor(SyntheticSource(texture=texture, seed=seed, defect_rate=DEFECT_RATE))
        for index in range(FRAMES_PER_BELT):
            verdict = inspector.inspect(belt.frame(index).image).verdict
            counts[belt.defective(index), verdict == Verdict.NG] += 1
    return counts


def _row(pixel: str, texture: str, counts: Counter[tuple[bool, bool]]) -> str:
    hits, missed, false = counts[True, True], counts[True, False], counts[False, True]
    precision, recall = hits / max(1, hits + false), hits / max(1, hits + missed)
    return f"| {pixel} | {texture} | {counts.total()} | {hits + missed} | {precision:.3f} | {recall:.3f} |"


def _page(engine: Path, table: str) -> str:
    seeds = f"{FIRST_SEED} to {FIRST_SEED + BELTS_PER_TEXTURE - 1}"
    return f"""# Frame verdicts on simulated belts

Measured on {time.strftime("%Y-%m-%d", time.gmtime())} by `python benchmarks/conveyor_verdicts.py {engine} --page ...`.

`f2p conveyor`'s belts of seeds {seeds}, which training never saw, {FRAMES_PER_BELT} frames of 512 x 512 from each; a
frame is rejected when its verdict is NG. Precision: share of the rejected frames that are defective; recall: share of
the defective frames that are rejected.

{table}
"""


if __name__ == "__main__":
    main()
