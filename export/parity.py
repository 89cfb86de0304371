"""Does the engine see what the checkpoint sees? Measured on real images; the gate refuses what does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from f2pnet.backends import Backend
from f2pnet.bundle import Bundle, Parity
from f2pnet.errors import ConfigError, F2pError, MissingResource
from f2pnet.inspector import Inspector
from f2pnet.preprocess import Image, fit
from f2pnet.recipe import Recipe


@dataclass(frozen=True)
class Limits:
    """What the gate lets through: the largest difference of a probability, and the least agreement."""

    max_abs_diff: float
    mask_iou_mean: float
    mask_iou_min: float
    verdict_agreement: float


# In float32 only the order of sums differs; a mask of a few pixels may yet lose one that lies on the threshold.
FP32_LIMITS = Limits(max_abs_diff=1e-3, mask_iou_mean=0.999, mask_iou_min=0.98, verdict_agreement=1.0)


class ParityError(F2pError):
    """An engine does not agree with its checkpoint."""


def read_images(folder: Path, list_name: str = "test.json") -> list[Image]:
    """The pictures of one list of a data set folder, grey or BGR."""
    index = folder / list_name
    if not index.is_file():
        raise MissingResource(f"no {list_name} in {folder}: parity is measured on the images of a data set folder")
    images = []
    for record in json.loads(index.read_text(encoding="utf-8")):
        image = cv2.imread(str(folder / record["image"]), cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype != np.uint8:
            raise ConfigError(f"{folder / record['image']}: wanted a readable 8-bit image")
        images.append(np.ascontiguousarray(image if image.ndim == 2 else image[:, :, :3], np.uint8))
    return images


def measure_parity(
    bundle: Bundle, engine: Backend, reference: Backend, images: Sequence[Image], dataset: str
) -> Parity:
    """Compare two backends of one bundle, output by output and verdict by verdict; `dataset` names the images."""
    manifest = bundle.manifest
    most = min(engine.facts.max_batch, reference.facts.max_batch)
    differences, ious = [], []
    for start in range(0, len(images), most):
        batch = np.stack([fit(image, manifest.network.image_size) for image in images[start : start + most]])
        found, wanted = engine.run(batch), reference.run(batch)
        differences += [float(np.abs(found[name] - wanted[name]).max()) for name in wanted]
        maps = zip(found[manifest.defect_output], wanted[manifest.defect_output], strict=True)
        ious += [_iou(a >= manifest.thresholds.pixel, b >= manifest.thresholds.pixel) for a, b in maps]
    return Parity(
        dataset=dataset,
        images=len(images),
        mask_iou_mean=float(np.mean(ious)),
        mask_iou_min=min(ious),
        max_abs_diff=max(differences),
        verdict_agreement=_verdict_agreement(bundle, engine, reference, images),
    )


def check_parity(parity: Parity, limits: Limits) -> None:
    """Raise ParityError, naming every figure that misses its limit."""
    floors = {
        name: (getattr(parity, name), getattr(limits, name))
        for name in ("mask_iou_mean", "mask_iou_min", "verdict_agreement")
    }
    misses = [
        f"{name} is {seen:.4f}, wanted at least {least}" for name, (seen, least) in floors.items() if seen < least
    ]
    if parity.max_abs_diff > limits.max_abs_diff:
        misses.append(f"max_abs_diff is {parity.max_abs_diff:.2g}, wanted at most {limits.max_abs_diff}")
    if misses:
        raise ParityError(
            f"the engine does not agree with its checkpoint on {parity.images} images of {parity.dataset}: "
            + "; ".join(misses)
            + ". Nothing was written"
        )


def _verdict_agreement(bundle: Bundle, engine: Backend, reference: Backend, images: Sequence[Image]) -> float:
    found, wanted = (
        [result.verdict for result in Inspector(bundle, backend, Recipe()).inspect_batch(images)]
        for backend in (engine, reference)
    )
    return float(np.mean([a == b for a, b in zip(found, wanted, strict=True)]))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    """1 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0
