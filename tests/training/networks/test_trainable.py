"""Baselines go through the same loop, checkpoints and evaluation as F2P-Net."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from f2pnet.errors import ConfigError, MissingResource
from models.configuration import network_config
from models.decoders.prompts import Prompts
from models.f2pnet import build_network
from training.loop.data import load_data
from training.loop.finish import finish
from training.loop.loop import train
from training.networks.trainable import BASELINES, new_network, read_network, save_network
from training.recipe import TrainingRecipe
from training.score.model import open_network

NANO_PARAMETERS = 3_350_590  # the shipped engine's manifest


def small(network: str, **changes: object) -> TrainingRecipe:
    return TrainingRecipe.model_validate({"network": network, "image_size": 64, "prompted_share": 0.0} | changes)


IMAGENET = "unet_imagenet"
FROM_SCRATCH = sorted(set(BASELINES) - {IMAGENET})


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_a_baseline_is_about_the_size_of_nano_and_answers_with_f2pnets_face(name: str) -> None:
    network = new_network(small(name)).network.eval()
    assert 0.8 < sum(p.numel() for p in network.parameters()) / NANO_PARAMETERS < 1.2
    images = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        answer = network.decode(network.encode(images))  # type: ignore[arg-type]
    assert answer.mask_logits.shape[:2] == (2, 1)
    assert answer.image_logits.shape == (2,)
    assert answer.class_logits is None


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_a_checkpoint_gives_the_same_network_back(name: str, tmp_path: Path) -> None:
    network = new_network(small(name)).network.eval()
    save_network(tmp_path / "best.pth", network, {"step": 7})
    again, facts = read_network(tmp_path / "best.pth")
    assert facts == {"step": 7}
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        assert torch.equal(network(images).mask_logits, again(images).mask_logits)


def test_a_baseline_trains_and_is_scored_like_f2pnet(tiny_recipe: TrainingRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe.model_copy(update={"network": "unet", "prompted_share": 0.0})
    best = train(recipe, load_data(recipe), tmp_path / "exp")
    assert finish(best, recipe)["thresholds"]["pixel"] > 0
    model = open_network(best)
    found = model.predictor(np.zeros((3, recipe.image_size, recipe.image_size, 3), np.uint8))
    assert found["score"].shape == (3,)
    assert found["mask"].min() >= 0
    assert found["mask"].max() <= 1


def test_prompts_are_for_f2pnet_alone() -> None:
    with pytest.raises(ValidationError, match=r"prompted_share is 0\.25, wanted 0: unet takes no prompts"):
        small("unet", prompted_share=0.25)
    network = new_network(small("unet")).network
    with pytest.raises(ValueError, match="unet takes no prompts"):
        network.decode(torch.zeros(1, 16, 8, 8), Prompts.from_boxes(torch.zeros(1, 1, 4)))  # type: ignore[arg-type]


def test_a_baseline_of_another_make_is_refused(tmp_path: Path) -> None:
    save_network(tmp_path / "unet.pth", new_network(small("unet")).network, {})
    content = (tmp_path / "unet.pth").read_bytes().replace(b"unet", b"nuet", 1)
    (tmp_path / "unet.pth").write_bytes(content)
    with pytest.raises((ConfigError, MissingResource), match="nuet"):
        read_network(tmp_path / "unet.pth")


def test_the_u_net_on_imagenet_takes_f2pnets_cnn_weights_and_keeps_their_statistics(tmp_path: Path) -> None:
    if find_spec("segmentation_models_pytorch") is None:
        pytest.skip("segmentation-models-pytorch is not installed: no extra may bring it (docs/adr/0015)")
    torch.manual_seed(3)
    cnn = build_network(network_config("vit_t", 64)).vicnet.cnn
    weights = tmp_path / "cnn.safetensors"
    safetensors.torch.save_file(cnn.state_dict(), weights)

    network, priors = new_network(small(IMAGENET, cnn_weights=weights))

    assert [(prior.part, prior.file) for prior in priors] == [("cnn", "cnn.safetensors")]
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        ours = cnn.eval()((images - 127) / 128)
        theirs = network.train().body.encoder((images - 127) / 128)[-4:]  # type: ignore[union-attr, operator]
        answer = network.eval().decode(network.encode(images))  # type: ignore[arg-type]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)
    assert answer.mask_logits.shape == (1, 1, 64, 64)


def test_without_its_library_the_baseline_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingResource, match="pip install --no-deps segmentation-models-pytorch timm"):
        new_network(small(IMAGENET, cnn_weights="none"))
