"""OpenVINO computes what the graph says, in the precision that the manifest states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.formats.artifacts import Source, as_artifact
from export.formats.openvino import build
from f2pnet.backends import open_backend
from f2pnet.engine.bundle import Bundle, Precision, write_bundle
from f2pnet.errors import BackendError, ConfigError, MissingResource
from tests.toy_engine import SIDE, write_toy_bundle

pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The toy engine with OpenVINO files beside its ONNX file."""
    folder = tmp_path_factory.mktemp("engines")
    plain = write_toy_bundle(folder / "plain", max_batch=3)
    source = Source(plain.path(plain.artifact("onnx")), SIDE, max_batch=3, static_batch=False)
    scratch = folder / "scratch"
    scratch.mkdir()
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    made = [as_artifact(("openvino", kind), build(source, kind, scratch), scratch, source) for kind in precisions]
    manifest = plain.manifest.model_copy(update={"artifacts": [*plain.manifest.artifacts, *made]})
    files = {name: scratch / name for artifact in made for name in artifact.files}
    return write_bundle(folder / "toy", manifest, files | {"model.onnx": source.fp32})


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 1e-2)])
def test_openvino_computes_what_the_graph_says(toy: Bundle, precision: Precision, tolerance: float) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)

    with open_backend("openvino", toy, threads=1, precision=precision) as backend:
        outputs = backend.run(batch)

    np.testing.assert_allclose(outputs["mask"], batch.mean(axis=3) / 255, atol=tolerance)


def test_an_answer_is_not_overwritten_by_the_next_one(toy: Bundle) -> None:
    with open_backend("openvino", toy, threads=1) as backend:
        white = backend.run(np.full((1, SIDE, SIDE, 3), 255, np.uint8))["mask"]
        backend.run(np.zeros((1, SIDE, SIDE, 3), np.uint8))

    assert white.min() == pytest.approx(1.0)


def test_a_precision_that_the_bundle_lacks_is_named_with_the_cure(toy: Bundle) -> None:
    with pytest.raises(MissingResource, match=r"no int8 openvino file.*--format openvino --precision int8"):
        open_backend("openvino", toy, precision="int8")


def test_openvino_refuses_a_gpu_by_name(toy: Bundle) -> None:
    with pytest.raises(ConfigError, match="CPU alone"):
        open_backend("openvino", toy, device="cuda")


def test_a_graph_that_openvino_cannot_read_is_a_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")

    with pytest.raises(BackendError, match=r"refuses model\.onnx"):
        build(Source(broken, SIDE, 1, static_batch=False), "fp32", tmp_path)
