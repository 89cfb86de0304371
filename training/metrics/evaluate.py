"""Prompt-free evaluation of anything that answers like an exported engine: maps first, figures from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from f2pnet.pictures.preprocess import uncovered
from models.deploy import deployed
from models.f2pnet import F2PNet
from models.good_only import GoodOnlyNetwork
from training.data.images import Pixels
from training.metrics.counts import Counts, count, roc_auc

MapName = Literal["mask", "pixel_map"]
Map = NDArray[np.float32]
Maps = Map | Sequence[Map]
"""N maps of one size, (N, h, w), or of any."""
Predictor = Callable[[Pixels], Mapping[str, NDArray[np.float32]]]
"""(B, S, S, 3) uint8 RGB to the outputs of an engine: mask, pixel_map (B, h, w), score (B,), probabilities."""


@dataclass(frozen=True)
class Predicted:
    """What the network says of N images: probabilities `mask` and `pixel_map`, `score` (N,)."""

    mask: Maps
    pixel_map: Maps
    score: Map

    def map(self, name: MapName) -> Maps:
        return self.mask if name == "mask" else self.pixel_map


def network_predictor(network: F2PNet | GoodOnlyNetwork) -> Predictor:
    """The checkpoint itself, with the outputs and input of an exported engine."""
    ready = deployed(network)
    device = next(network.parameters()).device

    @torch.inference_mode()
    def predict_batch(pixels: Pixels) -> Mapping[str, NDArray[np.float32]]:
        outputs = ready(torch.from_numpy(pixels).to(device))
        return {name: value.cpu().numpy() for name, value in zip(ready.output_names, outputs, strict=True)}

    return predict_batch


def predict(predictor: Predictor, images: Sequence[Pixels], batch: int) -> Predicted:
    """Run images (S, S, 1 or 3) of the network's size through the predictor, at most `batch` at once."""
    answers = []
    for start in range(0, len(images), batch):
        chosen = images[start : start + batch]
        answers.append(predictor(np.stack([np.broadcast_to(image, (*image.shape[:2], 3)) for image in chosen])))
    return Predicted(*(np.concatenate([answer[name] for answer in answers]) for name in ("mask", "pixel_map", "score")))


def without_filling(predicted: Predicted, masks: Sequence[Pixels], size: int) -> Predicted:
    """The maps over images of the masks' sizes that were letterboxed to `size`, without the filling beside them."""

    def of_images(maps: Maps) -> list[Map]:
        return [uncovered(found, mask.shape, size, "letterbox") for found, mask in zip(maps, masks, strict=True)]

    return Predicted(of_images(predicted.mask), of_images(predicted.pixel_map), predicted.score)


def without_ignored(predicted: Predicted, ignored: Sequence[Pixels | None]) -> Predicted:
    """The same answers with 0 wherever pixels of the true mask are ignored (H, W; 0 or 1), at the size of that mask."""
    if all(each is None for each in ignored):
        return predicted

    def cleared(maps: Maps) -> list[Map]:
        return [
            found if unseen is None else np.where(unseen > 0, np.float32(0), map_at(found, unseen.shape))
            for found, unseen in zip(maps, ignored, strict=True)
        ]

    return Predicted(cleared(predicted.mask), cleared(predicted.pixel_map), predicted.score)


def map_at(probabilities: Map, shape: tuple[int, ...]) -> Map:
    """A map (h, w) at another size (H, W), bilinear."""
    if probabilities.shape == shape:
        return probabilities
    return np.asarray(cv2.resize(probabilities, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def pixel_counts(maps: Maps, masks: Sequence[Pixels], threshold: float) -> list[Counts]:
    """One confusion matrix for each image, at the size of its true mask."""
    return [count(map_at(found, mask.shape) >= threshold, mask) for found, mask in zip(maps, masks, strict=True)]


def figures(
    predicted: Predicted, name: MapName, masks: Sequence[Pixels], labels: Sequence[int], threshold: float
) -> dict[str, float]:
    """Pixel figures of one map at one threshold, and the ranking of the image score.

    `iou`, `precision`, `recall`, `f1` are of the pooled foreground pixels; `iou_per_image` is the mean over the
    defective images; `image_auroc` is there where good and defective images are.
    """
    each = pixel_counts(predicted.map(name), masks, threshold)
    pooled = sum(each, Counts())
    of_defective = [counts.iou for counts, label in zip(each, labels, strict=True) if label]
    sheet = {"iou": pooled.iou, "precision": pooled.precision, "recall": pooled.recall, "f1": pooled.f1}
    if of_defective:
        sheet["iou_per_image"] = float(np.mean(of_defective))
    if (auroc := roc_auc(predicted.score, labels)) is not None:
        sheet["image_auroc"] = auroc
    return sheet


def class_ious(
    predictor: Predictor, images: Sequence[Pixels], classes: Sequence[Pixels], names: Sequence[str]
) -> dict[str, float]:
    """IoU of each class over the pixels of all images, by name; 0 where a class is neither there nor found.

    `classes` (S, S) are 0 for good pixels and n + 1 for `names[n]`. A pixel is found to be of a class where the mask
    is at least 0.5 and the class map says so.
    """
    confusion = np.zeros((len(names) + 1,) * 2, np.int64)
    for image, truth in zip(images, classes, strict=True):
        answer = predictor(np.broadcast_to(image, (1, *image.shape[:2], 3)).copy())
        found = map_at(answer["mask"][0], truth.shape) >= 0.5
        maps = np.stack([map_at(one, truth.shape) for one in answer["class_map"][0]])
        said = np.where(found, 1 + maps.argmax(axis=0), 0)
        confusion += np.bincount(truth.ravel() * len(confusion) + said.ravel(), minlength=confusion.size).reshape(
            confusion.shape
        )
    right = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - right
    return {name: float(right[n] / max(either[n], 1)) for n, name in enumerate(names, start=1)}
