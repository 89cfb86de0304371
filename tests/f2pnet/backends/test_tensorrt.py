"""An engine that does not fit this machine is answered with the command that builds one which does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from f2pnet.backends import open_backend
from f2pnet.backends.cuda_driver import DriverFacts, probe
from f2pnet.backends.tensorrt import TensorRtBackend, check_binding, flavour_of
from f2pnet.backends.tensorrt_flavour import first_installed
from f2pnet.engine.bundle import Artifact, Bundle, GpuFacts
from f2pnet.errors import BackendError, ConfigError, MissingResource
from tests.toy_engine import write_toy_bundle

SHIPPED = Path(__file__).resolve().parents[3] / "configs/engines/surface-nano"
ADA = DriverFacts("13.0", "NVIDIA L4", "8.9")


def bundle_with_engine(folder: Path, **changes: object) -> tuple[Bundle, Artifact]:
    """A toy bundle that says it holds an engine; its file is not looked at here."""
    toy = write_toy_bundle(folder)
    onnx = toy.manifest.artifacts[0]
    engine = onnx.model_copy(
        update={
            "file": "model.fp16.engine",
            "format": "tensorrt",
            "precision": "fp16",
            "built_with": {"tensorrt_rtx": "1.7.1.116"},
            "built_from": onnx.sha256,
            "gpu": GpuFacts(name="any of these", compute_capability="8.6, 8.9"),
            **changes,
        }
    )
    return Bundle(toy.folder, toy.manifest.model_copy(update={"artifacts": [onnx, engine]})), engine


def test_an_engine_for_this_gpu_and_this_version_is_taken(tmp_path: Path) -> None:
    bundle, engine = bundle_with_engine(tmp_path / "toy")

    check_binding(bundle, engine, ADA, "1.7.1.116")


@pytest.mark.parametrize(
    ("driver", "version", "changes", "reason"),
    [
        (ADA, "1.8.0.1", {}, r"was built with tensorrt_rtx 1\.7\.1\.116, installed is 1\.8\.0\.1"),
        (
            DriverFacts("13.0", "NVIDIA H200", "9.0"),
            "1.7.1.116",
            {},
            r"capability 8\.6, 8\.9, this NVIDIA H200 has 9\.0",
        ),
        (ADA, "1.7.1.116", {"gpu": None}, "compute capability unknown"),
        (ADA, "1.7.1.116", {"built_from": "0" * 64}, "from an ONNX file that the bundle does not hold"),
    ],
)
def test_an_engine_that_does_not_fit_is_answered_with_the_command_that_builds_it_again(
    tmp_path: Path, driver: DriverFacts, version: str, changes: dict[str, object], reason: str
) -> None:
    bundle, engine = bundle_with_engine(tmp_path / "toy", **changes)
    cure = f"`f2p export {bundle.folder} --out {bundle.folder} --format tensorrt --precision fp16`"

    with pytest.raises(BackendError, match=reason) as caught:
        check_binding(bundle, engine, driver, version)
    assert cure in str(caught.value)


def test_an_engine_of_unknown_make_is_refused(tmp_path: Path) -> None:
    _, engine = bundle_with_engine(tmp_path / "toy", built_with={})

    with pytest.raises(ConfigError, match="was built with nothing named"):
        flavour_of(engine)


def test_the_cpu_is_no_device_for_tensorrt(tmp_path: Path) -> None:
    bundle, _ = bundle_with_engine(tmp_path / "toy")

    with pytest.raises(ConfigError, match="asked for was device cpu: use backend onnxruntime"):
        TensorRtBackend(bundle, device="cpu")


def test_without_a_driver_the_runtime_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> DriverFacts:
        raise MissingResource("no NVIDIA driver here")

    bundle, _ = bundle_with_engine(tmp_path / "toy")
    monkeypatch.setattr("f2pnet.backends.tensorrt.probe", absent)
    monkeypatch.setattr("f2pnet.backends.tensorrt.import_flavour", pytest.fail)

    with pytest.raises(MissingResource, match="no NVIDIA driver here"):
        TensorRtBackend(bundle)


@pytest.mark.gpu
def test_on_a_gpu_it_answers_as_onnx_runtime_does(tmp_path: Path) -> None:
    try:
        probe()
        first_installed()
    except MissingResource as missing:
        pytest.skip(str(missing))
    from export.exporter import ExportOptions, export_bundle

    bundle = export_bundle(SHIPPED, tmp_path / "surface-nano", ExportOptions([("tensorrt", "fp32")]))
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8)
    batches = [images, images[:1], images[1:]]

    with open_backend("onnxruntime", bundle, device="cpu") as reference, TensorRtBackend(bundle) as backend:
        answers = [reference.run(batch) for batch in batches]
        for _ in range(2):  # the second time from captured graphs
            for wanted, found in zip(answers, backend.run_all(batches), strict=True):
                for name, values in wanted.items():
                    np.testing.assert_allclose(found[name], values, atol=2e-2)
