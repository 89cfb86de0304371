"""Learning rates by part: what comes pretrained moves slowly, what is new moves fast, and some parts not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from models.f2pnet import F2PNet
from training.recipe import LearningRates


def parameter_groups(network: nn.Module, rates: LearningRates) -> list[dict[str, Any]]:
    """The optimiser's groups, one for each `factor` of the learning rate; freezes what has the factor 0.

    A part without a factor keeps what its size prescribes: SAM's weights are frozen in SAM's own sizes, and everything
    else is trained at the full rate.
    """
    factors: dict[int, float] = {}
    for factor, part in _parts(network, rates):
        if factor is not None:
            part.requires_grad_(factor > 0)
            factors |= {id(parameter): factor for parameter in part.parameters()}
    _freeze_unread(network)
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": members, "factor": factor} for factor, members in sorted(groups.items(), reverse=True)]


def _parts(network: nn.Module, rates: LearningRates) -> Iterator[tuple[float | None, nn.Module]]:
    if isinstance(network, F2PNet):
        yield rates.vit, network.vicnet.vit
        yield rates.cnn, network.vicnet.cnn
        yield rates.decoder, network.decoder.sam
        yield rates.decoder, network.prompt_encoder
    elif isinstance(encoder := getattr(getattr(network, "body", None), "encoder", None), nn.Module):
        yield rates.cnn, encoder


def _freeze_unread(network: nn.Module) -> None:
    """SAM's own mask and quality heads, which no output reads: left alone by the optimiser and its weight decay."""
    if isinstance(network, F2PNet) and network.config.mode == "paper":
        network.decoder.sam.output_hypernetworks_mlps.requires_grad_(False)
        if network.decoder.sam.iou_prediction_head is not None:
            network.decoder.sam.iou_prediction_head.requires_grad_(False)
