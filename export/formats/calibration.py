"""int8 by calibration on real images, with the layers that suffer left in float.

Which layers suffer is measured: each candidate is quantised alone, and ranked by how far that moves the answer. Then as
many of the worst are left in float as it takes until the masks agree. Products of two activations (attention) and the
high-pass, whose weights are no learnt ones, are no candidates: they lose much and hold little of the work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator

from export.formats.flops import graph_flops
from export.formats.half import islands

QUANTISED_OPS = ("Conv", "MatMul")
RANKING_FLOPS = 6e12
"""What ranking may cost, so that equal checkpoints and images give equal engines on any machine: every layer of nano
at 256 px, the first of a network of SAM's size."""
SHARES_LEFT_IN_FLOAT = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Tried in this order: the share of the candidates, worst first, that stays in float."""
RANKING_IMAGES, TRIAL_IMAGES = 4, 32
THRESHOLD, WANTED_IOU = 0.5, 0.985
"""A little above what the gate asks for, since these are the images that the ranges were taken from."""


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the images one by one, or by as many as the file is fixed to."""

    def __init__(self, path: Path, images: NDArray[np.uint8]) -> None:
        session = _session(path)
        name, batch = session.get_inputs()[0].name, _batch_of(session)
        self._feeds = iter([{name: images[i : i + batch]} for i in range(0, len(images) - batch + 1, batch)])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._feeds, None)


def quantise_within_reach(path: Path, target: Path, images: NDArray[np.uint8]) -> list[str]:
    """Write the int8 form of the fp32 file at `path` to `target`; returns the names of the layers left in float.

    `images` are (N, S, S, 3) RGB. The shares of SHARES_LEFT_IN_FLOAT are tried until the masks of `images` agree to
    WANTED_IOU in the mean; where none reaches it, the last stays, and the gate has the word.
    """
    ranges = _ranges(path, images)
    ranked = rank_by_loss(path, ranges, images[:RANKING_IMAGES])
    wanted = _maps(path, images[:TRIAL_IMAGES]) >= THRESHOLD
    left: list[str] = []
    for share in SHARES_LEFT_IN_FLOAT:
        left = ranked[: round(share * len(ranked))]
        quantise(path, target, ranges, ranked[len(left) :])
        if _agreement(wanted, _maps(target, images[:TRIAL_IMAGES]) >= THRESHOLD) >= WANTED_IOU:
            break
    return left


def rank_by_loss(path: Path, ranges: TensorsData, images: NDArray[np.uint8]) -> list[str]:
    """Names of the candidates, the one whose quantisation alone moves the maps of `images` most first.

    As many are tried as RANKING_FLOPS pays for; the others come last, in the graph's order.
    """
    names, wanted = candidates(onnx.load(str(path))), _maps(path, images)
    trials = int(RANKING_FLOPS / max(1, graph_flops(path) * len(images)))
    losses = dict.fromkeys(names, -1.0)
    with tempfile.TemporaryDirectory(prefix="f2p-int8-") as scratch:
        trial = Path(scratch, "trial.onnx")
        for name in names[:trials]:
            quantise(path, trial, ranges, [name])
            losses[name] = float(np.abs(_maps(trial, images) - wanted).mean())
    return sorted(losses, key=lambda name: -losses[name])


def candidates(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions, and of the products with a learnt matrix."""
    matrices = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    kept = islands(model)
    return [
        node.name
        for node in model.graph.node
        if node.name not in kept
        and (node.op_type == "Conv" or (node.op_type == "MatMul" and node.input[1] in matrices))
    ]


def quantise(path: Path, target: Path, ranges: TensorsData, layers: Sequence[str]) -> None:
    """Static QDQ of these layers' inputs and weights: symmetric, weights per channel, biases in float, since TensorRT
    refuses quantised ones. Outputs stay in float until the next layer takes them in."""
    is_large = path.with_name(f"{path.name}.data").is_file()
    quantizer = QDQQuantizer(
        onnx.load(str(path)),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(layers),
        nodes_to_exclude=[],
        op_types_to_quantize=list(QUANTISED_OPS),
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(QUANTISED_OPS),
        },
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target), is_large)


def _ranges(path: Path, images: NDArray[np.uint8]) -> TensorsData:
    """Smallest and largest value of every operand over the images."""
    with tempfile.TemporaryDirectory(prefix="f2p-int8-") as scratch:
        calibrator = create_calibrator(
            path,
            list(QUANTISED_OPS),
            augmented_model_path=str(Path(scratch, "augmented.onnx")),
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=path.with_name(f"{path.name}.data").is_file(),
        )
        calibrator.collect_data(_Images(path, images))
        return calibrator.compute_data()


def _maps(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, h, 2 w): the first two outputs, mask and pixel map, side by side."""
    session = _session(path)
    feed, names = session.get_inputs()[0].name, [output.name for output in session.get_outputs()][:2]
    batch = _batch_of(session)
    runs = [
        np.concatenate(session.run(names, {feed: images[i : i + batch]}), axis=-1)
        for i in range(0, len(images) - batch + 1, batch)
    ]
    return np.concatenate(runs)


def _agreement(wanted: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Mean IoU; images on which both see nothing count as 1."""
    both, either = (wanted & found).sum(axis=(1, 2)), (wanted | found).sum(axis=(1, 2))
    return float(np.where(either == 0, 1.0, both / np.maximum(either, 1)).mean())


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _batch_of(session: onnxruntime.InferenceSession) -> int:
    """The batch that the file is fixed to; 1 where it is free."""
    first = session.get_inputs()[0].shape[0]
    return first if isinstance(first, int) else 1
