"""The end of a run: the thresholds of the best checkpoint, chosen on validation and written into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.loop.data import split_dataset
from training.metrics.thresholds import Validated, choose_thresholds
from training.networks.trainable import read_network, save_network
from training.recipe import TrainingRecipe
from training.score.model import as_model, choice_of
from training.score.sheet import PROTOCOL, answers_for, score_sheet

SPLITS = {
    "validation": "validation (held-out parts of the training list)",
    "test": "test list, on which the checkpoint and its thresholds were chosen",
}

OUT_OF_FOLD = "training images, each answered by a shorter run that was trained without it"


def finish(
    checkpoint: Path, recipe: TrainingRecipe, out_of_fold: Mapping[str, Validated] | None = None
) -> dict[str, Any]:
    """Choose thresholds on the validation images at source size, or on the answers `out_of_fold`; returns the
    checkpoint's facts, now with them.

    The facts gain `defect_output`, `thresholds`, `notes` and `metrics` (a score sheet of each validation set); the
    same facts go into `metrics.json` beside the checkpoint.
    """
    network, facts = read_network(checkpoint)
    if out_of_fold is None:
        model = as_model(network, choice_of({}), recipe.resize)
        validated = {
            choice.path.name: answers_for(model, split_dataset(choice, recipe)[1]) for choice in recipe.datasets
        }
    else:
        validated = dict(out_of_fold)
    choice = choose_thresholds(validated)
    facts |= {
        "defect_output": choice.defect_output,
        "thresholds": choice.thresholds.model_dump(),
        "notes": recipe.notes,
        "metrics": [
            {
                "dataset": name,
                "split": SPLITS[recipe.select_on] if out_of_fold is None else OUT_OF_FOLD,
                "protocol": PROTOCOL,
                "images": len(answers.labels),
                "defective": int(sum(answers.labels)),
                "values": score_sheet(answers, choice),
            }
            for name, answers in validated.items()
        ],
    }
    save_network(checkpoint, network, facts)
    checkpoint.with_name("metrics.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts
