"""Filling a network with named tensors, strictly: every name and shape must fit, and the error says which do not."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

SHOWN = 5


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file, what is wrong and what would be right."""


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies `tensors` into `module`. Raises CheckpointError unless names and shapes are the same on both sides."""
    wanted = module.state_dict()
    missing, unexpected = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing or unexpected:
        raise CheckpointError(f"{source} does not fit: missing {some(missing)}; unexpected {some(unexpected)}")
    misfits = {
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if tensors[name].shape != wanted[name].shape
    }
    if misfits:
        raise CheckpointError(f"{source} does not fit: wrong shapes {some(misfits)}")
    with torch.no_grad():
        for name, target in wanted.items():
            target.copy_(tensors[name])


def some(names: Iterable[str]) -> str:
    """A few of the names, and how many more there are."""
    ordered = sorted(names)
    if not ordered:
        return "none"
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more
