"""A tiny engine for tests, whose answer can be worked out by hand: a pixel's brightness is its defect probability."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from f2pnet.engine.bundle import Bundle, Manifest, sha256_of, write_bundle

SIDE = 64


def write_toy_bundle(
    folder: Path, *, side: int = SIDE, max_batch: int = 4, poison: float = 1.0, **manifest: Any
) -> Bundle:
    """A bundle whose `mask` is brightness / 255 * poison at input resolution, `score` its maximum.

    With two `classes`, `class_map` is (red, blue) / 255. `poison` far from 1 makes answers that are no probabilities.
    """
    classes: list[str] = manifest.get("classes", ["defect"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    model = folder.parent / f"{folder.name}.exported.onnx"
    onnx.save(_brightness_graph(side, poison, with_classes=len(classes) == 2), str(model))
    outputs = [{"name": "mask", "shape": [side, side]}, {"name": "score", "shape": []}]
    if len(classes) == 2:
        outputs.append({"name": "class_map", "shape": [2, side, side]})
    content: dict[str, Any] = {
        "name": "toy",
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        "network": {"sam_type": "toy", "image_size": side, "parameters": 0},
        "outputs": outputs,
        "classes": classes,
        "training": {"dataset": "none"},
        "artifacts": [
            {
                "file": "model.onnx",
                "format": "onnx",
                "precision": "fp32",
                "sha256": sha256_of(model),
                "max_batch": max_batch,
            }
        ],
    }
    bundle = write_bundle(folder, Manifest.model_validate(content | manifest), {"model.onnx": model})
    model.unlink()
    return bundle


def _brightness_graph(side: int, poison: float, *, with_classes: bool) -> onnx.ModelProto:
    def constant(name: str, kind: int, values: list[Any]) -> onnx.TensorProto:
        return helper.make_tensor(name, kind, [len(values)], values)

    constants = [
        constant("white", TensorProto.FLOAT, [255.0 / poison]),
        constant("channel_axis", TensorProto.INT64, [3]),
        constant("space_axes", TensorProto.INT64, [1, 2]),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["color"]),
        helper.make_node("ReduceMean", ["color", "channel_axis"], ["mask"], keepdims=0),
        helper.make_node("ReduceMax", ["mask", "space_axes"], ["score"], keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["B", side, side]),
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
    ]
    if with_classes:
        constants.append(constant("red_and_blue", TensorProto.INT64, [0, 2]))
        nodes += [
            helper.make_node("Transpose", ["color"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Gather", ["planes", "red_and_blue"], ["class_map"], axis=1),
        ]
        outputs.append(helper.make_tensor_value_info("class_map", TensorProto.FLOAT, ["B", 2, side, side]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["B", side, side, 3])
    graph = helper.make_graph(nodes, "brightness", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model
