"""Lists for the studies: to choose a recipe by, and few-shot lists of sets that come without.

    python benchmarks/validation_lists.py

For choosing a recipe: exp/lists/<set>/{train,shots,judge}.json, from `train_clean.json` alone; no part is on both
sides, and no test list is read. A recipe chosen by these lists has seen nothing of what the figures in docs/benchmarks
are measured on. For new materials: exp/lists/<set>/drawn.json, from the training list.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from training.data.few_shot import few_shot_lists
from training.data.records import load_entries, read_records, split_by_part

ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data"
LISTS = ROOT / "exp/lists"
HELD_OUT = {"NEU_Seg": 0.4, "MT": 0.45}
SEED = 7
MOST_JUDGED = {1: 160, 0: 90}
"""Images of the judging list, defective and good: enough to tell recipes apart, and soon scored."""
SHOTS = (16, 32, 64)
MATERIALS = {
    "DeepPCB": "train.json",
    "AITEX": "train.json",
    "Masonry": "train.json",
    "MT": "train_clean.json",
    "NEU_Seg": "train_clean.json",
}


def main() -> None:
    for name, share in HELD_OUT.items():
        entries = load_entries(DATA / name / "train_clean.json")
        training, held = split_by_part(read_records(DATA / name, "train_clean.json"), share, SEED)
        judged = {record.id for label, most in MOST_JUDGED.items() for record in _some(held, label, most)}
        _write(name, "train", [entry for entry in entries if entry["id"] in {record.id for record in training}])
        _write(name, "judge", [entry for entry in entries if entry["id"] in judged])
        _write(name, "shots", few_shot_lists(training, SEED, SHOTS))
    for name, list_name in MATERIALS.items():
        _write(name, "drawn", few_shot_lists(read_records(DATA / name, list_name), SEED, (16, 32)))


def _some(records: list[Any], label: int, most: int) -> list[Any]:
    of_label = [record for record in records if record.label == label]
    return random.Random(SEED).sample(of_label, min(most, len(of_label)))


def _write(name: str, kind: str, content: Any) -> None:
    path = LISTS / name / f"{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    print(f"{path}: {len(content)}")


if __name__ == "__main__":
    main()
