"""Operations of an ONNX graph: two for each multiply-add of its matrix products and convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import shape_inference

Shape = Sequence[int]


def graph_flops(path: Path, batch: int = 1) -> int:
    """FLOPs of one run on `batch` images. Everything but products and convolutions is left out, as is usual.

    The file's weights may lie beside it. Raises ValueError where a shape that matters can't be inferred.
    """
    model = onnx.load(str(path), load_external_data=False)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]  # they speak of a free batch
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    shapes = _shapes(inferred.graph)
    return 2 * sum(_multiply_adds(node, shapes) for node in inferred.graph.node)


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {weight.name: list(weight.dims) for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if all(dimension.HasField("dim_value") for dimension in dimensions):
            shapes[value.name] = [dimension.dim_value for dimension in dimensions]
    return shapes


def _multiply_adds(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    if node.op_type in ("MatMul", "Gemm"):
        first, result = _shape(node, node.input[0], shapes), _shape(node, node.output[0], shapes)
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(result) * (first[-2] if transposed else first[-1])
    if node.op_type == "Conv":  # weight (out, in / groups, k, k): each result is a sum over in / groups * k * k
        weight, result = _shape(node, node.input[1], shapes), _shape(node, node.output[0], shapes)
        return math.prod(result) * math.prod(weight[1:])
    if (
        node.op_type == "ConvTranspose"
    ):  # weight (in, out / groups, k, k): each input is spread over out / groups * k * k
        weight, first = _shape(node, node.input[1], shapes), _shape(node, node.input[0], shapes)
        return math.prod(first) * math.prod(weight[1:])
    return 0


def _shape(node: onnx.NodeProto, name: str, shapes: Mapping[str, Shape]) -> Shape:
    if name not in shapes:
        raise ValueError(f"{node.op_type} {node.name}: the shape of {name} can't be inferred")
    return shapes[name]
