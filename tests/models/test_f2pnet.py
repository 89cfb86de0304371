from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import F2PNet, Prompts, build_network, network_config, resize_map
from models.decoders.prompts import ABSENT, BOTTOM_RIGHT, POSITIVE, TOP_LEFT
from tests.models.small_networks import small_network

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
BOXES = torch.tensor(
    [[[3.0, 7.0, 50.0, 60.0], [20.0, 1.0, 127.0, 90.0]], [[9.0, 9.0, 19.0, 29.0], [60.0, 50.0, 90.0, 99.0]]]
)


def test_predictions_have_the_decoders_size(images: Tensor) -> None:
    network = small_network(num_classes=3)

    predictions = network(images, Prompts.from_boxes(BOXES))

    assert predictions.mask_logits.shape == (2, 2, 32, 32)
    assert predictions.pixel_logits.shape == (2, 1, 32, 32)
    assert predictions.image_logits.shape == (2,)
    assert predictions.class_logits is not None
    assert predictions.class_logits.shape == (2, 3, 32, 32)


def test_a_binary_network_has_no_class_map(images: Tensor) -> None:
    assert small_network()(images).class_logits is None


@pytest.mark.parametrize("mode", ["paper", "reference"])
@torch.no_grad()
def test_a_batch_gives_what_its_images_give_one_by_one(mode: str, images: Tensor) -> None:
    network = small_network(mode=mode)

    together = network(images, Prompts.from_boxes(BOXES))
    alone = [network(images[i : i + 1], Prompts.from_boxes(BOXES[i : i + 1])) for i in range(2)]

    for field in ("mask_logits", "pixel_logits", "image_logits"):
        torch.testing.assert_close(getattr(together, field), torch.cat([getattr(p, field) for p in alone]), **CLOSE)


@torch.no_grad()
def test_each_prompt_gives_its_own_mask_whatever_stands_beside_it(images: Tensor) -> None:
    network = small_network()
    encoded = network.encode(images)

    together = network.decode(encoded, Prompts.from_boxes(BOXES)).mask_logits
    second = network.decode(encoded, Prompts.from_boxes(BOXES[:, 1:])).mask_logits

    torch.testing.assert_close(together[:, 1:], second, **CLOSE)


@pytest.mark.parametrize("mode", ["paper", "reference"])
@torch.no_grad()
def test_absent_points_change_nothing(mode: str, images: Tensor) -> None:
    """The static layout: two corners in a row of five, the rest absent."""
    network = small_network(mode=mode)
    points = torch.cat([torch.rand(2, 2, 3, 2) * 128, BOXES.reshape(2, 2, 2, 2)], dim=2)
    labels = torch.tensor([ABSENT, ABSENT, ABSENT, TOP_LEFT, BOTTOM_RIGHT]).expand(2, 2, 5)

    filled, plain = network(images, Prompts(points, labels)), network(images, Prompts.from_boxes(BOXES))

    torch.testing.assert_close(filled.mask_logits, plain.mask_logits, **CLOSE)
    torch.testing.assert_close(filled.image_logits, plain.image_logits, **CLOSE)


@torch.no_grad()
def test_all_kinds_of_prompt_share_one_batch(images: Tensor) -> None:
    """Row 0 is a mask prompt, row 1 a box, row 2 nothing at all."""
    network = small_network()
    encoded = network.encode(images[:1])
    masks = torch.randn(1, 3, 1, 32, 32)
    points = torch.zeros(1, 3, 2, 2)
    points[0, 1] = BOXES[0, 0].reshape(2, 2)
    labels = torch.full((1, 3, 2), ABSENT)
    labels[0, 1] = torch.tensor([TOP_LEFT, BOTTOM_RIGHT])

    mixed = network.decode(encoded, Prompts(points, labels, masks, torch.tensor([[True, False, False]]))).mask_logits

    alone = [
        network.decode(encoded, Prompts.from_masks(masks[:, :1])),
        network.decode(encoded, Prompts.from_boxes(BOXES[:1, :1])),
        network.decode(encoded),
    ]
    torch.testing.assert_close(mixed, torch.cat([p.mask_logits for p in alone], dim=1), **CLOSE)


def gradient_of_mask_loss(network: F2PNet, images: Tensor, part: str) -> float:
    network.zero_grad()
    prompts = Prompts.from_points(torch.full((2, 1, 1, 2), 64.0), torch.full((2, 1, 1), POSITIVE))
    network(images, prompts).mask_logits.square().mean().backward()
    gradients = [p.grad for p in getattr(network.decoder, part).parameters()]
    return max(0.0 if g is None else float(g.abs().max()) for g in gradients)


FUSED_PARTS = ("compress_vit_feat", "embedding_encoder", "embedding_maskfeature", "hf_mlp", "hf_token")


@pytest.mark.parametrize("part", FUSED_PARTS)
def test_in_paper_mode_the_mask_loss_reaches_the_fused_features(part: str, images: Tensor) -> None:
    assert gradient_of_mask_loss(small_network(mode="paper"), images, part) > 0


@pytest.mark.parametrize("part", FUSED_PARTS[:3])
def test_in_reference_mode_it_does_not(part: str, images: Tensor) -> None:
    assert gradient_of_mask_loss(small_network(mode="reference"), images, part) == 0


def test_in_reference_mode_the_pixel_map_reads_the_fused_features(images: Tensor) -> None:
    network = small_network(mode="reference")

    network(images).pixel_logits.square().mean().backward()

    assert network.decoder.compress_vit_feat[0].weight.grad.abs().max() > 0


def test_sams_parts_are_frozen_and_the_rest_is_trained() -> None:
    network = small_network()

    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}

    assert not any(name.startswith(("vicnet.vit.", "prompt_encoder.", "decoder.sam.")) for name in trained)
    assert {"vicnet.evpt.shared.weight", "vicnet.cnn.conv1.weight", "decoder.hf_token.weight"} <= trained


def test_reference_mode_trains_the_tokens_that_the_published_code_replaced() -> None:
    network = small_network(mode="reference")

    trained = {name for name, p in network.named_parameters() if p.requires_grad and name.startswith("decoder.sam")}

    heads = {"decoder.sam.iou_prediction_head.weight", "decoder.sam.iou_prediction_head.bias"}
    assert trained == {"decoder.sam.mask_tokens.weight"} | heads


def test_every_parameter_of_the_nano_size_is_trained() -> None:
    network = build_network(network_config("nano", num_classes=2))
    predictions = network(torch.rand(2, 3, 256, 256) * 255, Prompts.from_masks(torch.randn(2, 1, 1, 64, 64)))
    assert predictions.class_logits is not None
    losses = [predictions.mask_logits, predictions.pixel_logits, predictions.class_logits]

    (sum(loss.square().mean() for loss in losses) + predictions.image_logits.square().mean()).backward()

    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert without == {name for name in without if name.startswith("prompt_encoder.")}


@pytest.mark.parametrize("kind", ["resnet34", "resnet50"])
@torch.no_grad()
def test_larger_cnns_fit_as_well(kind: str, images: Tensor) -> None:
    assert small_network(cnn=kind, cnn_norm="group")(images).mask_logits.isfinite().all()


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images are \(1, 3, 64, 64\).*\(B, 3, 128, 128\)"):
        small_network()(torch.zeros(1, 3, 64, 64))


@torch.no_grad()
def test_resized_maps_keep_the_mean_of_a_flat_map() -> None:
    flat = torch.full((1, 1, 8, 8), 3.0)

    torch.testing.assert_close(resize_map(flat, (33, 17)), torch.full((1, 1, 33, 17), 3.0))
