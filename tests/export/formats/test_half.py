from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from export.exporter import ExportOptions, export_bundle
from export.formats.half import overflowing_nodes
from export.formats.synthetic_frames import probe_frames
from export.gate.gate import ParityError
from f2pnet.engine.bundle import Bundle, sha256_of, write_bundle
from tests.export.conftest import Exported

pytestmark = pytest.mark.timeout(400)


def test_islands_stay_in_fp32_and_the_rest_is_half(exported: Exported) -> None:
    model = onnx.load(str(exported.bundle.path(exported.bundle.artifact("onnx", "fp16"))))
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    by_op: dict[str, set[int]] = {}
    for node in model.graph.node:
        by_op.setdefault(node.op_type, set()).update(types[name] for name in node.output if name in types)
    assert by_op["LayerNormalization"] == by_op["Softmax"] == by_op["Abs"] == {TensorProto.FLOAT}
    assert by_op["Relu"] == {TensorProto.FLOAT16}
    assert {output.type.tensor_type.elem_type for output in model.graph.output} == {TensorProto.FLOAT}
    stored = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert sum(np.prod(t.dims) for t in stored) > 0.9 * exported.bundle.manifest.network.parameters


def test_half_precision_agrees_with_the_checkpoint(exported: Exported) -> None:
    parity = exported.bundle.artifact("onnx", "fp16").parity
    assert parity is not None
    assert parity.mask_iou_mean >= 0.995
    assert 0 < parity.max_abs_diff < 0.02


def test_nodes_that_come_near_the_largest_half_are_found(exported: Exported, tmp_path: Path) -> None:
    scaled, layer = scale_a_layer(exported.bundle, 1e6)
    onnx.save(scaled, str(tmp_path / "scaled.onnx"))
    pictures = list(probe_frames(64).values())
    assert layer in overflowing_nodes(tmp_path / "scaled.onnx", scaled, pictures)
    original = onnx.load(str(exported.bundle.path(exported.bundle.artifact("onnx"))))
    assert layer not in overflowing_nodes(exported.bundle.path(exported.bundle.artifact("onnx")), original, pictures)


def test_an_overflowing_half_without_islands_is_refused_and_passes_with_them(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of one layer are scaled up and the next one's down: the same function, beyond what fp16 can hold."""
    bundle = tmp_path / "scaled"
    write_scaled_bundle(exported.bundle, bundle)
    options = ExportOptions([("onnx", "fp32"), ("onnx", "fp16")])
    proven = export_bundle(bundle, tmp_path / "with", options).artifact("onnx", "fp16")
    assert proven.parity is not None
    monkeypatch.setattr("export.formats.onnx_artifacts.islands", lambda model: set())
    monkeypatch.setattr("export.formats.onnx_artifacts.overflowing_nodes", lambda *given: set())
    with pytest.raises(ParityError, match=r"model\.fp16\.onnx: on "):
        export_bundle(bundle, tmp_path / "without", options)
    assert not (tmp_path / "without").exists()


def scale_a_layer(bundle: Bundle, factor: float) -> tuple[onnx.ModelProto, str]:
    """The fp32 graph with one convolution before a ReLU made larger by `factor` and the next one smaller by as much."""
    model = onnx.load(str(bundle.path(bundle.artifact("onnx"))))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = {name: [n for n in model.graph.node if name in n.input] for n in model.graph.node for name in n.output}
    for first in model.graph.node:
        if first.op_type == "Conv" and [n.op_type for n in readers[first.output[0]]] == ["Relu"]:
            (relu,) = readers[first.output[0]]
            if [n.op_type for n in readers[relu.output[0]]] == ["Conv"]:
                (second,) = readers[relu.output[0]]
                for name, by in (*((name, factor) for name in first.input[1:]), (second.input[1], 1 / factor)):
                    scaled = numpy_helper.to_array(weights[name]) * np.float32(by)
                    weights[name].CopyFrom(numpy_helper.from_array(scaled, name))
                return model, first.name
    raise AssertionError("no Conv - ReLU - Conv in the graph")


def write_scaled_bundle(bundle: Bundle, folder: Path) -> None:
    model, _ = scale_a_layer(bundle, 1e6)
    path = folder.with_suffix(".onnx")
    onnx.save(model, str(path))
    artifact = bundle.artifact("onnx").model_copy(update={"file": "model.onnx", "sha256": sha256_of(path)})
    write_bundle(folder, bundle.manifest.model_copy(update={"artifacts": [artifact]}), {"model.onnx": path})
