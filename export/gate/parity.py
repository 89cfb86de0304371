"""How far does an engine see what its checkpoint sees? Measured on images, output by output, verdict by verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f2pnet.backends import Backend
from f2pnet.backends.base import Batch, Outputs
from f2pnet.engine.bundle import Bundle, OutputSpec, Parity
from f2pnet.errors import ConfigError, MissingResource
from f2pnet.inspection.inspector import Inspector
from f2pnet.inspection.recipe import Recipe
from f2pnet.pictures.decode import read_picture
from f2pnet.pictures.header import UnreadablePicture
from f2pnet.pictures.preprocess import Image, fit
from f2pnet.providers import provider

WORST_KEPT = 8
"""Images that a report of a refusal shows."""

SMALL_MASK_PX = 16
"""A union smaller than this counts as this many map pixels in the IoU: of a mask of two pixels, one that lies on the
threshold is not half of an engine's answer. Whether a small defect is found or lost shows in the verdicts."""


@dataclass(frozen=True)
class Case:
    """One image with what both made of it."""

    image: Image  # as the network sees it, (S, S, 3) RGB
    wanted: NDArray[np.float32]  # (h, w) probability, the reference's
    found: NDArray[np.float32]  # the engine's
    iou: float


@dataclass(frozen=True)
class Measured:
    """The figures of one set of images, and the images on which the two differ most."""

    parity: Parity
    worst: list[Case]


class RememberingBackend(Backend):
    """Answers an image it has seen from memory: maps and verdicts of one image cost one run, and a reference that
    judges several engines runs once."""

    def __init__(self, backend: Backend, outputs: Sequence[OutputSpec]) -> None:
        super().__init__(backend.facts, list(outputs))
        self._backend = backend
        self._known: dict[bytes, Mapping[str, NDArray[np.float32]]] = {}

    def _run(self, batch: Batch) -> Outputs:
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in batch]
        new = [index for index, key in enumerate(keys) if key not in self._known]
        if new:
            outputs = self._backend.run(np.ascontiguousarray(batch[new]))
            for place, index in enumerate(new):
                self._known[keys[index]] = {name: values[place] for name, values in outputs.items()}
        names = self._known[keys[0]]
        return {name: np.stack([self._known[key][name] for key in keys]) for name in names}

    def close(self) -> None:
        self._backend.close()


def read_images(folder: Path, list_name: str = "test.json", most: int | None = None) -> list[Image]:
    """The pictures of one list of a data set folder, grey or BGR; `most` of them, evenly spread, where it is given.

    Raises MissingResource, or ConfigError, where the folder is no data set of a layout that `f2p train` reads.
    """
    folder = _indexed(folder, list_name)
    index = folder / list_name
    if not index.is_file():
        raise MissingResource(f"no {list_name} in {folder}: wanted a data set folder, which has this list of images")
    records = json.loads(index.read_text(encoding="utf-8-sig"))
    if most is not None and len(records) > most:
        records = [records[round(place)] for place in np.linspace(0, len(records) - 1, most)]
    return [_read_image(folder / record["image"], record.get("bit_depth")) for record in records]


def _indexed(folder: Path, list_name: str) -> Path:
    """The folder with the index files: itself, or where those of another layout are written."""
    if not folder.is_dir():
        raise MissingResource(f"no data set folder {folder}: check the path")
    own = folder / list_name
    if own.is_file() and own.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return folder  # so that a machine without the packages that read other layouts can export
    found: Path = provider("data_set")(str(folder), Path())
    return found


def _read_image(path: Path, bit_depth: int | None) -> Image:
    try:
        return read_picture(path, bit_depth=bit_depth)
    except UnreadablePicture as error:
        raise ConfigError(f"{path}: {error}") from error


def measure(bundle: Bundle, engine: Backend, reference: Backend, images: Sequence[Image], dataset: str) -> Measured:
    """Compare two backends of one bundle on `images`, which `dataset` names. Raises BackendError where one fails."""
    manifest = bundle.manifest
    engine, reference = (RememberingBackend(backend, manifest.outputs) for backend in (engine, reference))
    most, size = min(engine.facts.max_batch, reference.facts.max_batch), manifest.network.image_size
    differences: dict[str, list[float]] = {output.name: [] for output in manifest.outputs}
    cases: list[Case] = []
    ious: list[float] = []
    for start in range(0, len(images), most):
        batch = np.stack([fit(image, size, resize=manifest.input.resize) for image in images[start : start + most]])
        found, wanted = engine.run(batch), reference.run(batch)
        for name in differences:
            differences[name].append(float(np.abs(found[name] - wanted[name]).max()))
        maps = zip(batch, wanted[manifest.defect_output], found[manifest.defect_output], strict=True)
        compared = [_compare(image, a, b, manifest.thresholds.pixel) for image, a, b in maps]
        ious += [case.iou for case in compared]
        cases = sorted([*cases, *compared], key=lambda case: case.iou)[:WORST_KEPT]
    parity = Parity(
        dataset=dataset,
        images=len(images),
        mask_iou_mean=float(np.mean(ious)),
        mask_iou_min=min(ious),
        max_abs_diff=max(max(values) for values in differences.values()),
        score_max_diff=max(differences["score"]),
        verdict_agreement=_verdict_agreement(bundle, engine, reference, images),
    )
    return Measured(parity, cases)


def _compare(image: Image, wanted: NDArray[np.float32], found: NDArray[np.float32], threshold: float) -> Case:
    return Case(image, wanted, found, mask_iou(wanted >= threshold, found >= threshold))


def _verdict_agreement(bundle: Bundle, engine: Backend, reference: Backend, images: Sequence[Image]) -> float:
    found, wanted = (
        [result.verdict for result in Inspector(bundle, backend, Recipe()).inspect_batch(images)]
        for backend in (engine, reference)
    )
    return float(np.mean([a == b for a, b in zip(found, wanted, strict=True)]))


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape, 0..1; 1 where both are empty.

    Unions below SMALL_MASK_PX are counted as SMALL_MASK_PX.
    """
    union = max(int(np.count_nonzero(a | b)), SMALL_MASK_PX)
    return 1 - int(np.count_nonzero(a ^ b)) / union
