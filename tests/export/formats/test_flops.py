"""FLOPs of small graphs, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.formats.flops import graph_flops


def graph_of(path: Path, op: str, weight: tuple[int, ...], image: tuple[int, ...], **attributes: object) -> Path:
    """One operation on an input whose batch is free."""
    nodes = [helper.make_node(op, ["x", "w"], ["y"], **attributes), helper.make_node("Relu", ["y"], ["z"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *image])]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    weights = [numpy_helper.from_array(np.zeros(weight, np.float32), "w")]
    graph = helper.make_graph(nodes, op, inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), str(path))
    return path


@pytest.mark.parametrize(
    ("op", "weight", "image", "attributes", "by_hand"),
    [
        ("MatMul", (6, 5), (7, 6), {}, 2 * 7 * 6 * 5),
        # 8 x 8 places of 4 channels, each a sum over 3 channels and 3 x 3 neighbours
        ("Conv", (4, 3, 3, 3), (3, 8, 8), {"pads": [1, 1, 1, 1]}, 2 * 8 * 8 * 4 * 3 * 3 * 3),
        ("Conv", (4, 1, 3, 3), (4, 8, 8), {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}, 2 * 4 * 4 * 4 * 9),
        # each of 3 x 5 x 5 inputs is spread over 2 channels and 2 x 2 places
        ("ConvTranspose", (3, 2, 2, 2), (3, 5, 5), {"strides": [2, 2]}, 2 * 3 * 5 * 5 * 2 * 2 * 2),
    ],
)
def test_products_and_convolutions_count_two_for_each_multiply_add(
    op: str,
    weight: tuple[int, ...],
    image: tuple[int, ...],
    attributes: dict[str, object],
    by_hand: int,
    tmp_path: Path,
) -> None:
    path = graph_of(tmp_path / "model.onnx", op, weight, image, **attributes)
    assert graph_flops(path) == by_hand
    assert graph_flops(path, batch=5) == 5 * by_hand
