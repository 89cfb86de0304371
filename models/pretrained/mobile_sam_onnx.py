"""The weights of a MobileSAM that comes as two ONNX graphs, its encoder and its decoder.

torch's exporter keeps the names of some tensors and gives numbers to others: kernels with a folded batch norm, and the
matrices of linear layers, which it also transposes. Their names follow from those of the nodes that use them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from models.configuration import network_config
from models.files.weights import CheckpointError, require_fit
from models.sam import build_sam

Array = NDArray[np.float32]

NUMBERED = "onnx::"
"""How the exporter begins the name of a tensor that it made itself."""
VALUES = {"Conv": ("weight", "bias"), "MatMul": ("weight",), "Mul": ("weight",), "Add": ("bias",)}
"""What the inputs of a node after its first are to the layer it stems from."""
PROMPT_ENCODER, MASK_DECODER = "prompt_encoder", "mask_decoder"


def sam_from_onnx(encoder: Path, decoder: Path) -> dict[str, Tensor]:
    """The tensors of both graphs by SAM's names. Raises CheckpointError unless they make a whole MobileSAM."""
    source = f"{encoder} and {decoder}"
    arrays = dict(_encoder_arrays(_read(encoder))) | dict(_decoder_arrays(_read(decoder)))
    tensors = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in arrays.items()}
    with torch.device("meta"):
        sam = build_sam(network_config("vit_t"))
    require_fit(sam, tensors, source)
    return tensors


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's errors share no base, and differ between versions
        raise CheckpointError(f"{path} cannot be read as an ONNX graph: {error}") from error


def _encoder_arrays(model: onnx.ModelProto) -> Iterator[tuple[str, Array]]:
    for name, array in _named(model):
        yield f"image_encoder.{name}", array
    for layer, value, array in _numbered(model):
        yield f"image_encoder.{layer}.{value}", array
    for node in model.graph.node:
        if node.op_type != "Constant" or len(node.attribute[0].t.dims) != 3:
            continue
        if node.name.split("/")[-2:-1] == ["attn"]:
            array = numpy_helper.to_array(node.attribute[0].t)
            # The terms of all pairs of places, (heads, T, T); those of the first place are the table of offsets.
            yield f"image_encoder.{_layer(node.name)}.attention_biases", array[:, 0]


def _decoder_arrays(model: onnx.ModelProto) -> Iterator[tuple[str, Array]]:
    for name, array in _named(model):
        yield name.removeprefix("model."), array
    for layer, value, array in _numbered(model):
        if layer:
            part = PROMPT_ENCODER if layer.startswith("mask_downscaling.") else MASK_DECODER
            yield f"{part}.{layer}.{value}", array
        elif array.ndim == 4:
            yield f"{PROMPT_ENCODER}.no_mask_embed.weight", array.reshape(1, -1)
        else:  # SAM's own tokens, (1, 5, E)
            yield f"{MASK_DECODER}.iou_token.weight", array[0, :1]
            yield f"{MASK_DECODER}.mask_tokens.weight", array[0, 1:]


def _named(model: onnx.ModelProto) -> Iterator[tuple[str, Array]]:
    """The tensors that kept their names."""
    for tensor in model.graph.initializer:
        if not tensor.name.startswith(NUMBERED):
            yield tensor.name, numpy_helper.to_array(tensor)


def _numbered(model: onnx.ModelProto) -> Iterator[tuple[str, str, Array]]:
    """The others, as layer, value and array; the layer is "" at the top of the graph."""
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name.startswith(NUMBERED)}
    for node in model.graph.node:
        values = VALUES.get(node.op_type, ("weight",))
        if node.op_type in ("Mul", "Add", "Expand"):
            inputs = [name for name in node.input if name in arrays]
        else:
            inputs = list(node.input[1:])
        for value, name in zip(values, inputs, strict=False):
            if name in arrays:
                yield _layer(node.name), value, _as_in_torch(node.op_type, _layer(node.name), arrays[name])


def _as_in_torch(op_type: str, layer: str, array: Array) -> Array:
    """Linear layers are transposed in ONNX, and the norms of maps have two axes more."""
    if op_type == "MatMul":
        return array.T
    return array.reshape(-1) if layer and op_type in ("Mul", "Add") else array


def _layer(node_name: str) -> str:
    """`/neck/neck.0/Conv` -> `neck.0`; `/layers.1/blocks.0/mlp/fc1/MatMul` -> `layers.1.blocks.0.mlp.fc1`."""
    *path, _ = node_name.strip("/").split("/")
    steps: list[str] = []
    for step in path:
        if steps and step.startswith(f"{steps[-1]}."):
            steps[-1] = step
        elif step != "c":  # the convolution within a pair of convolution and batch norm
            steps.append(step)
    return ".".join(steps)
