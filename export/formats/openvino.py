"""OpenVINO files (xml and bin) from the ONNX files.

fp32 and bf16 hold the same fp32 weights and differ in how the backend computes; int8 is the quantised ONNX file,
whose QDQ pairs OpenVINO reads as they are, once the picture's normalisation can't be taken for one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.formats.artifacts import Built, Source
from export.formats.onnx_artifacts import save
from f2pnet.engine.bundle import Precision
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
    path = folder / f"model.{precision}.xml"
    onnx_file = _int8_file(source, folder) if precision == "int8" else source.fp32
    try:
        # Weights stay fp32: the default halves them, and the gate would compare another network.
        openvino.save_model(openvino.Core().read_model(str(onnx_file)), str(path), compress_to_fp16=False)
    except RuntimeError as error:
        raise BackendError(f"OpenVINO {openvino.__version__} refuses {onnx_file.name}: {error}") from error
    return Built(path.name, (path.with_suffix(".bin").name,), {"openvino": openvino.__version__})


def _int8_file(source: Source, folder: Path) -> Path:
    onnx_file = source.onnx.get("int8")
    if onnx_file is None:
        raise ConfigError("OpenVINO int8 starts from an ONNX file in int8: add --format onnx")
    changed = folder / f"{onnx_file.stem}.openvino.onnx"
    save(bound_pixels(onnx.load(str(onnx_file))), changed)
    return changed


def bound_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which pixels are clipped to 0..255 after their cast to float; the numbers stay the same.

    Bytes, cast, less a mean, times a scale: OpenVINO takes our normalisation for a dequantisation, moves it behind the
    first convolution, and then finds 3 numbers for its 256 rows ("Check 'data.size() == OC' failed", 2026.4). The clip
    stands in the way of that.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    low, high = (numpy_helper.from_array(np.array(v, np.float32), f"pixel_{v}") for v in (0, 255))
    place, cast = _first_cast(graph)
    result = cast.output[0]
    cast.output[0] = f"{result}_unbounded"
    graph.node.insert(
        place + 1, helper.make_node("Clip", [cast.output[0], low.name, high.name], [result], name="pixels")
    )
    graph.initializer.extend([low, high])
    return changed


def _first_cast(graph: onnx.GraphProto) -> tuple[int, onnx.NodeProto]:
    for place, node in enumerate(graph.node):
        if node.op_type == "Cast" and any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute):
            return place, node
    raise ConfigError("the int8 graph never casts its bytes to float: export it again with `f2p export --format onnx`")
