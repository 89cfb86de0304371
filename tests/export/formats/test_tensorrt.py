"""Engines are built for real with TensorRT-RTX, which needs no GPU to build."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.formats.artifacts import Source
from export.formats.tensorrt import EngineOptions, build, engine_from_onnx
from export.formats.tensorrt_graph import cast_bytes_first
from f2pnet.errors import BackendError, ConfigError

SHIPPED = Path(__file__).resolve().parents[3] / "configs/engines/surface-nano/model.onnx"
ONE_GPU = EngineOptions(4, compute_capabilities=("8.9",))


@pytest.fixture(scope="module")
def rtx() -> ModuleType:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="needs the extra trt-rtx")
    return module


def small_graph(path: Path, *middle: onnx.NodeProto, batch: int | str = "batch") -> Path:
    """uint8 (B, 8, 8, 3) -> transpose -> cast -> `middle` (from x to y) -> float."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], name="first", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["first"], ["x"], name="cast", to=TensorProto.FLOAT),
        *middle,
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, 8, 8, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3, 8, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    return path


def test_casting_bytes_first_changes_no_number(tmp_path: Path) -> None:
    path = small_graph(tmp_path / "small.onnx", helper.make_node("Sqrt", ["x"], ["y"], name="root"))
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    changed = cast_bytes_first(onnx.load(str(path))).SerializeToString()

    found = onnxruntime.InferenceSession(changed, providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]

    np.testing.assert_array_equal(found, np.sqrt(image.transpose(0, 3, 1, 2).astype(np.float32)))


def test_the_shipped_graph_says_the_same_with_its_bytes_cast_first() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    changed = cast_bytes_first(onnx.load(str(SHIPPED))).SerializeToString()
    answers = [
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": image})
        for model in (str(SHIPPED), changed)
    ]

    for before, after in zip(*answers, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_shipped_engine_builds_in_fp32_for_every_gpu_named(rtx: ModuleType, tmp_path: Path) -> None:
    built = build(Source(SHIPPED, 256, 16, static_batch=False), "fp32", tmp_path)

    assert (tmp_path / built.file).stat().st_size > SHIPPED.stat().st_size / 2
    assert built.built_with == {"tensorrt_rtx": rtx.__version__}
    assert built.gpu is not None
    assert built.gpu.compute_capability


def test_fp32_products_are_built_in_full_precision(
    rtx: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[bool] = []
    build_network = rtx.Builder.build_serialized_network

    def note(builder: object, network: object, config: object) -> object:
        flags.append(config.get_flag(rtx.BuilderFlag.TF32))  # type: ignore[attr-defined]
        return build_network(builder, network, config)

    monkeypatch.setattr(rtx.Builder, "build_serialized_network", note)
    path = small_graph(tmp_path / "relu.onnx", helper.make_node("Relu", ["x"], ["y"]))

    engine_from_onnx(rtx, path, EngineOptions(max_batch=1, compute_capabilities=("8.9",)))

    assert flags == [False]


def test_a_node_that_tensorrt_does_not_take_is_named(rtx: ModuleType, tmp_path: Path) -> None:
    path = small_graph(tmp_path / "odd.onnx", helper.make_node("Unheard", ["x"], ["y"], name="of", domain="odd"))

    with pytest.raises(BackendError, match=r"does not take these nodes of odd\.onnx: Unheard 'of'"):
        engine_from_onnx(rtx, path, ONE_GPU)


def test_a_graph_of_fixed_batch_needs_no_profile(rtx: ModuleType, tmp_path: Path) -> None:
    path = small_graph(tmp_path / "fixed.onnx", helper.make_node("Sqrt", ["x"], ["y"], name="root"), batch=2)

    options = EngineOptions(2, static_batch=True, compute_capabilities=("8.9",))

    assert engine_from_onnx(rtx, path, options)
    assert options.profile == (2, 2, 2)


def test_an_unknown_compute_capability_is_answered_with_the_known_ones(rtx: ModuleType, tmp_path: Path) -> None:
    path = small_graph(tmp_path / "small.onnx", helper.make_node("Sqrt", ["x"], ["y"], name="root"))

    with pytest.raises(ConfigError, match=r"has no SM10; it has .*SM89"):
        engine_from_onnx(rtx, path, EngineOptions(2, compute_capabilities=("1.0",)))


def test_a_precision_without_its_onnx_file_is_refused_with_the_option_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TensorRT fp16 starts from an ONNX file in fp16: add --format onnx"):
        build(Source(SHIPPED, 256, 16, static_batch=False), "fp16", tmp_path)


def types_in(rtx: ModuleType, path: Path) -> set[str]:
    """The types of the parsed network's tensors, as TensorRT sees them."""
    logger = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(logger).create_network(0)
    parser = rtx.OnnxParser(network, logger)
    assert parser.parse(cast_bytes_first(onnx.load(str(path))).SerializeToString())
    layers: list[Any] = [network.get_layer(number) for number in range(network.num_layers)]
    return {layer.get_output(place).dtype.name for layer in layers for place in range(layer.num_outputs)}


def test_halves_of_the_graph_are_halves_in_the_engines_network(rtx: ModuleType, tmp_path: Path) -> None:
    from export.formats.half import islands, to_half

    model = onnx.load(str(SHIPPED))
    path = tmp_path / "half.onnx"
    onnx.save(to_half(model, islands(model)), str(path))

    assert {"HALF", "FLOAT"} <= types_in(rtx, path)
    assert engine_from_onnx(rtx, path, ONE_GPU)


def test_quantised_layers_are_int8_in_the_engines_network(rtx: ModuleType, tmp_path: Path) -> None:
    from export.formats.calibration import _ranges, candidates, quantise

    images = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    path = tmp_path / "model.int8.onnx"
    quantise(SHIPPED, path, _ranges(SHIPPED, images), candidates(onnx.load(str(SHIPPED))))

    assert {"INT8", "FLOAT"} <= types_in(rtx, path)
    assert engine_from_onnx(rtx, path, ONE_GPU)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_of_sams_size_builds(rtx: ModuleType, tmp_path: Path, precision: str) -> None:
    from export.formats.calibration import _ranges, candidates, quantise
    from export.formats.half import islands, to_half
    from export.formats.onnx_artifacts import save
    from export.graph import onnx_from_network
    from models.configuration import network_config
    from models.f2pnet import build_network

    path, target = tmp_path / "model.onnx", tmp_path / f"model.{precision}.onnx"
    onnx_from_network(build_network(network_config("vit_b")).eval(), path)
    model = onnx.load(str(path))
    if precision == "fp16":
        save(to_half(model, islands(model)), target)
    else:
        images = np.random.default_rng(0).integers(0, 256, (1, 1024, 1024, 3), np.uint8)
        quantise(path, target, _ranges(path, images), candidates(model))

    assert len(engine_from_onnx(rtx, target, EngineOptions(8, compute_capabilities=("8.9",)))) > 100e6
