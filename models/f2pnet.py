"""F2P-Net: few-shot defect segmentation on SAM, after the paper's figure, read from left to right.

    image --> ViCNet (ViT + CNN, prompted by EVPT) --> AFDec (with prompts, or none) --> mask, pixel map, score

`encode` is the long part and sees no prompt; `decode` is short and may be repeated on what `encode` gave.
"""

from typing import Any

from torch import Tensor, nn

from models import preprocessing
from models.configuration import NetworkConfig
from models.decoders.afdec import AFDec, Encoded, Predictions
from models.decoders.prompt_encoder import PromptEncoder
from models.decoders.prompts import Prompts
from models.decoders.sam_decoder import SamDecoder, sam_quality_head
from models.decoders.transformer import TwoWayTransformer
from models.encoders.efficientnet import WIDTHS as LITE0_WIDTHS
from models.encoders.efficientnet import EfficientNetLite0
from models.encoders.evpt import EVPT
from models.encoders.highpass import HighPass, cut_frequency
from models.encoders.resnet import ResNet, stage_widths
from models.encoders.staged_evpt import StagedEVPT
from models.encoders.staged_vicnet import StagedViCNet
from models.encoders.tiny_vit import TinyViT
from models.encoders.vicnet import ViCNet
from models.encoders.vit import ImageEncoderViT


class F2PNet(nn.Module):
    def __init__(
        self, config: NetworkConfig, vicnet: ViCNet | StagedViCNet, prompt_encoder: PromptEncoder, decoder: AFDec
    ) -> None:
        super().__init__()
        self.config = config
        self.vicnet = vicnet
        self.prompt_encoder = prompt_encoder
        self.decoder = decoder

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> Predictions:
        """(B, 3, S, S) float RGB in 0..255, S the configured image size. Without prompts: one mask of all defects."""
        return self.decode(self.encode(images), prompts)

    def encode(self, images: Tensor, *, normalise: bool = True) -> Encoded:
        """Everything that no prompt changes. `normalise=False` repeats a defect of the published code (see
        `models.preprocessing`)."""
        side = self.config.image_size
        if images.dim() != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images are {tuple(images.shape)}; this network takes (B, 3, {side}, {side})")
        prepared = preprocessing.normalise(images) if normalise else images
        for_cnn = preprocessing.normalise_for_cnn(images, self.config.cnn)
        return self.decoder.prepare(self.vicnet(prepared, self.decoder.hf_token.weight, for_cnn))

    def decode(self, encoded: Encoded, prompts: Prompts | None = None) -> Predictions:
        """The masks of these prompts, N for each image; without prompts one mask of all defects."""
        image_code, dense = self.prompt_encoder.dense_positions(), self.prompt_encoder.dense(prompts)
        sparse, present = self.prompt_encoder.sparse(prompts)
        return self.decoder(encoded, image_code, dense, sparse, present)  # type: ignore[no-any-return]

    def sam_parameters(self) -> list[nn.Parameter]:
        """The parameters that come from SAM; frozen where the configuration says so."""
        parts: list[nn.Module] = [self.vicnet.vit, self.prompt_encoder, self.decoder.sam]
        own = {id(parameter) for parameter in self._retrained_sam_parameters()}
        return [p for part in parts for p in part.parameters() if id(p) not in own]

    def _retrained_sam_parameters(self) -> list[nn.Parameter]:
        """The published code replaces SAM's mask tokens and quality head by fresh ones and trains them."""
        if self.config.mode == "paper":
            return []
        sam = self.decoder.sam
        return [*sam.mask_tokens.parameters(), *(sam.iou_prediction_head or nn.Identity()).parameters()]


def build_network(config: NetworkConfig) -> F2PNet:
    """A network of this configuration with fresh weights."""
    cnn, cnn_widths = build_cnn(config)
    decoder = AFDec(
        build_sam_decoder(config),
        mode=config.mode,
        early_width=config.vit_widths[1] if config.is_staged else config.width,
        early_upscaling=2 if config.is_staged else 4,
        width=config.decoder_width,
        feature_width=config.feature_width,
        fused="afdec" not in config.without,
        detail_widths={stage: cnn_widths[stage] for stage in config.detail_stages if "cnn" not in config.without},
        detail_width=config.detail_width,
        score_sees_map=config.score_sees_map,
        score_sees_peak=config.score_sees_peak,
        num_classes=config.num_classes,
    )
    network = F2PNet(
        config,
        build_vicnet(config, cnn, cnn_widths),
        PromptEncoder(config.image_size, config.grid, config.decoder_width),
        decoder,
    )
    if config.freeze_sam:
        for parameter in network.sam_parameters():
            parameter.requires_grad_(False)
    else:
        network.vicnet.vit.apply(_initialise_for_training_from_scratch)
    return network


def build_highpass(config: NetworkConfig) -> HighPass:
    """The cut refers to the images' native size where that is known and smaller: above it there is no detail."""
    reference_side = min(config.native_size or config.image_size, config.image_size)
    return HighPass(config.image_size, cut_frequency(reference_side, reference_side, config.highpass_rate))


def build_cnn(config: NetworkConfig) -> tuple[nn.Module, list[int]]:
    """The auxiliary CNN, and the channels of its four stages."""
    if config.cnn == "tf_efficientnet_lite0":
        return EfficientNetLite0(config.cnn_norm), list(LITE0_WIDTHS)
    return ResNet(config.cnn, config.cnn_width, config.cnn_norm), stage_widths(config.cnn, config.cnn_width)


def build_vicnet(config: NetworkConfig, cnn: nn.Module, cnn_widths: list[int]) -> ViCNet | StagedViCNet:
    """The encoder with everything that steers it."""
    prompts: dict[str, Any] = {
        "highpass": build_highpass(config),
        "grid": config.grid,
        "prompt_width": config.prompt_width,
        "token_width": config.decoder_width,
        "hf_hidden": config.hf_hidden,
    }
    vit = build_vit(config)
    if isinstance(vit, TinyViT):
        attending = config.vit_depths[1:]
        evpt = StagedEVPT(
            patch_width=config.vit_widths[0],
            widths=config.vit_widths[1:],
            stage_of_prompt=[stage for stage, depth in enumerate(attending) for _ in range(depth)],
            **prompts,
        )
        return StagedViCNet(vit, cnn, evpt, cnn_widths, config.vit_widths, config.vit_depths, config.without)
    plain_evpt = EVPT(patch_size=config.patch_size, width=config.width, depth=config.depth, **prompts)
    return ViCNet(vit, cnn, plain_evpt, cnn_widths, config.width, config.without)


def build_vit(config: NetworkConfig) -> ImageEncoderViT | TinyViT:
    if config.is_staged:
        return TinyViT(
            widths=config.vit_widths,
            depths=config.vit_depths,
            heads=config.vit_heads,
            windows=config.vit_windows,
            output_width=config.decoder_width,
        )
    return ImageEncoderViT(
        grid=config.grid,
        patch_size=config.patch_size,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        global_blocks=config.global_blocks,
        window_size=config.window_size,
        output_width=config.decoder_width,
    )


def build_sam_decoder(config: NetworkConfig) -> SamDecoder:
    width = config.decoder_width
    transformer = TwoWayTransformer(config.decoder_depth, width, config.decoder_heads, config.decoder_mlp)
    quality_head: nn.Module | None = None
    if config.mode == "reference":
        quality_head = nn.Linear(width, 3)
    elif config.sam_heads:
        quality_head = sam_quality_head(width)
    mask_heads = 4 if config.sam_heads else 0
    return SamDecoder(transformer, width, config.feature_width, mask_heads, quality_head)


def _initialise_for_training_from_scratch(module: nn.Module) -> Any:
    """The usual start of a ViT: small weights, so that every block begins close to the identity."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
