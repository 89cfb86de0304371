"""The score sheet: every figure of one model on one list of images, with the protocol that made it."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluate import figures, predict
from training.images import fit_image, read_pair
from training.model import Model
from training.records import Record
from training.thresholds import Choice, Validated, verdict_counts

PROTOCOL = "auto"


def answers_for(model: Model, records: Sequence[Record]) -> Validated:
    """Run every image through the model; keeps the true masks at the size of their pictures."""
    images, masks = [], []
    for record in records:
        frame, mask = read_pair(record)
        images.append(fit_image(frame, model.image_size))
        masks.append(mask)
    return Validated(predict(model.predictor, images, model.max_batch), masks, [record.label for record in records])


def score_sheet(answers: Validated, choice: Choice) -> dict[str, float]:
    """Pixel figures at source size and frame figures, at the thresholds that the model ships with.

    `frame_recall`, `escape_rate` (defective frames passed) and, where there are good images, `frame_precision` and
    `false_reject_rate` (good frames rejected) are of the verdicts.
    """
    sheet = figures(answers.predicted, choice.defect_output, answers.masks, answers.labels, choice.thresholds.pixel)
    verdicts = verdict_counts(answers, choice)
    if any(answers.labels):
        sheet |= {"frame_recall": verdicts.recall, "escape_rate": 1 - verdicts.recall}
    if not all(answers.labels):
        sheet |= {"frame_precision": verdicts.precision, "false_reject_rate": verdicts.false_reject_rate}
    return {name: round(value, 4) for name, value in sheet.items()}
