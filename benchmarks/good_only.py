"""`f2p train --good-only` beside PatchCore, on the same CNN, image size and lists: AUROC, recall at 5 % false rejects.

    python benchmarks/good_only.py --dataset ../shared/data/MT --train-list train_clean.json

PatchCore is written after its paper (Roth et al., CVPR 2022) and anomalib's implementation: stages of stride 8 and 16
of a CNN, averaged over 3 x 3 places, a coreset of a hundredth of all places chosen in a random projection, the distance
of the most unusual place, weighted by how crowded its nearest remembered place is. It stands here twice, on
EfficientNet-Lite0 and on SAM's TinyViT (stage of stride 8, and embedding). anomalib itself is not installed: it needs
torchvision and Lightning. All learn from the good images of the training list alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.good_only import GoodOnlyNetwork, load_good_only
from models.place_memory import coreset, places_of
from training.data.images import load_images
from training.data.records import read_records
from training.loop.good_only import _batches, good_records, train_good_only
from training.metrics.counts import recall_at, roc_auc, tradeoff
from training.recipe import DatasetChoice, TrainingRecipe
from training.score.sheet import read_fitted

ALLOWED_FALSE_REJECTS = 0.05
PATCHCORE_STAGES = (1, 2)
CORESET_SHARE = 0.01
NEIGHBOURS = 9
CHUNK = 64


def main() -> None:
    """Print a row for each as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--train-list", default="train.json")
    parser.add_argument("--test-list", default="test.json")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--pretrained-dir", type=Path)
    options = parser.parse_args()
    choice = DatasetChoice(path=options.dataset, train_list=options.train_list)
    recipe = TrainingRecipe(image_size=options.image_size, resize="letterbox", datasets=(choice,))
    records = read_records(options.dataset, options.test_list)
    labels = [record.label for record in records]
    images, _, _ = read_fitted(records, recipe.image_size, recipe.resize)
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        train_good_only(recipe, Path(scratch), options.pretrained_dir, ALLOWED_FALSE_REJECTS, lambda text: None)
        ours_s = time.monotonic() - began
        network, _ = load_good_only(Path(scratch, "best.pth"))
    rows = []
    with torch.inference_mode():
        ours = np.concatenate([network(batch)[2].numpy() for batch in _batches(images)])
        rows.append(("good-only", ours, ours_s, sum(memory.bank.nbytes for memory in network.memories.values())))
        good = load_images(good_records(options.dataset, options.train_list), recipe.image_size, resize=recipe.resize)
        for encoder in ("cnn", "vit"):
            began = time.monotonic()
            memory = patchcore_memory(network, encoder, good.images, recipe.seed)
            theirs_s = time.monotonic() - began
            theirs = [patchcore_scores(network, encoder, memory, batch).numpy() for batch in _batches(images)]
            rows.append((f"PatchCore on the {encoder}", np.concatenate(theirs), theirs_s, memory.nbytes))
    for name, scores, seconds, size_bytes in rows:
        curve = tradeoff(scores - scores.min(), labels, np.ones((1, len(labels))))
        row = {
            "name": name,
            "dataset": options.dataset.name,
            "train_list": options.train_list,
            "image_size": recipe.image_size,
            "image_auroc": round(float(roc_auc(scores, labels) or 0), 4),
            "recall_at_fr05": round(float(recall_at(curve, ALLOWED_FALSE_REJECTS)[0]), 4),
            "good_images": len(good),
            "tested_images": len(labels),
            "training_s": round(seconds, 1),
            "memory_mb": round(size_bytes / 1e6, 2),
        }
        print(json.dumps(row))


def patchcore_places(network: GoodOnlyNetwork, encoder: str, images: Tensor) -> Tensor:
    """(B, N, C) the features that PatchCore compares."""
    maps = network.cnn_maps(images)
    if encoder == "vit":
        return network.places(images, maps)["vit"]
    return places_of([maps[stage] for stage in PATCHCORE_STAGES], network.config.map_size)


def patchcore_memory(network: GoodOnlyNetwork, encoder: str, images: list[np.ndarray], seed: int) -> Tensor:
    """(M, C) the coreset of all places of the images."""
    places = torch.cat([patchcore_places(network, encoder, batch).flatten(0, 1) for batch in _batches(images)])
    return places[coreset(places, max(1, round(CORESET_SHARE * len(places))), seed)]


def patchcore_scores(network: GoodOnlyNetwork, encoder: str, memory: Tensor, batch: Tensor) -> Tensor:
    """(B,) equations 6 and 7 of the paper: the largest distance, less where its neighbour has no close neighbours."""
    scores = []
    for places in patchcore_places(network, encoder, batch):
        nearest = torch.cat([torch.cdist(part, memory).min(1).values for part in places.split(CHUNK)])
        place = places[nearest.argmax()][None]
        closest = memory[torch.cdist(place, memory).argmin()][None]
        around = memory[torch.cdist(closest, memory)[0].topk(min(NEIGHBOURS, len(memory)), largest=False).indices]
        weight = 1 - torch.softmax(torch.cdist(place, around)[0], 0)[0]
        scores.append(weight * nearest.max())
    return torch.stack(scores)


if __name__ == "__main__":
    main()
