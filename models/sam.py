"""SAM itself, made of the parts that F2P-Net shares with it; its state dict is that of an official checkpoint."""

from typing import NamedTuple

from torch import Tensor, nn

from models.configuration import NetworkConfig
from models.decoders.prompt_encoder import PromptEncoder
from models.decoders.prompts import Prompts
from models.decoders.sam_decoder import SamDecoder, repeat_rows
from models.encoders.tiny_vit import TinyViT
from models.encoders.vit import ImageEncoderViT
from models.f2pnet import build_sam_decoder, build_vit


class SamPredictions(NamedTuple):
    mask_logits: Tensor
    """(B * N, 4, M, M), SAM's four masks of each prompt"""
    quality: Tensor
    """(B * N, 4), the IoU that SAM expects of each"""


class Sam(nn.Module):
    def __init__(self, vit: ImageEncoderViT | TinyViT, prompt_encoder: PromptEncoder, decoder: SamDecoder) -> None:
        super().__init__()
        self.image_encoder = vit
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = decoder

    def decode(self, embedding: Tensor, prompts: Prompts | None = None) -> SamPredictions:
        """`embedding` (B, E, H, W) as `image_encoder` gives it for a normalised image."""
        count = 1 if prompts is None else prompts.labels.shape[1]
        rows = repeat_rows(embedding, count) + self.prompt_encoder.dense(prompts)
        tokens = self.mask_decoder.own_tokens().expand(rows.shape[0], -1, -1)
        token_mask = None
        sparse, present = self.prompt_encoder.sparse(prompts)
        if sparse is not None and present is not None:
            tokens, token_mask = self.mask_decoder.with_prompts(tokens, sparse, present)
        read, features = self.mask_decoder(rows, self.prompt_encoder.dense_positions(), tokens, token_mask)
        return SamPredictions(self.mask_decoder.masks(read, features), self.mask_decoder.quality(read))


def build_sam(config: NetworkConfig) -> Sam:
    """SAM of this size; the configuration's `mode` must be `paper`, which keeps SAM's own heads."""
    if config.mode != "paper" or not config.sam_heads:
        raise ValueError(f"{config.sam_type} in mode {config.mode} lacks SAM's own heads; take a vit_* in mode paper")
    prompt_encoder = PromptEncoder(config.image_size, config.grid, config.decoder_width)
    return Sam(build_vit(config), prompt_encoder, build_sam_decoder(config))
