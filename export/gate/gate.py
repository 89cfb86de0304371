"""The gate: no file is called an engine unless it agrees with its checkpoint, by limits written down here.

Two questions. On images: the same masks, scores and verdicts? On pictures at the edges (flat, saturated, noise): are
the answers still probabilities, and near the checkpoint's? An overflow often hides in the second: a logit of infinity
is a valid probability of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from export.formats.synthetic_frames import probe_frames
from export.gate.parity import Case, measure
from f2pnet.backends import Backend
from f2pnet.engine.bundle import Artifact, Bundle, Parity, Precision
from f2pnet.errors import BackendError, F2pError
from f2pnet.pictures.preprocess import Image


@dataclass(frozen=True)
class Limits:
    """What the gate lets through. Differences are of probabilities, 0..1."""

    max_abs_diff: float  # of any output on any image
    mask_iou_mean: float
    mask_iou_min: float  # of the worst image
    verdict_agreement: float
    score_max_diff: float = 1.0
    probe_mean_diff: float = 1.0  # of an output's mean difference on any probe


LIMITS: dict[Precision, Limits] = {
    # Only the order of sums differs; a mask of a few pixels may yet lose one that lies on the threshold.
    "fp32": Limits(1e-3, mask_iou_mean=0.999, mask_iou_min=0.98, verdict_agreement=1.0, score_max_diff=1e-3,
                   probe_mean_diff=1e-3),
    # 11 bits of mantissa through some thirty layers: a few thousandths where the answer is unsure, ten times that at
    # the steepest edge. One verdict in 200 may lie so near its threshold that rounding tips it.
    "fp16": Limits(0.1, mask_iou_mean=0.995, mask_iou_min=0.5, verdict_agreement=0.995, score_max_diff=0.02,
                   probe_mean_diff=0.02),
    # 8 bits: eight times coarser than fp16, so masks may move by a pixel along their edges.
    "bf16": Limits(0.5, mask_iou_mean=0.98, mask_iou_min=0.3, verdict_agreement=0.99, score_max_diff=0.08,
                   probe_mean_diff=0.05),
    # Whole maps shift a little. No limit for one pixel or for the worst image: a mask of two pixels that becomes one
    # of three has an IoU of 0.67, and one that vanishes 0. The mean, scores and verdicts say whether it matters.
    # None on the probes' distance either: integers saturate where floats overflow, and a picture outside of the
    # calibrated ranges is clipped by design. Answers there must still be probabilities.
    "int8": Limits(1.0, mask_iou_mean=0.98, mask_iou_min=0.0, verdict_agreement=0.98, score_max_diff=0.15),
}  # fmt: skip


class ParityError(F2pError):
    """An engine does not agree with its checkpoint."""


@dataclass(frozen=True)
class Judgement:
    """What the gate found about one artifact; `misses` is empty where it may pass."""

    artifact: Artifact
    parities: list[Parity]
    misses: list[str]
    worst: list[Case] = field(default_factory=list)

    @property
    def proven(self) -> Artifact:
        """The manifest's entry with its proof: the set with the lowest mean agreement stands for all."""
        worst = min(self.parities, key=lambda parity: (parity.mask_iou_mean, parity.mask_iou_min))
        return self.artifact.model_copy(update={"parity": worst, "parities": self.parities})


def judge(
    trial: Bundle, engine: Backend, reference: Backend, sets: Mapping[str, Sequence[Image]], limits: Limits
) -> Judgement:
    """Measure the one artifact of `trial`, which `engine` runs, on every set of images and on the probes."""
    (artifact,) = trial.manifest.artifacts
    misses: list[str] = []
    parities: list[Parity] = []
    worst: list[Case] = []
    try:
        misses += _probe_misses(engine, reference, limits)
        for name, images in sets.items():
            measured = measure(trial, engine, reference, images, name)
            parities.append(measured.parity)
            misses += parity_misses(measured.parity, limits)
            worst += measured.worst
    except BackendError as error:
        misses.append(str(error))
    return Judgement(artifact, parities, misses, sorted(worst, key=lambda case: case.iou))


def parity_misses(parity: Parity, limits: Limits) -> list[str]:
    """One phrase for every figure that misses its limit."""
    where = f"on {parity.images} images of {parity.dataset} "
    floors = ("mask_iou_mean", "mask_iou_min", "verdict_agreement")
    ceilings = ("max_abs_diff", "score_max_diff")
    low = [
        f"{where}{name} is {seen:.4f}, wanted at least {getattr(limits, name)}"
        for name in floors
        if (seen := getattr(parity, name)) < getattr(limits, name)
    ]
    high = [
        f"{where}{name} is {seen:.2g}, wanted at most {getattr(limits, name)}"
        for name in ceilings
        if (seen := getattr(parity, name)) is not None and seen > getattr(limits, name)
    ]
    return low + high


def _probe_misses(engine: Backend, reference: Backend, limits: Limits) -> list[str]:
    """Runs the probes one by one; raises BackendError where an answer is no probability, and says on which picture."""
    misses = []
    for name, picture in probe_frames(engine.facts.image_size).items():
        wanted = reference.run(picture[None])
        try:
            found = engine.run(picture[None])
        except BackendError as error:
            raise BackendError(f"on a picture that is {name}: {error}") from error
        for output, values in wanted.items():
            difference = float(np.abs(found[output] - values).mean())
            if difference > limits.probe_mean_diff:
                misses.append(
                    f"on a picture that is {name} {output} is off by {difference:.2g} in the mean, "
                    f"wanted at most {limits.probe_mean_diff}"
                )
    return misses
