"""The engine bundle: a folder with model files and a manifest that vouches for them (docs/contract.md).

A bundle is the only way an engine reaches a line. It is opened only when every file has the sha256 that the manifest
states, and it is written in one step, so that a reader never meets half of one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from f2pnet.config.base import StrictModel, parse_config
from f2pnet.config.precision import Precision as Precision  # here too, since a bundle is where readers meet it
from f2pnet.errors import BundleError, ConfigError, MissingResource
from f2pnet.pictures.preprocess import Resize

SCHEMA_VERSION: Literal[1] = 1
MANIFEST_NAME = "manifest.json"
ENGINE_ID_DIGITS = 12

ArtifactFormat = Literal["onnx", "tensorrt", "openvino", "checkpoint"]
Role = Literal["auto", "encoder", "decoder"]
OutputName = Literal["mask", "pixel_map", "score", "class_map"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
"""A plain name inside the bundle: no folder, nothing hidden, so that a manifest can't point outside."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class NetworkFacts(StrictModel):
    """Which network the engine was made from."""

    sam_type: str = Field(min_length=1, description="size: nano, tiny, vit_t, vit_b, vit_l, vit_h")
    image_size: int = Field(ge=8, description="side of the square input, px")
    parameters: int = Field(ge=0, description="weights in the exported graph")
    second_pass: Literal["none", "mask", "points", "boxes"] = Field(
        default="none",
        description="prompts that the network makes from its own pixel map for a second decoding, inside the graph",
    )


class InputSpec(StrictModel):
    """What the engine is fed: (B, image_size, image_size, 3) uint8 RGB; normalisation is inside the graph."""

    name: str = Field("image", description="name of the graph's input")
    dtype: Literal["uint8"] = Field("uint8", description="of its values")
    layout: Literal["NHWC"] = Field("NHWC", description="order of its axes")
    color: Literal["RGB"] = Field("RGB", description="order of its channels")
    resize: Resize = Field(
        "stretch",
        description="how a frame becomes square: stretched, or letterbox: aspect ratio kept, the rest filled with the "
        "colour (124, 116, 104)",
    )


class OutputSpec(StrictModel):
    """One named float32 output of probabilities, 0..1.

    `mask` and `pixel_map` are (B, h, w), `score` is (B,), `class_map` is (B, K, h, w) with one channel per class.
    `shape` leaves the batch out: [64, 64], [] or [3, 64, 64].
    """

    name: OutputName = Field(description="what it holds")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(description="without the batch")

    @model_validator(mode="after")
    def _rank_fits_name(self) -> Self:
        wanted = {"mask": 2, "pixel_map": 2, "score": 0, "class_map": 3}[self.name]
        if len(self.shape) != wanted:
            raise ValueError(
                f"output {self.name} has shape {list(self.shape)} without the batch; wanted {wanted} numbers"
            )
        return self


class Thresholds(StrictModel):
    """Defaults chosen on validation images; a recipe may override each."""

    pixel: Probability = Field(0.5, description="a pixel at or above it is defective")
    score: Probability = Field(
        default=0.0, description="image scores below this are OK without a look at the map; 0: no gate"
    )
    min_area_px: int = Field(default=0, ge=0, description="smaller regions are ignored; px of the source frame")


class MetricSheet(StrictModel):
    """Figures of one evaluation, never without the protocol that made them."""

    dataset: str = Field(description="name of the data set")
    split: str = Field(description="list of the data set")
    protocol: str = Field(description="auto (no prompts) or oracle-box")
    images: int = Field(ge=1, description="how many")
    defective: int | None = Field(default=None, ge=0, description="how many of them are defective; null: not counted")
    values: dict[str, float] = Field(description="figures by name")


class PriorFacts(StrictModel):
    """A file of weights that training started from."""

    part: Literal["sam", "cnn", "network"] = Field(description="what it began")
    file: str = Field(description="name of the file")
    sha256: Sha256 = Field(description="its hash")
    licence: str = Field(description="its licence")
    source: str = Field(description="where it came from")


class TrainingFacts(StrictModel):
    """Where the weights come from."""

    dataset: str = Field(description="names of the data sets")
    shots: int | None = Field(default=None, ge=1, description="defective training images; null: the full list")
    metrics: list[MetricSheet] = Field(default_factory=list, description="score sheets")
    priors: list[PriorFacts] = Field(default_factory=list, description="pretrained weights that training started from")
    from_scratch: bool | None = Field(default=None, description="all weights began as random numbers; null: not known")
    blind_on: list[str] = Field(
        default_factory=list, description="lists on which nearly no defective image is rejected: exported by --force"
    )
    notes: str | None = Field(default=None, description="licences of the data and whatever else a user must know")


class GpuFacts(StrictModel):
    """The GPU that an artifact was built for, and only runs on; `built_with` has the runtime's flavour and version."""

    name: str = Field(description="as the driver names it")
    compute_capability: str = Field(description="such as 8.9")


class Parity(StrictModel):
    """How far the artifact agrees with its checkpoint on real images."""

    dataset: str = Field(description="name of the images")
    images: int = Field(ge=1, description="how many")
    mask_iou_mean: Probability = Field(description="intersection over union of both masks, mean over the images")
    mask_iou_min: Probability = Field(description="of the worst image")
    max_abs_diff: float = Field(ge=0.0, description="largest difference of a probability")
    score_max_diff: float | None = Field(
        default=None, ge=0.0, description="largest difference of an image score; null: not measured apart"
    )
    verdict_agreement: Probability = Field(description="share of images with the same verdict")


class ExtraFile(StrictModel):
    """A file that an artifact needs beside its own: weights kept outside of the graph, a timing cache."""

    file: FileName = Field(description="name beside the manifest")
    sha256: Sha256 = Field(description="hash of the file")


class Artifact(StrictModel):
    """One engine: a model file, and what lies beside it."""

    file: FileName = Field(description="name beside the manifest")
    format: ArtifactFormat = Field(description="format of the file")
    precision: Precision = Field(description="in what numbers it computes")
    sha256: Sha256 = Field(description="hash of the file")
    extra_files: list[ExtraFile] = Field(default_factory=list, description="files that it needs beside it")
    role: Role = Field(
        default="auto", description="auto: pixels in, verdict's maps out; encoder and decoder: its halves, for prompts"
    )
    max_batch: int = Field(ge=1, description="most images in one run")
    static_batch: bool = Field(default=False, description="true: the file takes exactly max_batch images")
    built_with: dict[str, str] = Field(default_factory=dict, description="package -> version")
    built_from: Sha256 | None = Field(default=None, description="the ONNX file it was built from; null: the checkpoint")
    gpu: GpuFacts | None = Field(None, description="null: it runs on any device of its backend")
    float_layers: list[str] = Field(
        default_factory=list, description="int8: layers left in float because measurement shows they need it"
    )
    parity: Parity | None = Field(default=None, description="the worst set's; null: never compared with its checkpoint")
    parities: list[Parity] = Field(default_factory=list, description="one for each set of images it was compared on")

    @property
    def files(self) -> dict[str, str]:
        """The hash of every file it needs, by name."""
        return {self.file: self.sha256} | {extra.file: extra.sha256 for extra in self.extra_files}


class Manifest(StrictModel):
    """Everything a consumer needs to know to run the engine."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="of this file")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="name of the engine")
    created_at: AwareDatetime = Field(description="when it was exported, with its time zone")
    network: NetworkFacts = Field(description="the network behind it")
    checkpoint_sha256: Sha256 | None = Field(default=None, description="null: made without a checkpoint")
    input: InputSpec = Field(default_factory=InputSpec, description="what it is fed")
    outputs: list[OutputSpec] = Field(description="what it answers")
    defect_output: Literal["mask", "pixel_map"] = Field(default="mask", description="the map that is cut into defects")
    classes: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1, description="names of the defect classes")
    thresholds: Thresholds = Field(default_factory=Thresholds, description="defaults of its recipe")
    training: TrainingFacts = Field(description="what it was trained on, and how well it does")
    artifacts: list[Artifact] = Field(min_length=1, description="its model files; the first that fits is used")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        shapes = {output.name: output.shape for output in self.outputs}
        if len(shapes) < len(self.outputs):
            raise ValueError("an output is listed twice")
        lacking = {self.defect_output, "score"} - set(shapes)
        if lacking:
            raise ValueError(f"outputs lack {', '.join(sorted(lacking))}; found {', '.join(shapes) or 'none'}")
        if "class_map" in shapes and shapes["class_map"][0] != len(self.classes):
            raise ValueError(f"class_map has {shapes['class_map'][0]} channels for {len(self.classes)} classes")
        if len(self.classes) > 1 and "class_map" not in shapes:
            raise ValueError(f"{len(self.classes)} classes need the output class_map; found {', '.join(shapes)}")
        owners = [file for artifact in self.artifacts for file in (artifact.file, *_extra_names(artifact))]
        if len(set(owners)) < len(owners):
            raise ValueError("an artifact file is listed twice")
        return self

    @property
    def files(self) -> dict[str, str]:
        """The hash of every file of every artifact, by name."""
        return {file: sha256 for artifact in self.artifacts for file, sha256 in artifact.files.items()}

    def output(self, name: str) -> OutputSpec | None:
        """The output of that name, None where the engine has none."""
        return next((output for output in self.outputs if output.name == name), None)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were checked against its manifest."""

    folder: Path
    manifest: Manifest

    @cached_property
    def sha256(self) -> str:
        """Hash of all that can change a verdict: the model files and how their outputs are read (64 hex digits)."""
        manifest = self.manifest
        content = {
            "artifacts": sorted([file, sha256] for file, sha256 in manifest.files.items()),
            "classes": manifest.classes,
            "defect_output": manifest.defect_output,
            "thresholds": manifest.thresholds.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def engine_id(self) -> str:
        """The first 12 digits of `sha256`, as every verdict carries them."""
        return self.sha256[:ENGINE_ID_DIGITS]

    def artifact(self, kind: ArtifactFormat, precision: Precision | None = None, *, role: Role = "auto") -> Artifact:
        """The first artifact of that format, and of that precision where one is given.

        Raises MissingResource when the bundle has none.
        """
        for artifact in self.manifest.artifacts:
            if (artifact.format, artifact.role) == (kind, role) and precision in (None, artifact.precision):
                return artifact
        wanted = " ".join(word for word in (precision, kind, "" if role == "auto" else role) if word)
        held = ", ".join(sorted({_described(artifact) for artifact in self.manifest.artifacts}))
        options = f"--format {kind}" + (f" --precision {precision}" if precision else "")
        options += "" if role == "auto" else " --split"
        raise MissingResource(
            f"engine bundle {self.folder} has no {wanted} file, only {held}: export it with `f2p export {options}`"
        )

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact's file lies."""
        return self.folder / artifact.file


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check every file of it.

    Raises MissingResource when there is no such folder, BundleError when it is no bundle or does not match its hashes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingResource(f"no engine bundle {folder}: check the path, or make one with `f2p export`")
    manifest = _read_manifest(folder / MANIFEST_NAME)
    for file, sha256 in manifest.files.items():
        _check_file(folder / file, sha256)
    return Bundle(folder, manifest)


def write_bundle(
    folder: Path | str, manifest: Manifest, files: Mapping[str, Path], readme: str | None = None
) -> Bundle:
    """Write a bundle in one step: it is put together and checked beside `folder`, then moved there.

    `files` maps the name of each artifact's files to where its bytes are now; `readme` becomes README.md. A bundle that
    stands at `folder` is replaced; anything else there is left alone and raises ConfigError. Returns the opened bundle.
    """
    folder = Path(folder)
    refuse_other_content(folder)
    named = set(manifest.files)
    if named != set(files):
        raise ConfigError(f"the manifest lists {sorted(named)}, but the files given are {sorted(files)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        for name, path in files.items():
            shutil.copyfile(path, new / name)
        if readme is not None:
            (new / "README.md").write_text(readme, encoding="utf-8")
        (new / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        open_bundle(new)
        if folder.exists():
            folder.rename(Path(scratch, "old"))  # goes with the scratch folder
        new.rename(folder)
    return Bundle(folder, manifest)


def _extra_names(artifact: Artifact) -> list[str]:
    return [extra.file for extra in artifact.extra_files]


def _described(artifact: Artifact) -> str:
    words = (artifact.precision, artifact.format, "" if artifact.role == "auto" else artifact.role)
    return " ".join(word for word in words if word)


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise BundleError(f"{path.parent} is not an engine bundle: it has no {MANIFEST_NAME}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise BundleError(f"{path} is not JSON ({error}): copy or export the bundle again") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema_version {version!r}, this f2pnet reads {SCHEMA_VERSION}: "
            "export the engine again, or install the f2pnet that made it"
        )
    try:
        return parse_config(content, Manifest, source=str(path))
    except ConfigError as error:
        raise BundleError(f"{error}\nexport the engine again") from error


def _unreadable(path: Path, error: OSError) -> MissingResource:
    return MissingResource(f"engine file {path} can't be read: {error.strerror}; give this user the right to read it")


def _check_file(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise BundleError(f"engine file {path} is missing: copy or export the bundle again")
    if path.stat().st_size == 0:
        raise BundleError(f"engine file {path} is empty (0 bytes): copy or export the bundle again")
    try:
        found = sha256_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if found != wanted:
        raise BundleError(
            f"engine file {path} was changed or damaged: its sha256 is {found[:12]}..., "
            f"the manifest says {wanted[:12]}...; copy or export the bundle again"
        )


def refuse_other_content(folder: Path) -> None:
    """Raise ConfigError where something other than a bundle stands at `folder`, which may not be replaced."""
    if not folder.exists() or (folder.is_dir() and ((folder / MANIFEST_NAME).is_file() or not any(folder.iterdir()))):
        return
    raise ConfigError(f"{folder} exists and is not an engine bundle: choose another place, or delete it")
