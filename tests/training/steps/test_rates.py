"""Learning rates by part, on the network that has pretrained parts and on a baseline with an encoder."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from models.configuration import network_config
from models.f2pnet import build_network
from training.recipe import LearningRates
from training.steps.rates import parameter_groups


def numbers(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters()}


def test_each_part_gets_its_factor_and_all_else_the_full_rate() -> None:
    network = build_network(network_config("nano", 64))

    groups = parameter_groups(network, LearningRates(vit=0.1, cnn=0.3, decoder=0.0))

    by_factor = {group["factor"]: {id(parameter) for parameter in group["params"]} for group in groups}
    assert set(by_factor) == {1.0, 0.3, 0.1}
    assert by_factor[0.1] == numbers(network.vicnet.vit)
    assert by_factor[0.3] == numbers(network.vicnet.cnn)
    assert numbers(network.vicnet.evpt) <= by_factor[1.0]
    frozen = numbers(network.decoder.sam) | numbers(network.prompt_encoder)
    assert not frozen & set().union(*by_factor.values())
    assert not any(parameter.requires_grad for parameter in network.decoder.sam.parameters())


def test_a_factor_thaws_what_the_size_freezes_and_none_keeps_it() -> None:
    config = replace(network_config("nano", 64), freeze_sam=True)
    kept, thawed = build_network(config), build_network(config)

    parameter_groups(kept, LearningRates())
    parameter_groups(thawed, LearningRates(vit=0.5))

    assert not any(parameter.requires_grad for parameter in kept.vicnet.vit.parameters())
    assert all(parameter.requires_grad for parameter in thawed.vicnet.vit.parameters())


def test_heads_that_no_output_reads_are_left_alone() -> None:
    network = build_network(replace(network_config("nano", 64), sam_heads=True))

    trained = {id(p) for group in parameter_groups(network, LearningRates()) for p in group["params"]}

    assert not trained & numbers(network.decoder.sam.output_hypernetworks_mlps)


def test_a_baselines_encoder_is_its_cnn() -> None:
    network = nn.Module()
    network.body = nn.Module()
    network.body.encoder = nn.Conv2d(3, 4, 1)
    network.head = nn.Linear(2, 2)

    groups = parameter_groups(network, LearningRates(cnn=0.25))

    assert [(group["factor"], len(group["params"])) for group in groups] == [(1.0, 2), (0.25, 2)]
    assert torch.is_tensor(groups[0]["params"][0])
