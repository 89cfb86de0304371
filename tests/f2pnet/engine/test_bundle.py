"""The bundle vouches for its files: whatever does not match is refused, and a new one appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from f2pnet.engine.bundle import Artifact, Manifest, open_bundle, sha256_of, write_bundle
from f2pnet.errors import BundleError, ConfigError, ExitCode, MissingResource

MODEL = b"not really a network"


def manifest(**changes: Any) -> Manifest:
    """A complete manifest of one ONNX file that holds MODEL."""
    content: dict[str, Any] = {
        "name": "toy",
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        "network": {"sam_type": "nano", "image_size": 64, "parameters": 1},
        "outputs": [{"name": "mask", "shape": [16, 16]}, {"name": "score", "shape": []}],
        "classes": ["defect"],
        "training": {"dataset": "none"},
        "artifacts": [
            {
                "file": "model.onnx",
                "format": "onnx",
                "precision": "fp32",
                "sha256": hashlib.sha256(MODEL).hexdigest(),
                "max_batch": 4,
            }
        ],
    }
    return Manifest.model_validate(content | changes)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "exported.onnx"
    path.write_bytes(MODEL)
    return path


@pytest.fixture
def bundle_dir(tmp_path: Path, model_file: Path) -> Path:
    write_bundle(tmp_path / "toy", manifest(), {"model.onnx": model_file}, readme="# Toy\n")
    return tmp_path / "toy"


def test_a_written_bundle_opens_with_the_same_manifest(bundle_dir: Path) -> None:
    bundle = open_bundle(bundle_dir)

    assert bundle.manifest == manifest()
    assert bundle.path(bundle.artifact("onnx")).read_bytes() == MODEL
    assert (bundle_dir / "README.md").read_text() == "# Toy\n"


def test_writing_leaves_nothing_beside_the_bundle(bundle_dir: Path) -> None:
    assert {path.name for path in bundle_dir.parent.iterdir()} == {"toy", "exported.onnx"}


def test_a_bundle_is_replaced_by_the_next_one(bundle_dir: Path, model_file: Path) -> None:
    write_bundle(bundle_dir, manifest(name="second"), {"model.onnx": model_file})

    assert open_bundle(bundle_dir).manifest.name == "second"
    assert not (bundle_dir / "README.md").exists()


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigError, match="not an engine bundle"):
        write_bundle(tmp_path / "toy", manifest(), {"model.onnx": model_file})
    assert (tmp_path / "toy" / "thesis.txt").exists()


def test_a_file_that_does_not_have_the_stated_hash_is_not_published(tmp_path: Path, model_file: Path) -> None:
    model_file.write_bytes(b"another network")

    with pytest.raises(BundleError, match="changed or damaged"):
        write_bundle(tmp_path / "toy", manifest(), {"model.onnx": model_file})
    assert not (tmp_path / "toy").exists()


def test_one_changed_byte_is_refused(bundle_dir: Path) -> None:
    (bundle_dir / "model.onnx").write_bytes(b"N" + MODEL[1:])

    with pytest.raises(BundleError, match="changed or damaged") as caught:
        open_bundle(bundle_dir)
    assert caught.value.exit_code == ExitCode.CHECK_FAILED


def test_an_empty_file_is_named_as_such(bundle_dir: Path) -> None:
    (bundle_dir / "model.onnx").write_bytes(b"")

    with pytest.raises(BundleError, match=r"model\.onnx is empty"):
        open_bundle(bundle_dir)


def test_a_changed_byte_in_a_file_beside_the_model_is_refused(tmp_path: Path, model_file: Path) -> None:
    weights = tmp_path / "weights.data"
    weights.write_bytes(b"weights")
    (artifact,) = manifest().artifacts
    extra = [{"file": "model.onnx.data", "sha256": sha256_of(weights)}]
    facts = manifest(artifacts=[artifact.model_dump() | {"extra_files": extra}])
    folder = tmp_path / "toy"
    bundle = write_bundle(folder, facts, {"model.onnx": model_file, "model.onnx.data": weights})
    assert bundle.sha256 != write_bundle(tmp_path / "bare", manifest(), {"model.onnx": model_file}).sha256
    (folder / "model.onnx.data").write_bytes(b"Weights")
    with pytest.raises(BundleError, match=r"model\.onnx\.data was changed or damaged"):
        open_bundle(folder)


def test_an_artifact_is_chosen_by_format_precision_and_role(tmp_path: Path, model_file: Path) -> None:
    (artifact,) = manifest().artifacts
    kinds = [("fp32.onnx", "fp32", "auto"), ("int8.onnx", "int8", "auto"), ("decoder.onnx", "fp32", "decoder")]
    facts = manifest(
        artifacts=[
            artifact.model_dump() | {"file": file, "precision": precision, "role": role}
            for file, precision, role in kinds
        ]
    )
    bundle = write_bundle(tmp_path / "toy", facts, {file: model_file for file, _, _ in kinds})
    assert bundle.artifact("onnx").file == "fp32.onnx"
    assert bundle.artifact("onnx", "int8").file == "int8.onnx"
    assert bundle.artifact("onnx", role="decoder").file == "decoder.onnx"
    with pytest.raises(MissingResource, match="no fp16 onnx file, only fp32 onnx, fp32 onnx decoder, int8 onnx"):
        bundle.artifact("onnx", "fp16")


def test_a_missing_file_is_named(bundle_dir: Path) -> None:
    (bundle_dir / "model.onnx").unlink()

    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        open_bundle(bundle_dir)


def test_a_missing_bundle_is_something_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="no engine bundle") as caught:
        open_bundle(tmp_path / "nowhere")
    assert caught.value.exit_code == ExitCode.MISSING


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, this f2pnet reads 1"),
        ({"treshold": 1}, "unknown key; did you mean 'thresholds'"),
        ({"classes": ["scratch", "pit"]}, "need the output class_map"),
        ({"outputs": [{"name": "mask", "shape": [16, 16]}]}, "outputs lack score"),
        ({"outputs": [{"name": "mask", "shape": [16]}, {"name": "score", "shape": []}]}, "wanted 2 numbers"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(bundle_dir: Path, change: dict[str, Any], message: str) -> None:
    path = bundle_dir / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(BundleError, match=message):
        open_bundle(bundle_dir)


def test_text_that_is_not_json_is_refused(bundle_dir: Path) -> None:
    (bundle_dir / "manifest.json").write_text("{")

    with pytest.raises(BundleError, match="not JSON"):
        open_bundle(bundle_dir)


@pytest.mark.parametrize("name", ["../other.onnx", "/etc/passwd", ".hidden", "a/b.onnx"])
def test_a_manifest_cannot_point_outside_its_folder(name: str) -> None:
    facts = manifest().artifacts[0].model_dump() | {"file": name}

    with pytest.raises(ValueError, match="pattern"):
        Artifact.model_validate(facts)


def test_the_engine_id_changes_with_weights_and_thresholds_but_not_with_the_date(
    tmp_path: Path, model_file: Path
) -> None:
    files = {"model.onnx": model_file}
    first = write_bundle(tmp_path / "a", manifest(), files)
    later = write_bundle(tmp_path / "b", manifest(created_at=datetime(2026, 5, 6, tzinfo=UTC)), files)
    stricter = write_bundle(tmp_path / "c", manifest(thresholds={"pixel": 0.4}), files)
    model_file.write_bytes(b"new weights")
    artifact = manifest().artifacts[0].model_copy(update={"sha256": sha256_of(model_file)})
    retrained = write_bundle(tmp_path / "d", manifest(artifacts=[artifact.model_dump()]), files)

    assert len(first.engine_id) == 12
    assert first.engine_id == later.engine_id
    assert len({first.engine_id, stricter.engine_id, retrained.engine_id}) == 3


def test_an_absent_format_is_answered_with_the_command_that_makes_it(bundle_dir: Path) -> None:
    with pytest.raises(MissingResource, match="f2p export --format tensorrt"):
        open_bundle(bundle_dir).artifact("tensorrt")
