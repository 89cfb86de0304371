"""Parity with SAM's own package, on networks small enough to run at once."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from models import Prompts, network_config
from models.sam import Sam, build_sam
from tests.models.small_networks import randomise, small_config

Importer = Callable[[str], ModuleType]


@pytest.fixture
def ours() -> Sam:
    sam = build_sam(small_config())
    randomise(sam)
    return sam.eval()


@pytest.fixture
def theirs(ours: Sam, segment_anything: Importer) -> Any:
    """The published classes with the same weights: that these load strictly shows that the names are SAM's."""
    config = small_config()
    modeling = segment_anything("segment_anything.modeling")
    encoder = modeling.ImageEncoderViT(
        depth=config.depth, embed_dim=config.width, img_size=config.image_size, mlp_ratio=4,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6), num_heads=config.heads, patch_size=16, qkv_bias=True,
        use_rel_pos=True, global_attn_indexes=config.global_blocks, window_size=config.window_size,
        out_chans=config.decoder_width,
    )  # fmt: skip
    prompt_encoder = modeling.PromptEncoder(
        embed_dim=config.decoder_width, image_embedding_size=(config.grid, config.grid),
        input_image_size=(config.image_size, config.image_size), mask_in_chans=16,
    )  # fmt: skip
    transformer = modeling.TwoWayTransformer(
        depth=2, embedding_dim=config.decoder_width, mlp_dim=config.decoder_mlp, num_heads=config.decoder_heads
    )
    decoder = modeling.MaskDecoder(
        num_multimask_outputs=3, transformer=transformer, transformer_dim=config.decoder_width,
        iou_head_depth=3, iou_head_hidden_dim=config.decoder_width,
    )  # fmt: skip
    sam = nn.ModuleDict({"image_encoder": encoder, "prompt_encoder": prompt_encoder, "mask_decoder": decoder})
    sam.load_state_dict(ours.state_dict(), strict=True)
    return sam.eval()


def assert_same_masks(ours: Sam, theirs: Any, prompts: Prompts | None, **their_prompts: Any) -> None:
    embedding = torch.randn(1, 64, 8, 8)
    sparse, dense = theirs.prompt_encoder(**({"points": None, "boxes": None, "masks": None} | their_prompts))
    positions = theirs.prompt_encoder.get_dense_pe()
    masks, quality = theirs.mask_decoder.predict_masks(embedding, positions, sparse, dense)

    predictions = ours.decode(embedding, prompts)

    torch.testing.assert_close(predictions.mask_logits, masks, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(predictions.quality, quality, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_image_encoder_is_sams(ours: Sam, theirs: Any) -> None:
    images = torch.randn(2, 3, 128, 128)

    embedding, global_outputs = ours.image_encoder(images)

    torch.testing.assert_close(embedding, theirs.image_encoder(images), atol=1e-5, rtol=1e-5)
    assert len(global_outputs) == 4


def test_training_and_inference_compute_the_same_embedding(ours: Sam) -> None:
    images = torch.randn(1, 3, 128, 128)

    with_gradients, _ = ours.image_encoder(images)
    with torch.no_grad():
        without, _ = ours.image_encoder(images)

    torch.testing.assert_close(with_gradients.detach(), without, atol=1e-5, rtol=1e-5)


def test_no_prompt_decodes_as_in_sam(ours: Sam, theirs: Any) -> None:
    assert_same_masks(ours, theirs, None)


def test_boxes_decode_as_in_sam(ours: Sam, theirs: Any) -> None:
    boxes = torch.tensor([[3.0, 7.0, 50.0, 60.0], [20.0, 1.0, 127.0, 90.0]])

    assert_same_masks(ours, theirs, Prompts.from_boxes(boxes[None]), boxes=boxes)


def test_points_decode_as_in_sam(ours: Sam, theirs: Any) -> None:
    points = torch.tensor([[[5.0, 9.0], [80.0, 33.0], [0.0, 0.0]]])
    labels = torch.tensor([[1, 0, -1]])

    assert_same_masks(ours, theirs, Prompts.from_points(points[None], labels[None]), points=(points, labels))


def test_a_box_with_points_decodes_as_in_sam(ours: Sam, theirs: Any) -> None:
    points, labels, boxes = (
        torch.tensor([[[40.0, 41.0]]]),
        torch.tensor([[1]]),
        torch.tensor([[30.0, 30.0, 60.0, 60.0]]),
    )

    prompts = Prompts.from_boxes(boxes[None], points[None], labels[None])

    assert_same_masks(ours, theirs, prompts, points=(points, labels), boxes=boxes)


def test_masks_decode_as_in_sam(ours: Sam, theirs: Any) -> None:
    masks = torch.randn(2, 1, 32, 32)

    assert_same_masks(ours, theirs, Prompts.from_masks(masks[None]), masks=masks)


def test_a_network_without_sams_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="nano in mode paper lacks SAM's own heads"):
        build_sam(network_config("nano"))


def test_tensors_of_prompts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"points are .* labels .* must be"):
        Prompts(torch.zeros(1, 2, 3, 2), torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="masks are"):
        Prompts(torch.zeros(1, 2, 0, 2), torch.zeros(1, 2, 0), torch.zeros(1, 3, 1, 8, 8))
