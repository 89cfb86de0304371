from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from export.exporter import BlindEngineError, ExportOptions, export_bundle
from export.formats.artifacts import Kind
from export.gate.gate import LIMITS, Limits, ParityError
from f2pnet.backends import open_backend
from f2pnet.cli import app
from f2pnet.engine.bundle import open_bundle, sha256_of
from f2pnet.errors import BundleError, ConfigError, MissingResource
from f2pnet.inspection.inspector import Inspector
from models.configuration import network_config
from models.f2pnet import build_network
from models.files.checkpoint import save_checkpoint
from tests.export.conftest import FACTS, Exported

# The graph is made once, in a fixture; on a busy machine the exporter takes its time.
pytestmark = pytest.mark.timeout(400)


def test_the_manifest_tells_what_the_checkpoint_knew(exported: Exported) -> None:
    manifest = open_bundle(exported.bundle.folder).manifest
    assert manifest.name == "small"
    assert manifest.network.parameters == sum(p.numel() for p in exported.network.parameters())
    assert manifest.checkpoint_sha256 == sha256_of(exported.checkpoint)
    assert manifest.thresholds.model_dump() == {"pixel": 0.45, "score": 0.1, "min_area_px": 5}
    assert manifest.defect_output == "pixel_map"
    assert manifest.training.notes == "Made for a test."


def test_the_engine_answers_as_the_network_does_at_every_batch_size(exported: Exported) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        wanted = exported.network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    with open_backend("onnxruntime", exported.bundle, threads=1) as engine:
        for batch in (1, 3, 4):
            found = engine.run(pixels[:batch])
            assert np.allclose(found["mask"], wanted.mask_logits[:batch, 0].sigmoid(), atol=1e-4)
            assert np.allclose(found["pixel_map"], wanted.pixel_logits[:batch, 0].sigmoid(), atol=1e-4)
            assert np.allclose(found["score"], wanted.image_logits[:batch].sigmoid(), atol=1e-4)


def test_the_graph_is_one_checked_file_with_a_free_batch(exported: Exported) -> None:
    model = onnx.load(str(exported.bundle.path(exported.bundle.manifest.artifacts[0])))
    onnx.checker.check_model(model, full_check=True)
    (image,) = model.graph.input
    assert image.name == "image"
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert image.type.tensor_type.shape.dim[0].dim_param
    assert next(opset.version for opset in model.opset_import if not opset.domain) >= 18


def test_parity_is_measured_on_the_pictures_and_stands_in_manifest_and_readme(exported: Exported) -> None:
    parity = exported.bundle.manifest.artifacts[0].parity
    assert parity is not None
    assert (parity.dataset, parity.images) == ("pictures", 6)
    assert parity.max_abs_diff < 1e-4
    assert parity.verdict_agreement == 1.0
    readme = (exported.bundle.folder / "README.md").read_text()
    assert "Made for a test." in readme
    assert "| pictures | 6 |" in readme


def test_the_inspector_opens_what_was_exported(exported: Exported) -> None:
    with Inspector.open(exported.bundle.folder, threads=1) as inspector:
        assert inspector.inspect(np.zeros((100, 80), np.uint8)).engine == exported.bundle.engine_id


def test_an_engine_that_disagrees_leaves_nothing_behind(exported: Exported, tmp_path: Path) -> None:
    impossible = Limits(max_abs_diff=-1.0, mask_iou_mean=1.1, mask_iou_min=0.0, verdict_agreement=0.0)
    options = ExportOptions(verify=[exported.pictures], limits=LIMITS | {"fp32": impossible})
    with pytest.raises(ParityError, match=r"mask_iou_mean is 1\.0000, wanted at least 1\.1; .*max_abs_diff"):
        export_bundle(exported.checkpoint, tmp_path / "engine", options, build=exported.build)
    assert [path.name for path in tmp_path.iterdir()] == ["engine.refused"]
    report = tmp_path / "engine.refused"
    (facts,) = json.loads((report / "report.json").read_text())
    assert facts["parities"][0]["images"] == 6
    assert cv2.imread(str(report / "worst-model.onnx.png")).shape == (24 + 6 * 256, 4 * 256, 3)
    assert "worst-model.onnx.png" in (report / "report.html").read_text()
    with pytest.raises(BundleError, match="not an engine bundle"):
        open_bundle(report)
    export_bundle(exported.checkpoint, tmp_path / "engine", ExportOptions(), build=exported.build)
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]


def test_weights_with_a_nan_are_refused(exported: Exported, tmp_path: Path) -> None:
    network = build_network(network_config("nano", 64)).eval()
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.fill_(math.nan)
    save_checkpoint(tmp_path / "nan.pth", network, {})
    with pytest.raises(ConfigError, match=r"NaN or infinite weights \(decoder\..*training diverged"):
        export_bundle(tmp_path / "nan.pth", tmp_path / "engine", build=exported.build)
    assert not (tmp_path / "engine").exists()


def test_a_data_set_without_a_test_list_is_told_as_such(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"no test\.json"):
        export_bundle(exported.checkpoint, tmp_path / "engine", ExportOptions(verify=[tmp_path]))


def test_an_engine_for_another_input_size_is_refused(exported: Exported, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "larger.pth", build_network(network_config("nano", 96)).eval(), {})
    with pytest.raises(ParityError, match=r"mask is \(1, 24, 24\); the manifest says \(1, 16, 16\)"):
        export_bundle(tmp_path / "larger.pth", tmp_path / "engine", build=exported.build)
    assert not (tmp_path / "engine").exists()


def test_a_bundle_gives_further_formats_without_its_checkpoint(exported: Exported, tmp_path: Path) -> None:
    kinds: list[Kind] = [("onnx", "fp32"), ("onnx", "fp16")]
    bundle = export_bundle(exported.bundle.folder, tmp_path / "again", ExportOptions(kinds))
    held = [(artifact.precision, artifact.role) for artifact in bundle.manifest.artifacts]
    assert held == [("fp32", "auto"), ("fp16", "auto"), ("fp32", "encoder"), ("fp32", "decoder")]
    reference, half = bundle.manifest.artifacts[:2]
    assert reference == exported.bundle.manifest.artifacts[0]
    assert half.parity is not None
    assert half.parity.dataset == "synthetic frames"
    assert bundle.manifest.checkpoint_sha256 == exported.bundle.manifest.checkpoint_sha256
    with pytest.raises(ConfigError, match="--image-size and --static-batch need the checkpoint"):
        export_bundle(exported.bundle.folder, tmp_path / "resized", ExportOptions(kinds, image_size=128))


def test_a_missing_or_foreign_checkpoint_is_told_as_such(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "foreign.pth").write_bytes(b"nonsense")
    with pytest.raises(MissingResource, match=r"no checkpoint"):
        export_bundle(tmp_path / "none.pth", tmp_path / "engine")
    with pytest.raises(ConfigError, match=r"foreign\.pth"):
        export_bundle(tmp_path / "foreign.pth", tmp_path / "engine")


def test_a_checkpoint_is_inspected_like_the_engine_made_from_it(exported: Exported, tmp_path: Path) -> None:
    """`f2p inspect --ckpt-path`: the same verdicts as with the engine."""
    verdicts = []
    for number, what in enumerate((["--ckpt-path", exported.checkpoint], ["--engine", exported.bundle.folder])):
        out = tmp_path / str(number)
        words = ["inspect", *map(str, what), str(exported.pictures), "--out", str(out)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        verdicts.append([(line["image"], line["verdict"], len(line["defects"])) for line in lines])
    assert verdicts[0] == verdicts[1]
    assert verdicts[0]


def test_a_blind_engine_is_refused_without_force_and_says_so_with_it(exported: Exported, tmp_path: Path) -> None:
    sheet = {"dataset": "spots", "split": "test.json", "protocol": "auto", "images": 40, "defective": 20}
    facts = {**FACTS, "metrics": [{**sheet, "values": {"frame_recall": 0.05}}]}
    save_checkpoint(tmp_path / "blind.pth", exported.network, facts)
    with pytest.raises(BlindEngineError, match="only 1 of 20 defective images of spots"):
        export_bundle(tmp_path / "blind.pth", tmp_path / "engine", build=exported.build)
    assert not (tmp_path / "engine").exists()
    forced = ExportOptions(verify=[exported.pictures], max_batch=4, force=True)
    bundle = export_bundle(tmp_path / "blind.pth", tmp_path / "engine", forced, build=exported.build)
    assert "only 1 of 20" in bundle.manifest.training.blind_on[0]
    assert "Blind: only 1 of 20" in (tmp_path / "engine/README.md").read_text()
    assert "BLIND" in CliRunner().invoke(app, ["engine", "info", str(tmp_path / "engine")]).output
    again = ExportOptions([("onnx", "fp16")])
    with pytest.raises(BlindEngineError):
        export_bundle(tmp_path / "engine", tmp_path / "again", again)
