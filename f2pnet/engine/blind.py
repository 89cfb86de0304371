"""An engine that lets nearly every defect pass, explained before somebody runs a line with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_REJECTED = 0.1
"""Share of the defective images: an engine that rejects no more of them than this is blind."""
FEWEST_DEFECTIVE = 4
"""With fewer defective images, none rejected may be chance: who finds half of them misses four of four once in 16."""
SCORES_TELL_APART = 0.8
"""Image AUROC from which the network does separate good from defective, and only its thresholds do not."""


@dataclass(frozen=True)
class BlindOn:
    """A list of images on which none, or nearly none, of the defective ones would be rejected."""

    dataset: str
    split: str
    rejected: int
    defective: int
    image_auroc: float | None = None

    def __str__(self) -> str:
        count = "none" if self.rejected == 0 else f"only {self.rejected}"
        return f"{count} of {self.defective} defective images of {self.dataset} ({self.split}) would be rejected"


def blind_on(sheets: Iterable[Mapping[str, Any]]) -> list[BlindOn]:
    """The score sheets, without prompts and with enough defective images, that show a blind engine."""
    found = []
    for sheet in sheets:
        recall, defective = sheet["values"].get("frame_recall"), sheet.get("defective") or 0
        if recall is None or sheet["protocol"] != "auto" or defective < FEWEST_DEFECTIVE:
            continue
        rejected = round(recall * defective)
        if rejected <= MOST_REJECTED * defective:
            auroc = sheet["values"].get("image_auroc")
            found.append(BlindOn(sheet["dataset"], sheet["split"], rejected, defective, auroc))
    return found


def explained(blind: Iterable[BlindOn], *, from_scratch: bool = False) -> str:
    """What is wrong, what likely caused it, and what to do, for people."""
    blind = list(blind)
    aurocs = [each.image_auroc for each in blind if each.image_auroc is not None]
    lines = ["BLIND: " + "; ".join(map(str, blind)) + ". A line with this engine would let defects pass."]
    if aurocs and min(aurocs) >= SCORES_TELL_APART:
        lines.append(
            f"The image score does distinguish them (AUROC {min(aurocs):.2f}): the thresholds are at fault. They were "
            "chosen on few images; look at the curves of `f2p test --page`, set `score` and `pixel` in a recipe, or "
            "hold back more images (`val_share`)."
        )
    else:
        lines.append("Likely causes, and what to do:")
        if from_scratch:
            lines.append("- it starts from random weights: train from pretrained ones (see docs/training.md)")
        lines += [
            "- too short: if curves.png still rises at its end, raise `steps`",
            "- defects smaller than a few pixels at the network's size: raise `image_size`, or inspect in tiles",
            "- too few defective images: label more, or set `defective_share` and `augmentation.synthetic`",
            "- masks that mark something else: `f2p data check`, and look at worst-*.png",
        ]
    return "\n".join(lines)
