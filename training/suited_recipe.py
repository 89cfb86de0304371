"""Which named recipe `f2p train` takes when none is named: by what the run can start from, and how much data it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.configuration import network_config
from models.f2pnet import F2PNet
from training.networks import read_network
from training.pretrained.catalogue import for_part, locate, pretrained_folder
from training.records import load_entries

FINE_TUNED = "vit_t"
"""The size whose recipes start from pretrained weights on any machine."""
FEW_IMAGES = 200
"""Training lists up to this length count as few."""


def starts_pretrained(sam_type: str | None, start_from: Path | None, pretrained: Path | None) -> bool:
    """Whether a run of this size, or from this checkpoint, is a fine-tuning of vit_t with all of its weights here."""
    if start_from is not None:
        network = read_network(start_from)[0]
        return isinstance(network, F2PNet) and network.config.sam_type == FINE_TUNED and sam_type in (None, FINE_TUNED)
    if sam_type is not None:
        return sam_type == FINE_TUNED
    config, folder = network_config(FINE_TUNED), pretrained_folder(pretrained)
    parts = (for_part("sam", FINE_TUNED), for_part("cnn", config.cnn))
    return all(any(locate(entry, folder) is not None for entry in entries) for entries in parts)


def fine_tuning(folders: Sequence[Path], train_list: str, shots: int | None) -> str:
    """`few-shot` for a few-shot list or short training lists, `fine-tune` for more images."""
    if shots is not None:
        return "few-shot"
    return (
        "few-shot" if sum(len(load_entries(folder / train_list)) for folder in folders) <= FEW_IMAGES else "fine-tune"
    )
