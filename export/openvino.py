"""OpenVINO files (xml and bin) from the ONNX files.

fp32 and bf16 hold the same fp32 weights and differ in how the backend computes; int8 is the quantised ONNX file,
whose QDQ pairs OpenVINO reads as they are.
"""

from __future__ import annotations

from pathlib import Path

from export.artifacts import Built, Source
from f2pnet.bundle import Precision
from f2pnet.errors import BackendError, ConfigError, MissingExtra


def build(source: Source, precision: Precision, folder: Path) -> Built:
    """Write `model.<precision>.xml` and its `.bin`.

    Raises MissingExtra without OpenVINO, ConfigError for int8 without an int8 ONNX file, BackendError where OpenVINO
    refuses the graph.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("OpenVINO engines", "openvino") from error
    onnx_file = source.onnx.get("int8") if precision == "int8" else source.fp32
    if onnx_file is None:
        raise ConfigError("OpenVINO int8 starts from an ONNX file in int8: add --format onnx")
    path = folder / f"model.{precision}.xml"
    try:
        # Weights stay fp32: the default halves them, and the gate would compare another network.
        openvino.save_model(openvino.Core().read_model(str(onnx_file)), str(path), compress_to_fp16=False)
    except RuntimeError as error:
        raise BackendError(f"OpenVINO {openvino.__version__} refuses {onnx_file.name}: {error}") from error
    return Built(path.name, (path.with_suffix(".bin").name,), {"openvino": openvino.__version__})
