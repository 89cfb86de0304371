"""The network as one ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import onnx
import onnxslim
import torch
from torch import nn

from export.formats.onnx_artifacts import LARGE_BYTES, weights_of
from models.deploy import AutoNetwork, deployed
from models.f2pnet import F2PNet
from models.good_only import GoodOnlyNetwork

Checkpointed: TypeAlias = F2PNet | GoodOnlyNetwork

OPSET = 18
INPUT_NAME = "image"
MOST_IMAGES = 1024
"""Upper end of a free batch."""


def onnx_from_network(network: Checkpointed, path: Path, static_batch: int | None = None) -> dict[str, tuple[int, ...]]:
    """Write `network` to `path`: uint8 (B, S, S, 3) RGB in, normalisation inside; probabilities out.

    B is free, or `static_batch`. Returns the outputs' shapes without the batch, by name, in the graph's order. The file
    is checked by ONNX; large weights lie beside it, as `weights_of(path)`.
    """
    ready = deployed(network)
    size = network.config.image_size
    # Two images, not one: the exporter takes a batch of 1 for a constant.
    example = torch.zeros(static_batch or 2, size, size, 3, dtype=torch.uint8)
    free = {"images": {0: torch.export.Dim("batch", min=1, max=MOST_IMAGES)}}
    shapes = _output_shapes(ready, example[:1])
    write_onnx(
        ready,
        (example,),
        path,
        inputs=[INPUT_NAME],
        outputs=ready.output_names,
        dynamic_shapes=None if static_batch else free,
    )
    return shapes


def write_onnx(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: dict[str, Any] | None,
) -> None:
    """Export by torch's own exporter, simplify, check, and save.

    Large weights go from torch's memory straight into the file beside `path`: a message of protobuf would copy them,
    and each pass of a simplifier once more. Those graphs are simplified by the exporter alone.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists packages that it could do more with
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter talks about its own internals; failures still raise
        exported = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    program = cast(torch.onnx.ONNXProgram, exported)  # None only without dynamo
    if sum(parameter.numel() * parameter.element_size() for parameter in module.parameters()) >= LARGE_BYTES:
        program.save(str(path), external_data=True)
        if not weights_of(path).is_file():
            raise RuntimeError(f"torch did not write {weights_of(path)}")
        onnx.checker.check_model(str(path), full_check=True)
        return
    model = onnxslim.slim(program.model_proto)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _output_shapes(ready: AutoNetwork | GoodOnlyNetwork, example: torch.Tensor) -> dict[str, tuple[int, ...]]:
    with torch.inference_mode():
        values = ready(example)
    return {name: tuple(value.shape[1:]) for name, value in zip(ready.output_names, values, strict=True)}
