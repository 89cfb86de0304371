"""The network in two engines, for prompts from outside: look once, then decode as often as there are prompts.

encoder.onnx: image (B, S, S, 3) uint8 -> embedding (B, E, H, W), features (B, F, M, M).
decoder.onnx: embedding, features, points (B, N, T, 2) in px of the network's input, labels (B, N, T) int64 (-2 absent,
-1 padding, 0 and 1 points, 2 and 3 corners of a box), masks (B, N, 1, M, M) logits, has_mask (B, N) bool
-> mask_logits (B, N, M, M), pixel_map (B, M, M), score (B,).

The layout is static: T points for each prompt, N prompts. Absent points are masked out of attention with minus
infinity, which is exact, so one engine serves points, boxes, masks and no prompt at all. Sizes with detail from the CNN
give it as a third output of the encoder, `detail` (B, F, M, M).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from export.formats.onnx_artifacts import weights_of
from export.formats.synthetic_frames import synthetic_frames
from export.gate.gate import LIMITS, ParityError
from export.graph import INPUT_NAME, MOST_IMAGES, write_onnx
from f2pnet.engine.bundle import Artifact, ExtraFile, Role, sha256_of
from f2pnet.errors import ConfigError
from f2pnet.pictures.preprocess import fit
from models.decoders.afdec import Encoded
from models.decoders.prompts import ABSENT, BOTTOM_RIGHT, PADDING, POSITIVE, TOP_LEFT, Prompts
from models.f2pnet import F2PNet
from models.good_only import GoodOnlyNetwork

PROMPTS, POINTS = 4, 4
"""N and T of the decoder: four prompts at once, each of up to four points, a box counting as two."""

PROMPT_INPUTS = ("points", "labels", "masks", "has_mask")
DECODER_OUTPUTS = ("mask_logits", "pixel_map", "score")


class EncoderHalf(nn.Module):
    def __init__(self, network: F2PNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        encoded = self.network.encode(images.permute(0, 3, 1, 2).to(torch.float32))
        return tuple(value for value in encoded if value is not None)


class DecoderHalf(nn.Module):
    def __init__(self, network: F2PNet) -> None:
        super().__init__()
        self.network = network
        self.has_detail = bool(network.config.detail_stages)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points, labels, masks, has_mask = tensors[-4:]
        encoded = Encoded(tensors[0], tensors[1], tensors[2] if self.has_detail else None)
        found = self.network.decode(encoded, Prompts(points, labels, masks, has_mask))
        return found.mask_logits, found.pixel_logits[:, 0].sigmoid(), found.image_logits.sigmoid()


def build_split(network: F2PNet | GoodOnlyNetwork | None, folder: Path, max_batch: int) -> list[Artifact]:
    """Write encoder.onnx and decoder.onnx, proven against `network` with every kind of prompt.

    Raises ConfigError where there is no checkpoint, ParityError where an output differs by more than fp32 may.
    """
    if network is None:
        raise ConfigError("--split needs a checkpoint: a bundle holds the network as one graph only")
    if isinstance(network, GoodOnlyNetwork):
        raise ConfigError("--split needs an F2P-Net: a network from good parts alone takes no prompts")
    encoder, decoder = EncoderHalf(network).eval(), DecoderHalf(network).eval()
    names = ["embedding", "features", *(["detail"] if decoder.has_detail else [])]
    size = network.config.image_size
    images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        encoded = encoder(images)
    prompts = example_prompts(network, 2)
    batch = torch.export.Dim("batch", min=1, max=MOST_IMAGES)
    write_onnx(
        encoder,
        (images,),
        folder / "encoder.onnx",
        inputs=[INPUT_NAME],
        outputs=names,
        dynamic_shapes={"images": {0: batch}},
    )
    given = (*(value.clone() for value in encoded), *prompts)
    write_onnx(
        decoder,
        given,
        folder / "decoder.onnx",
        inputs=[*names, *PROMPT_INPUTS],
        outputs=DECODER_OUTPUTS,
        dynamic_shapes={"tensors": tuple({0: batch} for _ in given)},
    )
    _prove(network, folder, names)
    return [_artifact(folder, role, max_batch) for role in ("encoder", "decoder")]


def example_prompts(network: F2PNet, images: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, labels, masks and has_mask with one prompt of each kind: a point, a box, a mask, and an empty slot."""
    side, map_size = network.config.image_size, network.config.map_size
    points = torch.rand(images, PROMPTS, POINTS, 2, generator=torch.Generator().manual_seed(0)) * side
    points[:, 1, 0], points[:, 1, 1] = side * 0.2, side * 0.7
    labels = torch.full((images, PROMPTS, POINTS), ABSENT)
    labels[:, 0, :2] = torch.tensor([POSITIVE, PADDING])
    labels[:, 1, :2] = torch.tensor([TOP_LEFT, BOTTOM_RIGHT])
    masks = torch.zeros(images, PROMPTS, 1, map_size, map_size)
    masks[:, 2, 0, : map_size // 2] = 8.0
    has_mask = torch.zeros(images, PROMPTS, dtype=torch.bool)
    has_mask[:, 2] = True
    return points, labels, masks, has_mask


@torch.inference_mode()
def _prove(network: F2PNet, folder: Path, names: Sequence[str]) -> None:
    """Both halves in a row against the network. Logits are compared as probabilities, like every output of an
    engine."""
    frames = [fit(frame, network.config.image_size) for frame in synthetic_frames(3)]
    images = torch.from_numpy(np.stack(frames))
    prompts = example_prompts(network, len(frames))
    found = network.decode(network.encode(images.permute(0, 3, 1, 2).to(torch.float32)), Prompts(*prompts))
    wanted = (found.mask_logits.sigmoid(), found.pixel_logits[:, 0].sigmoid(), found.image_logits.sigmoid())
    mask_logits, pixel_map, score = run_split(folder, images.numpy(), [value.numpy() for value in prompts], names)
    answered = (1 / (1 + np.exp(-mask_logits.astype(np.float64))), pixel_map, score)
    for name, ours, theirs in zip(DECODER_OUTPUTS, answered, wanted, strict=True):
        difference = float(np.abs(ours - theirs.numpy()).max())
        if not difference <= LIMITS["fp32"].max_abs_diff:
            raise ParityError(
                f"encoder.onnx and decoder.onnx do not agree with the checkpoint: {name} is off by {difference:.2g}, "
                f"wanted at most {LIMITS['fp32'].max_abs_diff}. No engine was written"
            )


def run_split(folder: Path, images: Any, prompts: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Run both halves of `folder` on ONNX Runtime: (B, S, S, 3) uint8 and the four prompt arrays -> DECODER_OUTPUTS."""
    encoder, decoder = (_session(folder / f"{half}.onnx") for half in ("encoder", "decoder"))
    encoded = encoder.run(list(names), {INPUT_NAME: images})
    feeds = dict(zip([*names, *PROMPT_INPUTS], [*encoded, *prompts], strict=True))
    taken = {given.name for given in decoder.get_inputs()}  # an input that no output reads is cut from the graph
    return decoder.run(list(DECODER_OUTPUTS), {name: value for name, value in feeds.items() if name in taken})  # type: ignore[no-any-return]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _artifact(folder: Path, role: Role, max_batch: int) -> Artifact:
    path = folder / f"{role}.onnx"
    weights = weights_of(path)
    extra = [ExtraFile(file=weights.name, sha256=sha256_of(weights))] if weights.is_file() else []
    return Artifact(
        file=path.name,
        format="onnx",
        precision="fp32",
        sha256=sha256_of(path),
        extra_files=extra,
        role=role,
        max_batch=max_batch,
        built_with={package: version(package) for package in ("torch", "onnx", "onnxslim", "onnxruntime")},
    )
