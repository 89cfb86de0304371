"""The network as a line runs it: without prompts, static shapes, pixels in and probabilities out.

A wrapper for export, so that the network itself stays free of export's needs.
"""

import torch
from torch import Tensor, nn

from models.afdec import Predictions
from models.f2pnet import F2PNet
from models.prompt_free import SECOND_PASSES, CoarsePrompts, SecondPass, mask_prompt, peak_points, tile_boxes, union


class AutoNetwork(nn.Module):
    """(B, S, S, 3) uint8 RGB -> the tensors of `output_names`, in their order.

    mask (B, M, M): probability of the mask without prompts, or of the second pass where one is asked for.
    pixel_map (B, M, M): probability of each pixel being defective.
    score (B,): probability of the image being defective.
    class_map (B, classes, M, M), where the network has classes: softmax over the classes of a defective pixel.

    `second_pass` decodes once more with prompts made from the pixel map: the map itself (`mask`), its `points`
    highest peaks, or the boxes of what lies above `threshold` in `tiles` x `tiles` tiles.
    """

    def __init__(
        self,
        network: F2PNet,
        second_pass: SecondPass | None = None,
        *,
        points: int = 4,
        tiles: int = 2,
        threshold: float = 0.5,
    ) -> None:
        super().__init__()
        if second_pass is not None and second_pass not in SECOND_PASSES:
            raise ValueError(f"second_pass is {second_pass!r}; it must be None or one of {', '.join(SECOND_PASSES)}")
        self.network = network
        self.second_pass = second_pass
        self.points = points
        self.tiles = tiles
        self.threshold = threshold

    @property
    def output_names(self) -> tuple[str, ...]:
        names = ("mask", "pixel_map", "score")
        return (*names, "class_map") if self.network.config.num_classes else names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        encoded = self.network.encode(images.permute(0, 3, 1, 2).to(torch.float32))
        predictions = self.network.decode(encoded)
        mask_logits = predictions.mask_logits[:, 0]
        if self.second_pass is not None:
            prompts, valid = self._coarse_prompts(self.second_pass, predictions)
            mask_logits = union(self.network.decode(encoded, prompts).mask_logits, valid)
        outputs = (
            mask_logits.sigmoid(),
            predictions.pixel_logits[:, 0].sigmoid(),
            predictions.image_logits.sigmoid(),
        )
        if predictions.class_logits is None:
            return outputs
        return (*outputs, predictions.class_logits.softmax(dim=1))

    def _coarse_prompts(self, kind: SecondPass, predictions: Predictions) -> CoarsePrompts:
        side = self.network.config.image_size
        if kind == "mask":
            return mask_prompt(predictions.pixel_logits)
        if kind == "points":
            return peak_points(predictions.pixel_logits, side, self.points, self.threshold)
        return tile_boxes(predictions.pixel_logits, side, self.tiles, self.threshold)
