"""The seam between the exporter and the formats: which function builds which artifact, from what, and what it reports.

Every artifact starts from one fp32 ONNX file. A builder writes its files into a scratch folder, under the names that
they will have in the bundle; whether they become part of a bundle is for the gate to say.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f2pnet.engine.bundle import Artifact, ArtifactFormat, ExtraFile, GpuFacts, Precision, sha256_of
from f2pnet.errors import ConfigError

Kind = tuple[ArtifactFormat, Precision]

REFERENCE: Kind = ("onnx", "fp32")
"""What everything else is built from; every bundle holds it, so that engines can be rebuilt without the checkpoint."""

BUILDERS: dict[Kind, str] = {
    ("onnx", "fp32"): "export.formats.onnx_artifacts:build_fp32",
    ("onnx", "fp16"): "export.formats.onnx_artifacts:build_fp16",
    ("onnx", "int8"): "export.formats.onnx_artifacts:build_int8",
    ("openvino", "fp32"): "export.formats.openvino:build",
    ("openvino", "bf16"): "export.formats.openvino:build",
    ("openvino", "int8"): "export.formats.openvino:build",
    ("tensorrt", "fp32"): "export.formats.tensorrt:build",
    ("tensorrt", "fp16"): "export.formats.tensorrt:build",
    ("tensorrt", "int8"): "export.formats.tensorrt:build",
}
"""Imported when chosen: `build(source, precision, folder) -> Built`, as `Builder` says."""


@dataclass(frozen=True)
class Built:
    """What a builder wrote into its folder, and what the manifest should say about it."""

    file: str
    extra_files: tuple[str, ...] = ()
    built_with: Mapping[str, str] = field(default_factory=dict)  # package -> version
    gpu: GpuFacts | None = None
    float_layers: tuple[str, ...] = ()  # int8: what was left in float


@dataclass(frozen=True)
class Source:
    """What a builder may read."""

    fp32: Path  # the ONNX file: uint8 (B, S, S, 3) in, probabilities out
    image_size: int  # S, px
    max_batch: int
    static_batch: bool  # True: build for exactly max_batch images; the ONNX file's batch is fixed already
    calibration: NDArray[np.uint8] | None = None  # (N, S, S, 3) RGB, what int8 ranges are taken from
    onnx: Mapping[Precision, Path] = field(default_factory=dict)  # ONNX files of other precisions, built or given

    @property
    def held(self) -> set[Kind]:
        """ONNX files that need not be built, beside the fp32 one."""
        return {("onnx", precision) for precision in self.onnx}

    def holding(self, kind: Kind, file: Path) -> Source:
        """With a file that was built; other formats start from ONNX files alone."""
        return replace(self, onnx={**self.onnx, kind[1]: file}) if kind[0] == "onnx" else self

    def calibration_images(self) -> NDArray[np.uint8]:
        """The images that int8 needs. Raises ConfigError where none were given."""
        if self.calibration is None or not len(self.calibration):
            raise ConfigError("int8 needs images to take its ranges from: name a data set folder with --calibration")
        return self.calibration


Builder = Callable[[Source, Precision, Path], Built]
"""Writes one artifact's files into the folder. Raises F2pError: MissingExtra where a package lacks, BackendError where
the runtime refuses the graph."""


def wanted_kinds(formats: Iterable[str], precisions: Iterable[str]) -> list[Kind]:
    """Every known pair of the two, the reference first.

    A precision that only one of the formats has is built for that one. Raises ConfigError for a format or precision
    that fits nothing asked for.
    """
    formats, precisions = list(dict.fromkeys(formats)), list(dict.fromkeys(precisions))
    for name, values, place in (("format", formats, 0), ("precision", precisions, 1)):
        known = list(dict.fromkeys(kind[place] for kind in BUILDERS))
        for value in values:
            if value not in known:
                raise ConfigError(f"{name} is '{value}', wanted one of: {', '.join(known)}")
    found = [kind for kind in BUILDERS if kind[0] in formats and kind[1] in precisions]
    for place, values, others in ((1, precisions, formats), (0, formats, precisions)):
        for value in values:
            if not any(kind[place] == value for kind in found):
                partners = ", ".join(kind[1 - place] for kind in BUILDERS if kind[place] == value)
                raise ConfigError(f"{value} goes with {partners}, not with {', '.join(others)}")
    return [REFERENCE, *(kind for kind in found if kind != REFERENCE)]


def onnx_first(kinds: Iterable[Kind]) -> list[Kind]:
    """With the ONNX files that other formats are built from in front: int8 and TensorRT's fp16 start from them."""
    kinds = list(dict.fromkeys(kinds))
    needed: list[Kind] = [("onnx", precision) for _, precision in kinds if ("onnx", precision) in BUILDERS]
    return list(dict.fromkeys([REFERENCE, *needed, *kinds]))


def builder_of(kind: Kind) -> Builder:
    """The function that builds this kind."""
    module, _, function = BUILDERS[kind].partition(":")
    builder: Builder = getattr(importlib.import_module(module), function)
    return builder


def as_artifact(kind: Kind, built: Built, folder: Path, source: Source) -> Artifact:
    """The manifest's entry, with the hash of every file; parity comes later."""
    is_reference = kind == REFERENCE
    return Artifact(
        file=built.file,
        format=kind[0],
        precision=kind[1],
        sha256=sha256_of(folder / built.file),
        extra_files=[ExtraFile(file=name, sha256=sha256_of(folder / name)) for name in built.extra_files],
        max_batch=source.max_batch,
        static_batch=source.static_batch,
        built_with=dict(built.built_with),
        built_from=None if is_reference else sha256_of(source.fp32),
        gpu=built.gpu,
        float_layers=list(built.float_layers),
    )
