"""The network as a line runs it: without prompts, static shapes, pixels in and probabilities out.

A wrapper for export, so that the network itself stays free of export's needs.
"""

import torch
from torch import Tensor, nn

from models.f2pnet import F2PNet
from models.good_only import GoodOnlyNetwork
from models.prompt_free import second_mask


def deployed(network: F2PNet | GoodOnlyNetwork) -> "AutoNetwork | GoodOnlyNetwork":
    """What is exported of a network, in evaluation mode; `output_names` names its outputs."""
    return network.eval() if isinstance(network, GoodOnlyNetwork) else AutoNetwork(network).eval()


class AutoNetwork(nn.Module):
    """(B, S, S, 3) uint8 RGB -> the tensors of `output_names`, in their order.

    mask (B, M, M): probability of the mask without prompts, or of the second pass where the configuration has one.
    pixel_map (B, M, M): probability of each pixel being defective.
    score (B,): probability of the image being defective.
    class_map (B, classes, M, M), where the network has classes: softmax over the classes of a defective pixel.
    """

    def __init__(self, network: F2PNet) -> None:
        super().__init__()
        self.network = network

    @property
    def output_names(self) -> tuple[str, ...]:
        names = ("mask", "pixel_map", "score")
        return (*names, "class_map") if self.network.config.num_classes else names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        encoded = self.network.encode(images.permute(0, 3, 1, 2).to(torch.float32))
        predictions = self.network.decode(encoded)
        if self.network.config.second_pass == "none":  # noqa: S105 (no password)
            mask_logits = predictions.mask_logits[:, 0]
        else:
            mask_logits = second_mask(self.network, encoded, predictions)
        outputs = (
            mask_logits.sigmoid(),
            predictions.pixel_logits[:, 0].sigmoid(),
            predictions.image_logits.sigmoid(),
        )
        if predictions.class_logits is None:
            return outputs
        return (*outputs, predictions.class_logits.softmax(dim=1))
