"""`f2p inspect`: every picture gets its line, whatever is in the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from f2pnet.cli import app
from f2pnet.engine.bundle import Bundle
from f2pnet.errors import ExitCode
from f2pnet.inspection.result import InspectionResult, Verdict
from tests.f2pnet.pictures.videos import HEIGHT, WIDTH, asks_for_a_quarter_turn
from tests.f2pnet.pictures.videos import write_video as write_numbered_video
from tests.toy_engine import SIDE, write_toy_bundle


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_toy_bundle(tmp_path_factory.mktemp("engines") / "toy")


def inspect(bundle: Bundle, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["inspect", "--engine", str(bundle.folder), *map(str, arguments)])


def part(spot: bool = False, side: int = SIDE) -> NDArray[np.uint8]:
    image = np.full((side, side, 3), 20, np.uint8)
    if spot:
        image[20:30, 10:26] = 240
    return image


def save(path: Path, image: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def write_video(path: Path, frames: int, codec: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (SIDE, SIDE))
    for number in range(frames):
        writer.write(part(spot=number % 2 == 1))
    writer.release()
    return path


def test_a_folder_becomes_masks_overlays_and_results(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "parts/good.png", part())
    save(tmp_path / "parts/day2/bad.png", part(spot=True))

    done = inspect(toy, tmp_path / "parts", "--out", tmp_path / "out")

    assert done.exit_code == ExitCode.OK, done.output
    by_name = {Path(line["image"]).name: line for line in lines(tmp_path / "out")}
    assert {name: line["verdict"] for name, line in by_name.items()} == {"good.png": "OK", "bad.png": "NG"}
    bad = by_name["bad.png"]
    assert bad["mask"] == "masks/day2/bad.png"
    mask = cv2.imread(str(tmp_path / "out" / bad["mask"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, np.where(part(spot=True)[:, :, 0] > 128, 255, 0))
    overlay = cv2.imread(str(tmp_path / "out" / bad["evidence"]))
    assert overlay is not None
    assert min(overlay.shape[:2]) >= 384


def test_every_line_is_a_result_of_the_contract(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "parts/bad.png", part(spot=True))

    inspect(toy, tmp_path / "parts", "--out", tmp_path / "out")

    (text,) = (tmp_path / "out/results.jsonl").read_text().splitlines()
    result = InspectionResult.from_json(text)
    assert (result.verdict, result.engine) == (Verdict.NG, toy.engine_id)
    assert result.defects[0].bbox_px == (10, 20, 16, 10)


def test_files_come_in_natural_order(toy: Bundle, tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / f"parts/part{number}.png", part())

    inspect(toy, tmp_path / "parts", "--out", tmp_path / "out")

    assert [Path(line["image"]).stem for line in lines(tmp_path / "out")] == ["part1", "part9", "part10"]


def test_unreadable_files_are_named_counted_and_passed_over(toy: Bundle, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    save(parts / "a.png", part())
    (parts / "b.png").write_bytes(b"this is no picture")
    (parts / "c.png").write_bytes(b"")
    save(parts / "d.png", part(spot=True))
    half = (parts / "d.png").read_bytes()
    (parts / "e.png").write_bytes(half[:20])
    save(parts / "deep.png", np.full((SIDE, SIDE), 4000, np.uint16))

    done = inspect(toy, parts, "--out", tmp_path / "out")

    assert done.exit_code == ExitCode.CHECK_FAILED
    verdicts = {Path(line["image"]).stem: (line["verdict"], line["reason"]) for line in lines(tmp_path / "out")}
    assert verdicts == {
        "a": ("OK", None),
        "b": ("NOT_INSPECTED", "unreadable"),
        "c": ("NOT_INSPECTED", "unreadable"),
        "d": ("NG", None),
        "e": ("NOT_INSPECTED", "unreadable"),
        "deep": ("NOT_INSPECTED", "unreadable"),
    }


def test_names_that_would_collide_are_kept_apart(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "line1/part.png", part())
    save(tmp_path / "line1/part.bmp", part())
    save(tmp_path / "line2/part.png", part(spot=True))

    inspect(toy, tmp_path / "line1", tmp_path / "line2", "--out", tmp_path / "out")

    assert len({line["mask"] for line in lines(tmp_path / "out")}) == 3
    assert len(list((tmp_path / "out/masks").iterdir())) == 3


def test_its_own_output_is_never_its_input(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "part.png", part())

    for _ in range(2):
        inspect(toy, tmp_path, "--out", tmp_path / "out")

    assert len(lines(tmp_path / "out")) == 1


def test_a_video_is_inspected_frame_by_frame(toy: Bundle, tmp_path: Path) -> None:
    video = write_video(tmp_path / "belt.mp4", frames=7, codec="mp4v")

    done = inspect(toy, video, "--out", tmp_path / "out")

    assert done.exit_code == ExitCode.OK, done.output
    assert [line["verdict"] for line in lines(tmp_path / "out")] == ["OK", "NG"] * 3 + ["OK"]
    assert (tmp_path / "out/masks/belt/000003.png").is_file()


def test_a_truncated_video_is_inspected_as_far_as_it_goes_and_reported(toy: Bundle, tmp_path: Path) -> None:
    video = write_video(tmp_path / "belt.avi", frames=40, codec="MJPG")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])

    done = inspect(toy, video, "--out", tmp_path / "out")

    assert done.exit_code == ExitCode.CHECK_FAILED
    *frames, torn, last = lines(tmp_path / "out")
    assert 5 <= len(frames) < 39
    assert {line["verdict"] for line in frames} == {"OK", "NG"}
    assert (torn["verdict"], torn["reason"]) == ("NOT_INSPECTED", "unreadable")
    assert (last["verdict"], last["reason"]) == ("NOT_INSPECTED", "truncated")


def test_a_video_without_its_index_is_unreadable(toy: Bundle, tmp_path: Path) -> None:
    video = write_video(tmp_path / "belt.mp4", frames=20, codec="mp4v")
    video.write_bytes(video.read_bytes()[:2000])

    done = inspect(toy, video, "--out", tmp_path / "out")

    assert done.exit_code == ExitCode.CHECK_FAILED
    assert [line["reason"] for line in lines(tmp_path / "out")] == ["unreadable"]


def test_json_prints_the_summary(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "parts/bad.png", part(spot=True))
    save(tmp_path / "parts/good.png", part())

    done = inspect(toy, tmp_path / "parts", "--out", tmp_path / "out", "--json")

    summary = json.loads(done.stdout)
    assert (summary["inspected"], summary["ok"], summary["ng"], summary["not_inspected"]) == (2, 1, 1, {})
    assert summary["defects"] == {"defect": 1}
    assert summary["engine"]["sha256"] == toy.sha256


def test_a_recipe_is_applied(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "bad.png", part(spot=True))
    (tmp_path / "coarse.yaml").write_text("min_area: {px: 1000}\n")

    inspect(toy, tmp_path / "bad.png", "--recipe", tmp_path / "coarse.yaml", "--out", tmp_path / "out")

    assert [line["verdict"] for line in lines(tmp_path / "out")] == ["OK"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.png", "--out", "out"], ExitCode.MISSING, "no image, video or folder nowhere.png"),
        (["parts", "--out", "out", "--recipe", "nowhere.yaml"], ExitCode.MISSING, "no configuration file nowhere.yaml"),
        (["parts", "--out", "out", "--recipe", "wrong.yaml"], ExitCode.USAGE, "did you mean 'min_area'"),
        (["empty", "--out", "out"], ExitCode.USAGE, "no images or videos in empty"),
        (["parts", "--out", "wrong.yaml"], ExitCode.USAGE, "--out wrong.yaml can't be written"),
        (["parts"], ExitCode.USAGE, "--out"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    toy: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: ExitCode, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "parts/a.png", part())
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.yaml").write_text("min_aera: {px: 1}\n")

    done = inspect(toy, *arguments)

    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_missing_engine_is_exit_3_and_an_empty_engine_file_exit_1(toy: Bundle, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", part())
    damaged = write_toy_bundle(tmp_path / "damaged")
    damaged.path(damaged.artifact("onnx")).write_bytes(b"")

    missing = CliRunner().invoke(app, ["inspect", "--engine", str(tmp_path / "no"), str(image), "--out", str(tmp_path)])
    empty = inspect(damaged, image, "--out", tmp_path / "out")

    assert (missing.exit_code, empty.exit_code) == (ExitCode.MISSING, ExitCode.CHECK_FAILED)
    assert "is empty (0 bytes)" in empty.output


def test_what_is_passed_over_is_named_and_counted(toy: Bundle, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    save(parts / "a.png", part())
    save(tmp_path / "elsewhere/b.png", part(spot=True))
    (parts / "linked").symlink_to(tmp_path / "elsewhere")
    (parts / "notes.txt").write_text("not a picture")
    (parts / ".a.png.swp").write_text("hidden")
    (parts / "c.jfif").write_bytes(cv2.imencode(".jpg", part(spot=True))[1].tobytes())

    done = inspect(toy, parts, "--out", tmp_path / "out", "--json")

    assert done.exit_code == ExitCode.CHECK_FAILED  # nobody knows what is behind the link
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["ng"]) == (1, 1)
    assert summary["passed_over"] == {"hidden": 1, "link to a folder": 1, "file ending in .txt": 1}
    named = {Path(each["path"]).name for each in summary["passed_over_files"]}
    assert named == {"linked", "notes.txt", ".a.png.swp"}
    assert "linked" in done.stderr


def test_other_suffixes_alone_are_no_failure(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "parts/a.png", part())
    (tmp_path / "parts/notes.txt").write_text("not a picture")

    assert inspect(toy, tmp_path / "parts", "--out", tmp_path / "out").exit_code == ExitCode.OK


def test_broken_link_is_a_picture_that_can_not_be_read(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "parts/a.png", part())
    (tmp_path / "parts/b.png").symlink_to(tmp_path / "nowhere.png")

    done = inspect(toy, tmp_path / "parts", "--out", tmp_path / "out")

    assert done.exit_code == ExitCode.CHECK_FAILED
    assert [(line["reason"], line["detail"]) for line in lines(tmp_path / "out")] == [
        (None, None),
        ("unreadable", "No such file or directory"),
    ]


def test_results_name_file_and_frame(toy: Bundle, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", part())
    video = write_video(tmp_path / "belt.mp4", frames=2, codec="mp4v")

    inspect(toy, image, video, "--out", tmp_path / "out")

    assert [line["source_ref"] for line in lines(tmp_path / "out")] == [
        {"file": str(image), "frame": None},
        {"file": str(video), "frame": 0},
        {"file": str(video), "frame": 1},
    ]


def test_deep_images_are_inspected_where_their_depth_is_said(toy: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "deep.png", (part(spot=True)[:, :, 0].astype(np.uint16)) * 16)

    done = inspect(toy, tmp_path / "deep.png", "--out", tmp_path / "out", "--bit-depth", "12")

    assert done.exit_code == ExitCode.OK
    assert lines(tmp_path / "out")[0]["verdict"] == "NG"


def test_image_is_inspected_as_it_is_shown(toy: Bundle, tmp_path: Path) -> None:
    """EXIF says: turn by 90 degrees."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(part(spot=True)[: SIDE // 2]).save(tmp_path / "a.jpg", exif=exif, quality=95)

    inspect(toy, tmp_path / "a.jpg", "--out", tmp_path / "out")

    (line,) = lines(tmp_path / "out")
    mask = cv2.imread(str(tmp_path / "out" / line["mask"]), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (SIDE, SIDE // 2)


def test_a_video_that_asks_to_be_turned_is_inspected_as_stored_and_named(toy: Bundle, tmp_path: Path) -> None:
    video = asks_for_a_quarter_turn(write_numbered_video(tmp_path / "belt.mp4", "libx264", frames=3))

    done = inspect(toy, video, "--out", tmp_path / "out")

    assert done.output.count("shown turned by 90 degrees clockwise") == 1
    mask = cv2.imread(str(tmp_path / "out/masks/belt/000000.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (HEIGHT, WIDTH)
