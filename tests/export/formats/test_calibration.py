from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.formats import calibration
from export.formats.artifacts import Source
from export.formats.calibration import candidates, quantise_within_reach
from export.formats.onnx_artifacts import build_int8
from f2pnet.errors import ConfigError
from tests.export.conftest import Exported

SIDE = 16
IMAGES = np.random.default_rng(5).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8)
pytestmark = pytest.mark.timeout(400)


def test_the_layer_that_rounding_ruins_is_found_and_left_in_float(tmp_path: Path) -> None:
    """Two products in a row; the second one's input has a few values a thousand times larger than those that count."""
    path = tmp_path / "fragile.onnx"
    onnx.save(fragile_graph(), str(path))
    assert candidates(onnx.load(str(path))) == ["sturdy", "fragile"]
    assert quantise_within_reach(path, tmp_path / "int8.onnx", IMAGES) == ["fragile"]
    quantised = {node.name: node.input[0] for node in onnx.load(str(tmp_path / "int8.onnx")).graph.node}
    assert quantised["sturdy"].endswith("DequantizeLinear_Output")
    assert not quantised["fragile"].endswith("DequantizeLinear_Output")


def test_quantised_layers_are_symmetric_per_channel_and_keep_float_biases(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "RANKING_FLOPS", 0.0)
    images = np.random.default_rng(6).integers(0, 256, (6, 64, 64, 3), np.uint8)
    source = Source(exported.bundle.path(exported.bundle.artifact("onnx")), 64, 4, False, images)
    built = build_int8(source, "int8", tmp_path)
    model = onnx.load(str(tmp_path / built.file))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 50
    assert all(constants[node.input[2]].dtype == np.int8 and not constants[node.input[2]].any() for node in pairs)
    assert any(constants[node.input[1]].size > 1 for node in pairs)
    producers = {node.output[0]: node for node in model.graph.node}
    layers = [node for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    assert not any(node.input[2] in producers for node in layers)


def test_int8_without_images_names_the_option(exported: Exported, tmp_path: Path) -> None:
    source = Source(exported.bundle.path(exported.bundle.artifact("onnx")), 64, 4, False)
    with pytest.raises(ConfigError, match="--calibration"):
        build_int8(source, "int8", tmp_path)


def fragile_graph() -> onnx.ModelProto:
    """uint8 (B, S, S, 3) -> mask and pixel_map (B, S, S), one half above 0.5 and one below, by small differences."""
    rng = np.random.default_rng(7)
    spread = np.eye(3, 4, dtype=np.float32)
    spread[:, 3] = 1000.0
    narrow = np.array([[1.0, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    constants = [
        numpy_helper.from_array(np.float32(1 / 255), "scale"),
        numpy_helper.from_array(np.eye(3, dtype=np.float32) + rng.normal(0, 0.01, (3, 3)).astype(np.float32), "first"),
        numpy_helper.from_array(spread, "spread"),
        numpy_helper.from_array(narrow, "second"),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["unit"], "unit"),
        helper.make_node("MatMul", ["unit", "first"], ["mixed"], "sturdy"),
        helper.make_node("Einsum", ["mixed", "spread"], ["wide"], "widen", equation="bhwc,cd->bhwd"),
        helper.make_node("MatMul", ["wide", "second"], ["maps"], "fragile"),
        helper.make_node("Split", ["maps"], ["a", "b"], "split", axis=3, num_outputs=2),
        helper.make_node("Squeeze", ["a", "axis"], ["mask"], "mask"),
        helper.make_node("Squeeze", ["b", "axis"], ["pixel_map"], "pixel_map"),
    ]
    constants.append(numpy_helper.from_array(np.array([3], np.int64), "axis"))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["B", SIDE, SIDE, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", SIDE, SIDE]) for name in ("mask", "pixel_map")
    ]
    graph = helper.make_graph(nodes, "fragile", [image], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
