"""All numbers of the architecture, on one page.

A `NetworkConfig` describes a network completely: `build_network(config)` needs nothing else, and a
checkpoint carries it as JSON. `network_config(sam_type)` looks a size up in `SIZES`.
The sizes `vit_b`, `vit_l` and `vit_h` have SAM's dimensions and `vit_t` MobileSAM's, so that official checkpoints
fit; `nano` and `tiny` are ours, for the edge, made of the same modules.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

Mode = Literal["paper", "reference"]
ResNetKind = Literal["resnet18", "resnet34", "resnet50"]
CnnKind = Literal[ResNetKind, "tf_efficientnet_lite0"]
CnnNorm = Literal["batch", "fixed", "group"]
"""`fixed` keeps the statistics that pretrained weights bring, whatever the batch."""
SecondPass = Literal["none", "mask", "points", "boxes"]
"""Which prompts the network makes from its own pixel map for a second decoding."""
Module = Literal["cnn", "evpt", "afdec"]
"""What a network can pass by, to see what it brings."""

CNN_STRIDES = (4, 8, 16, 32)
MASK_TOKENS = 4


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """One F2P-Net. Lengths are pixels of the network input unless the name says otherwise."""

    sam_type: str
    mode: Mode = "paper"
    """`paper`: the mask comes from the fused features. `reference`: as the published code computes it."""
    image_size: int = 1024
    num_classes: int = 0
    """Defect classes of the class map; 0: no class map (the paper's binary network)."""

    # ViT: SAM's image encoder
    patch_size: int = 16
    """Stride of the embedding."""
    width: int
    """Channels of the last block."""
    depth: int
    """Blocks in all."""
    heads: int
    global_blocks: tuple[int, ...] = ()
    """Blocks with attention over the whole grid; CNN stage j joins before the j-th of them."""
    window_size: int = 14
    """Side, in tokens, of the attention windows of all other blocks."""
    mlp_ratio: int = 4

    # TinyViT: MobileSAM's image encoder; one number for each stage (strides 4, 8, 16, 16), empty in a plain ViT
    vit_widths: tuple[int, ...] = ()
    vit_depths: tuple[int, ...] = ()
    vit_heads: tuple[int, ...] = ()
    """Of stages 1 to 3; the first has no attention, and its number is not read. The same goes for `vit_windows`."""
    vit_windows: tuple[int, ...] = ()

    # EVPT: the prompt generator
    prompt_width: int
    hf_hidden: int = 32
    highpass_rate: float = 0.25
    """Share of the spectrum's area that the high-pass removes; 0.25 cuts at half the Nyquist frequency."""
    native_size: int | None = None
    """Side of the images before they were enlarged; the high-pass cut then refers to it (None: `image_size`)."""

    # ViCNet: the auxiliary CNN
    cnn: CnnKind = "resnet18"
    cnn_width: int = 64
    cnn_norm: CnnNorm = "batch"

    # AFDec: prompt encoder and mask decoder
    decoder_width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    feature_width: int = 32
    """Channels of the upscaled features whose product with a token gives a mask."""
    detail_stages: tuple[int, ...] = ()
    """CNN stages (0: stride 4) that also join the fused features directly; not in the published network."""
    detail_width: int = 0
    """Channels of the feature pyramid that joins these stages; 0: each is projected, and all are added."""
    score_sees_map: bool = False
    """The image head also reads the strongest response of each fused feature."""
    score_sees_peak: bool = False
    """The image head also reads the peak of the pixel map, and begins as that peak alone."""
    sam_heads: bool = True
    """Carry SAM's own mask and quality heads; unused by the masks of `paper` mode, kept so that SAM can be run."""
    freeze_sam: bool = True
    """SAM's weights take no gradient."""
    without: tuple[Module, ...] = ()
    """Modules passed by: ViCNet's CNN, EVPT's prompts, AFDec's fused features (masks then from SAM's). Their weights
    are there and idle."""
    second_pass: SecondPass = "none"  # noqa: S105 (no password)
    """What `AutoNetwork`, and so every evaluation and export, decodes once more with (`models.prompt_free`)."""
    second_pass_points: int = 4
    """Peaks that become points, at most; unused ones are ignored."""
    second_pass_tiles: int = 2
    """Tiles along a side of the map, each of which may give one box."""
    second_pass_threshold: float = 0.5
    """Probability above which the pixel map gives a point or a box."""
    skip_norm_1024: bool = False
    """Repeat a defect of the published code: images that arrive as 1024 x 1024 are not normalised."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode is {self.mode!r}; it must be one of {', '.join(get_args(Mode))}")
        if self.cnn not in get_args(CnnKind):
            raise ValueError(f"cnn is {self.cnn!r}; it must be one of {', '.join(get_args(CnnKind))}")
        if self.second_pass not in get_args(SecondPass):
            raise ValueError(
                f"second_pass is {self.second_pass!r}; it must be one of {', '.join(get_args(SecondPass))}"
            )
        if self.cnn_norm not in get_args(CnnNorm):
            raise ValueError(f"cnn_norm is {self.cnn_norm!r}; it must be one of {', '.join(get_args(CnnNorm))}")
        if self.image_size <= 0 or self.image_size % CNN_STRIDES[-1] or self.image_size % self.patch_size:
            raise ValueError(
                f"image_size is {self.image_size}; it must be a positive multiple of {CNN_STRIDES[-1]} "
                f"and of the patch size {self.patch_size}"
            )
        if self.width % self.heads or self.decoder_width % (2 * self.decoder_heads):
            raise ValueError(
                f"width {self.width} must be a multiple of heads {self.heads}, and decoder_width "
                f"{self.decoder_width} of twice decoder_heads {self.decoder_heads}"
            )
        if self.is_staged:
            self._require_stages()
        elif len(self.global_blocks) != len(CNN_STRIDES) or not all(0 <= i < self.depth for i in self.global_blocks):
            raise ValueError(
                f"global_blocks is {self.global_blocks}; it must name {len(CNN_STRIDES)} blocks below {self.depth}"
            )
        if self.num_classes < 0 or self.num_classes == 1:
            raise ValueError(f"num_classes is {self.num_classes}; it must be 0 (no class map) or at least 2")
        if min(self.second_pass_points, self.second_pass_tiles) < 1 or not 0 < self.second_pass_threshold < 1:
            raise ValueError(
                f"second_pass_points, _tiles and _threshold are {self.second_pass_points}, {self.second_pass_tiles} "
                f"and {self.second_pass_threshold}; wanted at least 1, at least 1, and between 0 and 1"
            )
        if self.map_size % self.second_pass_tiles:
            raise ValueError(f"second_pass_tiles is {self.second_pass_tiles}; it must divide the map {self.map_size}")
        if unknown := set(self.without) - set(get_args(Module)):
            raise ValueError(f"without names {sorted(unknown)}; it may name {', '.join(get_args(Module))}")
        if self.mode == "reference" and self.without:
            raise ValueError(f"mode reference is whole, but without is {self.without}: use mode paper")
        if self.mode == "reference" and (
            self.num_classes or self.detail_stages or self.score_sees_map or self.score_sees_peak
        ):
            raise ValueError("mode reference has no class map, no detail stages and no score from the map: unset them")

    def _require_stages(self) -> None:
        if self.mode == "reference":
            raise ValueError("mode reference is of plain ViTs: unset vit_widths, or use mode paper")
        for name in ("vit_widths", "vit_depths", "vit_heads", "vit_windows"):
            numbers = getattr(self, name)
            if len(numbers) != len(CNN_STRIDES) or not all(number > 0 for number in numbers):
                raise ValueError(
                    f"{name} is {numbers}; it must hold {len(CNN_STRIDES)} positive numbers, one per stage"
                )
        if any(width % heads for width, heads in zip(self.vit_widths[1:], self.vit_heads[1:], strict=True)):
            raise ValueError(f"vit_widths {self.vit_widths} must be multiples of vit_heads {self.vit_heads}")
        if (self.width, self.depth, self.patch_size) != (self.vit_widths[-1], sum(self.vit_depths), 16):
            raise ValueError(
                f"width, depth and patch_size are {self.width}, {self.depth} and {self.patch_size}; with these stages "
                f"they must be {self.vit_widths[-1]}, {sum(self.vit_depths)} and 16"
            )

    @property
    def is_staged(self) -> bool:
        """Whether the encoder is a TinyViT."""
        return bool(self.vit_widths)

    @property
    def grid(self) -> int:
        """Side of the token grid."""
        return self.image_size // self.patch_size

    @property
    def map_size(self) -> int:
        """Side of the masks, pixel maps and mask prompts: four times the token grid."""
        return 4 * self.grid

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """Inverse of `to_dict`, also after a way through JSON. Raises ValueError on unknown or missing keys."""
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"network configuration has unknown keys {sorted(unknown)}; known are {sorted(known)}")
        as_tuples: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        try:
            return cls(**as_tuples)
        except TypeError as error:
            raise ValueError(f"network configuration is incomplete: {error}") from error


SIZES: dict[str, dict[str, Any]] = {
    "nano": {
        "image_size": 256, "width": 128, "depth": 4, "heads": 4, "global_blocks": (0, 1, 2, 3), "window_size": 8,
        "prompt_width": 8, "hf_hidden": 8, "highpass_rate": 1 / 64, "cnn_width": 24,
        "decoder_width": 128, "decoder_heads": 4, "decoder_mlp": 256, "feature_width": 24,
        "detail_stages": (0, 1), "score_sees_map": True, "sam_heads": False, "freeze_sam": False,
    },
    "tiny": {
        "image_size": 512, "width": 192, "depth": 12, "heads": 6, "global_blocks": (2, 5, 8, 11), "window_size": 8,
        "prompt_width": 12, "hf_hidden": 16, "highpass_rate": 1 / 64, "cnn_width": 32,
        "decoder_width": 128, "decoder_heads": 4, "decoder_mlp": 512, "feature_width": 32,
        "detail_stages": (0, 1), "score_sees_map": True, "sam_heads": False, "freeze_sam": False,
    },
    "vit_t": {
        "width": 320, "depth": 12, "heads": 10,
        "vit_widths": (64, 128, 160, 320), "vit_depths": (2, 2, 6, 2), "vit_heads": (2, 4, 5, 10),
        "vit_windows": (7, 7, 14, 7),
        "prompt_width": 16, "hf_hidden": 16, "highpass_rate": 1 / 64, "cnn": "tf_efficientnet_lite0",
        "cnn_norm": "fixed", "detail_stages": (0, 1, 2, 3), "detail_width": 64, "score_sees_map": True,
        "score_sees_peak": True, "freeze_sam": False,
    },
    "vit_b": {"width": 768, "depth": 12, "heads": 12, "global_blocks": (2, 5, 8, 11), "prompt_width": 24},
    "vit_l": {"width": 1024, "depth": 24, "heads": 16, "global_blocks": (5, 11, 17, 23), "prompt_width": 32},
    "vit_h": {"width": 1280, "depth": 32, "heads": 16, "global_blocks": (7, 15, 23, 31), "prompt_width": 40},
}  # fmt: skip


def network_config(sam_type: str, image_size: int | None = None, **changes: Any) -> NetworkConfig:
    """The configuration of a named size, with any field changed by keyword."""
    if sam_type not in SIZES:
        raise ValueError(f"sam_type is {sam_type!r}; it must be one of {', '.join(SIZES)}")
    config = NetworkConfig(sam_type=sam_type, **(SIZES[sam_type] | changes))
    return config if image_size is None else replace(config, image_size=image_size)
