"""What TensorRT wants different in an ONNX graph; the numbers stay the same."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


def cast_bytes_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each uint8 input is cast to floating point before anything else happens to it.

    TensorRT knows uint8 in a network's inputs and outputs alone: it takes a cast of them, and refuses the transpose to
    channels first that our graphs begin with. A transpose of cast bytes is the cast of transposed bytes.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for feed in graph.input:
        if feed.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        kind = _type_after(graph, feed.name)
        name = f"{feed.name}_cast_first"
        moved = _moved_bytes(graph, feed.name)
        for node in graph.node:
            for place, tensor in enumerate(node.input):
                if tensor == feed.name:
                    node.input[place] = name
        for info in graph.value_info:
            if info.name in moved:
                info.type.tensor_type.elem_type = kind
        graph.node.insert(0, helper.make_node("Cast", [feed.name], [name], name=name, to=kind))
    return changed


def _moved_bytes(graph: onnx.GraphProto, name: str) -> set[str]:
    """The tensors that hold the input's bytes in another order."""
    found = {name}
    for node in graph.node:  # in topological order, as ONNX demands
        if node.op_type in ("Transpose", "Reshape", "Identity") and node.input[0] in found:
            found.add(node.output[0])
    return found


def _type_after(graph: onnx.GraphProto, name: str) -> int:
    """The type that the graph itself casts the bytes to."""
    moved = _moved_bytes(graph, name)
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in moved:
            return int(next(attribute.i for attribute in node.attribute if attribute.name == "to"))
    return int(TensorProto.FLOAT)
