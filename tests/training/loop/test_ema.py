from __future__ import annotations

import torch
from torch import nn

from training.loop.ema import AveragedWeights


def test_the_average_follows_its_formula_after_the_first_steps() -> None:
    source = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(source.weight)
    averaged = AveragedWeights(source, decay=0.5)
    nn.init.ones_(source.weight)
    for step in (100, 101):
        averaged.follow(source, step)
    assert averaged.network.weight.item() == 0.75


def test_counters_are_copied_and_the_average_takes_no_gradient() -> None:
    source = nn.BatchNorm1d(2)
    averaged = AveragedWeights(source, decay=0.5)
    source.train()(torch.randn(4, 2))
    averaged.follow(source, 0)
    assert averaged.network.num_batches_tracked == 1
    assert not averaged.network.training
    assert not any(parameter.requires_grad for parameter in averaged.network.parameters())
