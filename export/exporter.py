"""A checkpoint becomes an engine bundle: graph, artifacts, gate, and only then a folder that looks like an engine.

All or nothing: where the gate refuses one artifact, none is written. Who asked for int8 and got fp32 beside a note
would ship without reading the note.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from export.card import engine_card
from export.formats.artifacts import REFERENCE, Kind, Source, as_artifact, builder_of, onnx_first
from export.formats.synthetic_frames import synthetic_frames
from export.gate.gate import LIMITS, Judgement, Limits, ParityError, judge
from export.gate.parity import read_images
from export.gate.refusal import clear_refusal, write_refusal
from export.opening import known_scores, open_origin
from export.origin import GraphBuilder, Origin
from f2pnet.backends import BACKEND_OF_FORMAT, Device, open_backend
from f2pnet.engine.blind import BlindOn, blind_on, explained
from f2pnet.engine.bundle import Artifact, Bundle, Manifest, MetricSheet, Precision, write_bundle
from f2pnet.errors import BackendError, ConfigError, F2pError
from f2pnet.pictures.preprocess import Image, fit

CALIBRATION_IMAGES = 128
"""Ranges hardly move beyond; evenly spread over the list."""

"""Which backend the gate runs a format on."""


@dataclass(frozen=True)
class ExportOptions:
    """What to build and what to prove it on."""

    kinds: Sequence[Kind] = (REFERENCE,)
    verify: Sequence[Path] = ()  # data set folders, their test images; empty: frames drawn in code
    calibration: Sequence[Path] = ()  # data set folders, their training images; for int8
    image_size: int | None = None  # px; None: the checkpoint's
    max_batch: int = 16
    static_batch: bool = False
    split: bool = False  # also encoder and decoder apart, for prompts
    scores: Sequence[MetricSheet] = ()
    force: bool = False  # also an engine that its score sheets show to be blind
    limits: Mapping[Precision, Limits] = field(default_factory=lambda: LIMITS)


def export_bundle(
    path: Path,
    out_dir: Path,
    options: ExportOptions = ExportOptions(),
    *,
    build: GraphBuilder | None = None,
) -> Bundle:
    """Write the engine of a checkpoint, or of another bundle's ONNX file, to `out_dir`, whose name it takes.

    Every artifact must agree with the checkpoint in float32 (with a bundle: its fp32 ONNX file) on all sets of images.
    Raises ParityError where one does not: nothing is written then but a report beside `out_dir`. Raises
    MissingResource, MissingExtra or ConfigError where something given is not usable or not here.
    """
    sets = _image_sets(options.verify)
    blind = blind_on([*known_scores(path), *(sheet.model_dump() for sheet in options.scores)])
    if blind and not options.force:
        raise BlindEngineError(f"refused. {explained(blind)}\nNo engine was written; --force writes it all the same")
    with tempfile.TemporaryDirectory(prefix="f2p-export-") as scratch:
        folder = Path(scratch)
        origin = open_origin(
            path,
            folder,
            out_dir.name,
            image_size=options.image_size,
            max_batch=options.max_batch,
            static_batch=options.static_batch,
            build=build,
        )
        origin = replace(origin, manifest=_with_blindness(origin.manifest, blind))
        with origin.reference:
            source = replace(origin.source, calibration=_calibration(options.calibration, origin.manifest))
            judgements = _build_and_judge(origin, source, options, sets, folder)
        if any(judgement.misses for judgement in judgements):
            _refuse(out_dir, judgements, origin.manifest)
        halves = _split(origin, folder, options.max_batch) if options.split else []
        return _write(out_dir, origin, options, [*(judgement.proven for judgement in judgements), *halves], folder)


def _split(origin: Origin, folder: Path, max_batch: int) -> list[Artifact]:
    from export.split import build_split  # torch, which nothing else here needs

    return build_split(origin.network, folder, max_batch)


class BlindEngineError(F2pError):
    """An engine that lets nearly every defect pass."""


def _with_blindness(manifest: Manifest, blind: Sequence[BlindOn]) -> Manifest:
    lists = [str(each) for each in blind]
    return manifest.model_copy(update={"training": manifest.training.model_copy(update={"blind_on": lists})})


def _build_and_judge(
    origin: Origin,
    source: Source,
    options: ExportOptions,
    sets: Mapping[str, Sequence[Image]],
    folder: Path,
) -> list[Judgement]:
    """Build what is asked for, and the ONNX files it starts from; judge what is asked for, while the reference runs."""
    judgements = []
    for kind in onnx_first(options.kinds):
        if kind in origin.proven or (kind not in options.kinds and kind in source.held):
            continue
        artifact = origin.built.get(kind)
        if artifact is None:
            built = builder_of(kind)(source, kind[1], folder)
            artifact = as_artifact(kind, built, folder, source)
            source = source.holding(kind, folder / built.file)
        if kind in options.kinds:
            judgements.append(_judge(artifact, origin, folder, sets, options.limits[kind[1]]))
    return judgements


def _judge(
    artifact: Artifact, origin: Origin, folder: Path, sets: Mapping[str, Sequence[Image]], limits: Limits
) -> Judgement:
    """Opens the artifact alone, so that no other can answer for it. Raises MissingResource where it can't run here: an
    engine that nobody saw run is not proven."""
    trial = Bundle(folder, origin.manifest.model_copy(update={"artifacts": [artifact]}))
    device: Device = "auto" if artifact.format == "tensorrt" else "cpu"
    try:
        engine = open_backend(BACKEND_OF_FORMAT[artifact.format], trial, device=device)
    except BackendError as error:
        return Judgement(artifact, [], [str(error)])
    with engine:
        return judge(trial, engine, origin.reference, sets, limits)


def _refuse(out_dir: Path, judgements: Sequence[Judgement], manifest: Manifest) -> None:
    report = write_refusal(out_dir, judgements, manifest.thresholds.pixel)
    reasons = [f"{j.artifact.file}: {'; '.join(j.misses)}" for j in judgements if j.misses]
    raise ParityError(
        f"refused, since the engine does not agree with its checkpoint.\n{chr(10).join(reasons)}\n"
        f"No engine was written; {report} shows the worst images"
    )


def _write(out_dir: Path, origin: Origin, options: ExportOptions, made: Sequence[Artifact], folder: Path) -> Bundle:
    """The new artifacts, and those of the bundle it started from that were not made anew."""
    new = {file for artifact in made for file in artifact.files}
    kinds = {_kind(artifact) for artifact in made}
    kept = [artifact for artifact in origin.kept if _kind(artifact) not in kinds]
    training = origin.manifest.training
    training = training.model_copy(update={"metrics": [*training.metrics, *options.scores]})
    manifest = origin.manifest.model_copy(
        update={"artifacts": sorted([*made, *kept], key=_order), "training": training}
    )
    files = {name: folder / name if name in new else origin.kept_files[name] for name in manifest.files}
    bundle = write_bundle(out_dir, manifest, files, readme=engine_card(manifest))
    clear_refusal(out_dir)
    return bundle


def _kind(artifact: Artifact) -> tuple[str, str, str]:
    return artifact.format, artifact.precision, artifact.role


def _order(artifact: Artifact) -> tuple[bool, bool]:
    """The fp32 ONNX file first, since a consumer takes the first that fits; halves last."""
    return artifact.role != "auto", (artifact.format, artifact.precision) != REFERENCE


def _image_sets(folders: Sequence[Path]) -> dict[str, list[Image]]:
    if not folders:
        return {"synthetic frames": synthetic_frames()}
    sets = {folder.resolve().name: read_images(folder) for folder in folders}
    for name, images in sets.items():
        if not images:
            raise ConfigError(f"data set {name} has no test images: an engine is proven on images")
    return sets


def _calibration(folders: Sequence[Path], manifest: Manifest) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    if not folders:
        return None
    share = -(-CALIBRATION_IMAGES // len(folders))
    images = [image for folder in folders for image in read_images(folder, "train.json", most=share)]
    size, resize = manifest.network.image_size, manifest.input.resize
    return np.stack([fit(image, size, resize=resize) for image in images]) if images else None
