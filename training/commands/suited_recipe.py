"""Which named recipe `f2p train` takes when none is named: by what the run can start from, and how much data it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.configuration import network_config
from models.f2pnet import F2PNet
from training.data.records import load_entries
from training.networks.trainable import read_network
from training.pretrained.catalogue import for_part, locate, pretrained_folder

FINE_TUNED = "vit_t"
"""The size whose recipes start from pretrained weights on any machine."""
FEW_IMAGES = 200
"""Training lists up to this length count as few."""


def suited_recipe(*, pretrained: bool, few: bool, sam_type: str | None) -> str:
    """A name of `NAMED` (named_recipes.py). `pretrained`: the run fine-tunes vit_t; `few`: it has few images."""
    if pretrained:
        return "few-shot" if few else "fine-tune"
    return "few-shot-from-scratch" if few and sam_type in (None, "nano") else "default"


def starts_pretrained(sam_type: str | None, start_from: Path | None, pretrained: Path | None) -> bool:
    """Whether a run of this size, or from this checkpoint, fine-tunes vit_t.

    Without either, it does where all of vit_t's weights are here. With `sam_type` vit_t it does in any case, and a run
    that misses them is refused later with what brings them.
    """
    if start_from is not None:
        network = read_network(start_from)[0]
        return isinstance(network, F2PNet) and network.config.sam_type == FINE_TUNED and sam_type in (None, FINE_TUNED)
    if sam_type is not None:
        return sam_type == FINE_TUNED
    config, folder = network_config(FINE_TUNED), pretrained_folder(pretrained)
    parts = (for_part("sam", FINE_TUNED), for_part("cnn", config.cnn))
    return all(any(locate(entry, folder) is not None for entry in entries) for entries in parts)


def has_few_images(folders: Sequence[Path], train_list: str, shots: int | None) -> bool:
    """A few-shot list, or training lists that are short together. Raises MissingResource without those lists."""
    return shots is not None or sum(len(load_entries(folder / train_list)) for folder in folders) <= FEW_IMAGES
