from __future__ import annotations

import numpy as np
import pytest
import torch

from export.split import DECODER_OUTPUTS, example_prompts, run_split
from models.decoders.prompts import BOTTOM_RIGHT, TOP_LEFT, Prompts
from tests.export.conftest import Exported

pytestmark = pytest.mark.timeout(400)
ENCODED = ("embedding", "features", "detail")


def test_the_halves_answer_every_kind_of_prompt_as_the_network_does(exported: Exported) -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8)
    prompts = example_prompts(exported.network, 3)
    with torch.inference_mode():
        wanted = exported.network(torch.from_numpy(images).permute(0, 3, 1, 2).float(), Prompts(*prompts))
    found = dict(
        zip(
            DECODER_OUTPUTS,
            run_split(exported.bundle.folder, images, [p.numpy() for p in prompts], ENCODED),
            strict=True,
        )
    )
    assert np.allclose(found["mask_logits"], wanted.mask_logits, atol=1e-4)
    assert np.allclose(found["pixel_map"], wanted.pixel_logits[:, 0].sigmoid(), atol=1e-5)
    assert np.allclose(found["score"], wanted.image_logits.sigmoid(), atol=1e-5)


def test_absent_points_and_empty_slots_change_nothing(exported: Exported) -> None:
    """A box in the static layout equals the same box given to the network alone, without any filling."""
    image = np.random.default_rng(3).integers(0, 256, (1, 64, 64, 3), np.uint8)
    points, labels, masks, has_mask = (torch.zeros_like(p) for p in example_prompts(exported.network, 1))
    labels[:] = -2
    points[0, 0, :2] = torch.tensor([[10.0, 12.0], [40.0, 50.0]])
    labels[0, 0, :2] = torch.tensor([TOP_LEFT, BOTTOM_RIGHT])
    given = [p.numpy() for p in (points, labels, masks, has_mask)]
    mask_logits, _, _ = run_split(exported.bundle.folder, image, given, ENCODED)
    with torch.inference_mode():
        boxed = exported.network(
            torch.from_numpy(image).permute(0, 3, 1, 2).float(),
            Prompts.from_boxes(torch.tensor([[[10.0, 12.0, 40.0, 50.0]]])),
        )
    assert np.allclose(mask_logits[:, 0], boxed.mask_logits[:, 0], atol=1e-4)


def test_the_bundle_lists_both_halves_with_their_roles(exported: Exported) -> None:
    assert exported.bundle.artifact("onnx", role="encoder").file == "encoder.onnx"
    assert exported.bundle.artifact("onnx", role="decoder").file == "decoder.onnx"
