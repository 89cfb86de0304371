"""Every backend keeps the same promises; only the one that was asked for is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from f2pnet.backends import open_backend
from f2pnet.backends.onnx_runtime import open_session, refuse_two_runtimes
from f2pnet.engine.bundle import Bundle, open_bundle, sha256_of, write_bundle
from f2pnet.errors import BackendError, ConfigError, DeviceLost, ExitCode, MissingResource
from tests.toy_engine import SIDE, write_toy_bundle

RUN_HERE = ("onnxruntime", "null")
"""Those that need neither a GPU nor another file than the toy bundle's."""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_toy_bundle(tmp_path_factory.mktemp("engines") / "toy", max_batch=3)


@pytest.mark.parametrize("name", [*RUN_HERE, "auto"])
def test_every_backend_answers_with_all_outputs_in_the_manifests_shapes(toy: Bundle, name: str) -> None:
    with open_backend(name, toy, threads=1) as backend:
        outputs = backend.run(np.zeros((2, SIDE, SIDE, 3), np.uint8))

    assert {key: (value.shape, value.dtype) for key, value in outputs.items()} == {
        "mask": ((2, SIDE, SIDE), np.float32),
        "score": ((2,), np.float32),
    }


@pytest.mark.parametrize("name", RUN_HERE)
@pytest.mark.parametrize("shape", [(0, SIDE, SIDE, 3), (1, SIDE, SIDE + 1, 3), (1, SIDE, SIDE), (300, SIDE, SIDE, 3)])
def test_every_backend_refuses_a_batch_that_does_not_fit(toy: Bundle, name: str, shape: tuple[int, ...]) -> None:
    with open_backend(name, toy, threads=1) as backend, pytest.raises(ConfigError, match=r"wanted \(1\.\."):
        backend.run(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("name", RUN_HERE)
def test_every_backend_refuses_pixels_that_are_not_bytes(toy: Bundle, name: str) -> None:
    floats = np.zeros((1, SIDE, SIDE, 3), np.float32)

    with open_backend(name, toy, threads=1) as backend, pytest.raises(ConfigError, match="float32; wanted"):
        backend.run(floats)  # type: ignore[arg-type]


def test_onnx_runtime_computes_what_the_graph_says(toy: Bundle) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)

    with open_backend("onnxruntime", toy, threads=1) as backend:
        outputs = backend.run(batch)

    brightness = batch.mean(axis=3) / 255
    np.testing.assert_allclose(outputs["mask"], brightness, atol=1e-6)
    np.testing.assert_allclose(outputs["score"], brightness.max(axis=(1, 2)), atol=1e-6)


def test_an_unknown_backend_is_answered_with_the_known_ones(toy: Bundle) -> None:
    with pytest.raises(ConfigError, match="unknown backend 'onix': wanted one of auto, onnxruntime, null"):
        open_backend("onix", toy)


def test_a_gpu_that_is_asked_for_and_absent_is_an_error(toy: Bundle) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built with CUDA")
    with pytest.raises(MissingResource, match=r"device cuda: .*pip install") as caught:
        open_backend("onnxruntime", toy, device="cuda")
    assert caught.value.exit_code == ExitCode.MISSING


def test_two_onnx_runtimes_at_once_are_refused_with_the_cure() -> None:
    with pytest.raises(MissingResource, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
        refuse_two_runtimes(lambda distribution: Path("site-packages"))
    refuse_two_runtimes(lambda distribution: Path("kit") if distribution == "onnxruntime-gpu" else None)


def test_two_onnx_runtimes_in_two_places_are_taken_by_their_order_on_the_path(tmp_path: Path) -> None:
    """A kit that is unpacked for one run, beside the machine's own."""
    facts = tmp_path / "kit/onnxruntime_gpu-1.31.1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    code = "from f2pnet.backends.onnx_runtime import _import_runtime; print(_import_runtime().__name__)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "kit"), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "onnxruntime"


@pytest.mark.parametrize(
    ("text", "is_lost"),
    [
        ("CUDA failure 700: an illegal memory access", True),
        ("CUDA failure 2: out of memory", False),
        ("CUDNN failure 5: bad parameter", False),
        ("CUBLAS failure 13: execution failed", False),
    ],
)
def test_an_error_of_cuda_that_stays_loses_the_device(toy: Bundle, text: str, is_lost: bool) -> None:
    class Broken:
        def run(self, names: object, feeds: object) -> None:
            raise RuntimeError(text)

    with open_backend("onnxruntime", toy, threads=1) as backend:
        backend._session = Broken()  # type: ignore[attr-defined]
        with pytest.raises(BackendError, match=text[:10]) as caught:
            backend.run(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    assert isinstance(caught.value, DeviceLost) == is_lost


def test_a_file_that_is_no_onnx_is_refused_by_name(toy: Bundle, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no network")
    artifact = toy.manifest.artifacts[0].model_copy(update={"sha256": sha256_of(text)})
    manifest = toy.manifest.model_copy(update={"artifacts": [artifact]})
    bundle = write_bundle(tmp_path / "text-bundle", manifest, {"model.onnx": text})

    with pytest.raises(BackendError, match=r"refuses .*model\.onnx"):
        open_backend("onnxruntime", bundle)


def test_a_graph_with_other_outputs_than_the_manifest_is_refused(toy: Bundle, tmp_path: Path) -> None:
    pixel_map = {"name": "pixel_map", "shape": [SIDE, SIDE]}
    bundle = write_toy_bundle(
        tmp_path / "toy", outputs=[{"name": "score", "shape": []}, pixel_map], defect_output="pixel_map"
    )

    with pytest.raises(BackendError, match=r"engine outputs are .*mask.*manifest says .*pixel_map"):
        open_backend("onnxruntime", bundle)


def test_a_map_of_another_size_than_the_manifest_is_refused(tmp_path: Path) -> None:
    outputs = [{"name": "mask", "shape": [SIDE // 2, SIDE // 2]}, {"name": "score", "shape": []}]
    bundle = write_toy_bundle(tmp_path / "toy", outputs=outputs)

    with (
        open_backend("onnxruntime", bundle, threads=1) as backend,
        pytest.raises(BackendError, match="export the engine again"),
    ):
        backend.run(np.zeros((1, SIDE, SIDE, 3), np.uint8))


def test_null_runs_without_onnx_runtime(toy: Bundle) -> None:
    code = (
        "import sys; from f2pnet.backends import open_backend; from f2pnet.engine.bundle import open_bundle; "
        f"open_backend('null', open_bundle({str(open_bundle(toy.folder).folder)!r})); "
        "print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == "False"


class CudaLessRuntime:
    """As onnxruntime-gpu behaves without a driver: it lists CUDA, and then quietly opens the session on the CPU."""

    class SessionOptions:
        log_severity_level = 2
        intra_op_num_threads = 0

        def add_session_config_entry(self, key: str, value: str) -> None: ...

    class InferenceSession:
        def __init__(self, path: str, options: object, providers: list[str]) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    @staticmethod
    def get_available_providers() -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_a_gpu_that_does_not_start_is_an_error_when_it_was_asked_for() -> None:
    with pytest.raises(MissingResource, match="device cuda: CUDA did not start"):
        open_session(CudaLessRuntime, Path("model.onnx"), "cuda", None)


def test_a_gpu_that_does_not_start_is_logged_when_any_device_will_do(caplog: pytest.LogCaptureFixture) -> None:
    open_session(CudaLessRuntime, Path("model.onnx"), "auto", None)

    assert "CUDA did not start" in caplog.text
    assert "runs on the CPU" in caplog.text


def test_cuda_computes_fp32_in_full_and_is_not_searched_anew_for_every_batch_size() -> None:
    asked: list[object] = []

    class Runtime(CudaLessRuntime):
        class InferenceSession(CudaLessRuntime.InferenceSession):
            def __init__(self, path: str, options: object, providers: list[object]) -> None:
                asked.extend(providers)

            def get_providers(self) -> list[str]:
                return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    open_session(Runtime, Path("model.onnx"), "cuda", None)

    assert asked == [
        ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
        "CPUExecutionProvider",
    ]


def test_the_cpu_is_taken_without_a_word_when_it_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    open_session(CudaLessRuntime, Path("model.onnx"), "cpu", None)

    assert caplog.text == ""
