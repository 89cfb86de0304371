"""The network as one ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import cast

import onnx
import onnxslim
import torch

from models.deploy import AutoNetwork
from models.f2pnet import F2PNet

OPSET = 18
INPUT_NAME = "image"


def onnx_from_network(network: F2PNet, path: Path) -> dict[str, tuple[int, ...]]:
    """Write `network` to `path`: uint8 (B, S, S, 3) RGB in, B free, normalisation inside; probabilities out.

    Returns the outputs' shapes without the batch, by name, in the graph's order. The file is checked by ONNX.
    """
    deployed = AutoNetwork(network).eval()
    size = network.config.image_size
    # Two images, not one: the exporter takes a batch of 1 for a constant.
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        shapes = {
            name: tuple(value.shape[1:]) for name, value in zip(deployed.output_names, deployed(example), strict=True)
        }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists packages that it could do more with
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter talks about its own internals; failures still raise
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(deployed.output_names),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=1024)}},
            verbose=False,
        )
    model = onnxslim.slim(cast(torch.onnx.ONNXProgram, program).model_proto)  # None only without dynamo
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return shapes
