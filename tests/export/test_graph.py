from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import graph
from export.formats.artifacts import Source
from export.formats.onnx_artifacts import build_fp32

pytestmark = pytest.mark.timeout(400)


def test_large_weights_lie_beside_the_graph_and_belong_to_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGE_BYTES", 0)
    torch.manual_seed(0)
    layer, given = torch.nn.Linear(64, 32).eval(), torch.rand(2, 64)
    path = tmp_path / "made" / "model.onnx"
    path.parent.mkdir()
    graph.write_onnx(layer, (given,), path, inputs=["x"], outputs=["y"], dynamic_shapes=None)
    source = Source(path, image_size=64, max_batch=2, static_batch=True)
    built = build_fp32(source, "fp32", tmp_path)
    assert (built.file, built.extra_files) == ("model.onnx", ("model.onnx.data",))
    assert (tmp_path / "model.onnx.data").stat().st_size >= 4 * 64 * 32
    assert onnx.load(str(tmp_path / "model.onnx"), load_external_data=False).ByteSize() < 4 * 64 * 32
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], {"x": given.numpy()})
    assert np.allclose(found, layer(given).detach(), atol=1e-6)
