from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.commands.export import read_scores
from export.exporter import ExportOptions, export_bundle
from export.formats.artifacts import wanted_kinds
from f2pnet.engine.bundle import open_bundle
from f2pnet.errors import ConfigError
from tests.export.conftest import Exported

SHEET = {
    "dataset": "MT",
    "split": "test.json",
    "protocol": "auto",
    "images": 84,
    "defective": 24,
    "values": {"iou": 0.5},
}

# The fixture runs the exporter, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(400)


def test_scores_of_f2p_test_are_read_and_go_into_manifest_and_readme(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(json.dumps([SHEET]))
    scores = read_scores(tmp_path / "scores.json")
    engine = tmp_path / "engine"
    options = ExportOptions(verify=[exported.pictures], scores=scores)
    export_bundle(exported.checkpoint, engine, options, build=exported.build)
    (sheet,) = open_bundle(engine).manifest.training.metrics
    assert sheet.model_dump() == SHEET
    assert "| MT | test.json | auto | 84 | 0.500 |" in (engine / "README.md").read_text()


@pytest.mark.parametrize("content", ["nothing", '[{"dataset": "MT"}]', "{}"])
def test_a_file_without_score_sheets_is_a_configuration_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(ConfigError, match="f2p test --json"):
        read_scores(tmp_path / "scores.json")


def test_an_unknown_format_or_precision_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="format is 'coreml', wanted one of: onnx, openvino, tensorrt"):
        wanted_kinds(["coreml"], ["fp32"])
    with pytest.raises(ConfigError, match="precision is 'int4', wanted one of: fp32, fp16, int8, bf16"):
        wanted_kinds(["onnx"], ["int4"])


def test_a_precision_is_built_for_the_formats_that_have_it_and_the_reference_always() -> None:
    assert wanted_kinds(["openvino", "onnx"], ["int8", "bf16"]) == [
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ]
    with pytest.raises(ConfigError, match="bf16 goes with openvino, not with onnx"):
        wanted_kinds(["onnx"], ["bf16"])
