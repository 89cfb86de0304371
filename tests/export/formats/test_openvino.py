"""int8 files for OpenVINO: taken, and right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from export.formats import calibration
from export.formats.artifacts import Source, as_artifact
from export.formats.onnx_artifacts import build_int8
from export.formats.openvino import build
from f2pnet.backends import open_backend
from f2pnet.engine.bundle import Bundle
from tests.export.conftest import Exported

pytest.importorskip("openvino", reason="needs the extra openvino")
pytestmark = pytest.mark.timeout(400)


def test_openvino_runs_the_quantised_network_as_onnxruntime_does(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `bound_pixels` OpenVINO refuses this very file."""
    monkeypatch.setattr(calibration, "RANKING_FLOPS", 0.0)
    images = np.random.default_rng(6).integers(0, 256, (6, 64, 64, 3), np.uint8)
    source = Source(exported.bundle.path(exported.bundle.artifact("onnx")), 64, 4, False, images)
    int8_file = tmp_path / build_int8(source, "int8", tmp_path).file
    source = replace(source, onnx={"int8": int8_file})
    artifact = as_artifact(("openvino", "int8"), build(source, "int8", tmp_path), tmp_path, source)
    bundle = Bundle(tmp_path, exported.bundle.manifest.model_copy(update={"artifacts": [artifact]}))

    with open_backend("openvino", bundle, threads=1) as backend:
        found = backend.run(images[:4])

    session = onnxruntime.InferenceSession(str(int8_file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for name, wanted in zip(names, session.run(names, {"image": images[:4]}), strict=True):
        assert np.abs(found[name] - wanted).mean() < 0.01, name
