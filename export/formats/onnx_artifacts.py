"""ONNX files of every precision, from the fp32 one."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import onnx

from export.formats.artifacts import Built, Source
from export.formats.calibration import quantise_within_reach
from export.formats.half import islands, overflowing_nodes, to_half
from export.formats.synthetic_frames import probe_frames
from f2pnet.engine.bundle import Precision

MODEL_FILE = "model.onnx"
WEIGHTS_SUFFIX = ".data"


def build_fp32(source: Source, precision: Precision, folder: Path) -> Built:
    """The file itself, with its weights beside it where it is large."""
    if source.fp32 != folder / MODEL_FILE:
        shutil.copyfile(source.fp32, folder / MODEL_FILE)
        weights = weights_of(source.fp32)
        if weights.is_file():
            shutil.copyfile(weights, weights_of(folder / MODEL_FILE))
    extra = weights_of(folder / MODEL_FILE)
    return Built(MODEL_FILE, (extra.name,) if extra.is_file() else (), _versions("torch", "onnx", "onnxslim"))


def build_fp16(source: Source, precision: Precision, folder: Path) -> Built:
    """Half precision with islands of fp32: those that theory names, and every node that comes near fp16's limit."""
    model = onnx.load(str(source.fp32))
    pictures = list(probe_frames(source.image_size).values())
    if source.calibration is not None:
        pictures += list(source.calibration[:8])
    keep = islands(model) | overflowing_nodes(source.fp32, model, pictures)
    path = folder / "model.fp16.onnx"
    return Built(path.name, save(to_half(model, keep), path), _versions("onnx", "onnxruntime"))


def build_int8(source: Source, precision: Precision, folder: Path) -> Built:
    """Quantised and dequantised int8 (QDQ) around convolutions and products; sensitive layers stay in float."""
    path = folder / "model.int8.onnx"
    float_layers = quantise_within_reach(source.fp32, path, source.calibration_images())
    extra = weights_of(path)
    names = (extra.name,) if extra.is_file() else ()
    return Built(path.name, names, _versions("onnx", "onnxruntime"), float_layers=tuple(float_layers))


def weights_of(path: Path) -> Path:
    """Where the weights of a large ONNX file lie: beside it."""
    return path.with_name(path.name + WEIGHTS_SUFFIX)


def save(model: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    """Write the model, its weights beside it where it is large; returns the names of further files."""
    if model.ByteSize() < LARGE_BYTES:
        onnx.save(model, str(path))
        return ()
    weights = weights_of(path)
    onnx.save(model, str(path), save_as_external_data=True, location=weights.name, size_threshold=1024)
    return (weights.name,)


LARGE_BYTES = 256 << 20
"""From here on weights lie beside the graph: a protobuf message ends at 2 GB, and tools copy it several times."""


def _versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}
