"""fp16 with islands of fp32, written into the ONNX file itself.

The types stand in the graph (casts at the islands' shores), as strongly typed TensorRT networks want them; no flag of a
runtime decides. The conversion is ONNX Runtime's own (`onnxruntime.transformers.float16`): exporting `network.half()`
instead would round the constants of the high-pass before anything could keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from f2pnet.pictures.preprocess import Image

ISLAND_OPS = ("LayerNormalization", "Softmax", "Sigmoid", "ReduceMean", "ReduceSum", "ReduceL2", "Pow", "Sqrt")
"""Sums of squares and of exponentials: squares of activations above 255 exceed fp16."""

SAFE_MAGNITUDE = 65504 / 8
"""A node that comes this near to fp16's largest number on any picture is kept in fp32: other pictures are worse."""


def islands(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that theory keeps in fp32: normalisations, the high-pass, and the way to each probability."""
    producers = {output: node for node in model.graph.node for output in node.output}
    kept = {node.name for node in model.graph.node if node.op_type in ISLAND_OPS}
    for node in model.graph.node:
        if node.op_type == "Abs":  # the high-pass ends in it: products of whole rows that nearly cancel
            kept |= {node.name} | _ancestors(node, producers)
        if node.op_type in ("Sigmoid", "Softmax") and node.output[0] in {o.name for o in model.graph.output}:
            kept |= _last_product(node, producers)
    return kept


def overflowing_nodes(path: Path, model: onnx.ModelProto, pictures: Sequence[Image]) -> set[str]:
    """Names of the nodes of the fp32 file that exceed SAFE_MAGNITUDE on any of the (S, S, 3) pictures."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    floats = _float_outputs(probe)
    for number, name in enumerate(floats):
        probe.graph.node.append(helper.make_node("Abs", [name], [f"magnitude_{number}"]))
        probe.graph.node.append(helper.make_node("ReduceMax", [f"magnitude_{number}"], [f"peak_{number}"], keepdims=0))
        probe.graph.output.append(helper.make_tensor_value_info(f"peak_{number}", TensorProto.FLOAT, []))
    peaks = np.zeros(len(floats))
    session = _session(probe, path)
    names = [f"peak_{number}" for number in range(len(floats))]
    feed = session.get_inputs()[0]
    count = feed.shape[0] if isinstance(feed.shape[0], int) else 1
    for picture in pictures:
        found = session.run(names, {feed.name: np.repeat(picture[None], count, axis=0)})
        peaks = np.maximum(peaks, [float(value) for value in found])
    hot = {name for name, peak in zip(floats, peaks, strict=True) if not peak < SAFE_MAGNITUDE}
    return {node.name for node in model.graph.node if hot & {*node.output, *node.input}}


def to_half(model: onnx.ModelProto, keep: Iterable[str] = ()) -> onnx.ModelProto:
    """The model in fp16 but for the nodes named in `keep`; it takes and gives what it did before."""
    half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, node_block_list=sorted(keep))
    _join_islands(half)
    return half


def _join_islands(model: onnx.ModelProto) -> None:
    """The converter leaves each island node through a cast to fp16, also towards another island: joins those, since a
    value that is kept in fp32 for its size must not pass through fp16."""
    graph = model.graph
    to_half_from = {n.output[0]: n.input[0] for n in graph.node if _is_cast(n, TensorProto.FLOAT16)}
    joined = {n.output[0]: to_half_from[n.input[0]] for n in graph.node
              if _is_cast(n, TensorProto.FLOAT) and n.input[0] in to_half_from}  # fmt: skip
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in joined and node.output[0] not in outputs:
                node.input[place] = joined[name]
    used = outputs | {name for node in graph.node for name in node.input}
    for _ in range(2):  # a pair of casts falls in two steps
        unread = [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in used]
        for node in unread:
            graph.node.remove(node)
        used = outputs | {name for node in graph.node for name in node.input}


def _is_cast(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == to


def _session(model: onnx.ModelProto, path: Path) -> onnxruntime.InferenceSession:
    """From bytes where they fit one message; a larger probe is written beside the file whose weights it shares."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _float_outputs(model: onnx.ModelProto) -> list[str]:
    """Names of all float32 tensors that nodes write."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.output]
    floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return [output for node in model.graph.node for output in node.output if output in floats]


def _ancestors(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> set[str]:
    found: dict[str, onnx.NodeProto] = {}
    open_nodes = [node]
    while open_nodes:
        for name in open_nodes.pop().input:
            before = producers.get(name)
            if before is not None and before.name not in found:
                found[before.name] = before
                open_nodes.append(before)
    return set(found)


def _last_product(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> set[str]:
    """The nodes between a probability and the product or convolution that its logit comes from, that one included."""
    found = set()
    while node.op_type not in ("MatMul", "Conv", "Gemm"):
        before = next((producers[name] for name in node.input if name in producers), None)
        if before is None:
            break
        found.add(before.name)
        node = before
    return found
