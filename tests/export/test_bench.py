"""`f2p bench engine` on a small engine and the checkpoint it was made from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from export.bench import measure_engines
from f2pnet.cli import app
from f2pnet.errors import MissingResource
from tests.export.conftest import Exported
from tests.toy_engine import write_toy_bundle


def test_every_row_has_its_rate_its_latencies_and_the_machine(exported: Exported) -> None:
    arguments = ["--batch", "1", "--batch", "2", "--threads", "1", "--seconds", "0.1"]
    done = CliRunner().invoke(
        app,
        ["bench", "engine", str(exported.bundle.folder), *arguments, "--ckpt-path", str(exported.checkpoint), "--json"],
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    whole = [artifact for artifact in exported.bundle.manifest.artifacts if artifact.role == "auto"]
    entrants = [("onnxruntime", artifact.precision) for artifact in whole]
    assert [(row["backend"], row["precision"], row["batch"]) for row in report["rows"]] == [
        (*entrant, batch) for entrant in [*entrants, ("torch", "fp32")] for batch in (1, 2)
    ]
    for row in report["rows"]:
        assert row["p99_ms"] >= row["p50_ms"] > 0
        assert row["images_per_s"] == pytest.approx(1e3 * row["batch"] / row["p50_ms"], rel=0.02)
        assert 0 < row["share_of_peak"] < 1.5
    assert report["machine"]["cores"] >= 1
    assert report["image_gflop"] > 0


def test_the_table_names_every_engine(exported: Exported) -> None:
    done = CliRunner().invoke(
        app, ["bench", "engine", str(exported.bundle.folder), "--batch", "1", "--threads", "1", "--seconds", "0.1"]
    )
    assert done.exit_code == 0, done.output
    assert {"onnxruntime", "fp32"} <= set(re.findall(r"\w+", done.stdout))  # words wrap in a narrow terminal


def test_what_is_not_in_the_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"nothing of .* to measure here"):
        measure_engines(write_toy_bundle(tmp_path / "toy"), precisions=["int8"], threads=[1])
