"""What `from f2pnet import ...` gives to a program that knows nothing else of f2pnet."""

from __future__ import annotations

import base64
import json
import pydoc
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas
import pytest
import supervision

import f2pnet
from f2pnet import (
    ClosedError,
    ConfigError,
    Defect,
    F2pError,
    InspectionResult,
    Inspector,
    MissingResource,
    StoreAway,
    StoreRefused,
    Timings,
    Verdict,
    draw_overlay,
)
from f2pnet.config.sources import SyntheticSource
from f2pnet.engine.bundle import Bundle
from f2pnet.inspection.overlay import STRIP_PX
from f2pnet.inspection.result import SourceRef
from pipeline.sources.conveyor import belts, write_dataset
from tests.conftest import REPOSITORY
from tests.toy_engine import SIDE, write_toy_bundle

SCRATCH = Defect(
    class_name="scratch <b>",
    score=0.91,
    severity="major",
    bbox_px=(10, 20, 8, 4),
    area_px=32,
    area_mm2=0.5,
    polygon_px=[(10, 20), (10, 23), (17, 23), (17, 20)],
)
DENT = Defect(
    class_name="dent",
    score=0.7,
    severity="critical",
    bbox_px=(40, 40, 2, 3),
    area_px=6,
    area_mm2=None,
    polygon_px=[(40, 40), (40, 42), (41, 42), (41, 40)],
)


def result_with(*defects: Defect, verdict: Verdict = Verdict.NG) -> InspectionResult:
    return InspectionResult(
        verdict=verdict,
        score=0.91,
        source_ref=SourceRef(file="part7.png") if defects else None,
        defects=list(defects),
        timings_ms=Timings(engine=8.1, postprocess=0.6),
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_toy_bundle(tmp_path_factory.mktemp("engines") / "toy")


def spotted() -> np.ndarray:
    image = np.full((SIDE, SIDE, 3), 20, np.uint8)
    image[20:24, 10:18] = 230
    return image


def test_every_public_name_is_there_and_no_other_is_shown() -> None:
    assert all(getattr(f2pnet, name) is not None for name in f2pnet.__all__)
    assert set(f2pnet.__all__) <= set(dir(f2pnet))


@pytest.mark.parametrize("name", ["Alert", "Subscription", "AsyncSubscription", "StoreRefused", "MissingExtra"])
def test_what_subscribers_name_in_their_own_code_is_public(name: str) -> None:
    assert name in f2pnet.__all__


def test_the_version_is_that_of_the_distribution() -> None:
    assert f2pnet.__version__ == version("f2pnet")


def test_help_begins_with_what_one_can_do() -> None:
    text = pydoc.render_doc(f2pnet, renderer=pydoc.plaintext)

    assert text.index("inspector.inspect(image)") < text.index("subscribe(") < text.index("PACKAGE CONTENTS")
    assert "class Inspector" in text


def test_a_refusal_can_be_told_from_an_outage_and_both_are_of_one_family() -> None:
    assert issubclass(StoreRefused, StoreAway)
    assert issubclass(StoreAway, F2pError)
    assert issubclass(ClosedError, F2pError)


def test_a_dict_holds_what_the_json_holds() -> None:
    result = result_with(SCRATCH, DENT)

    assert result.to_dict() == json.loads(result.to_json())
    assert result.to_dict()["defects"][0]["class"] == "scratch <b>"
    assert InspectionResult.from_json(json.dumps(result.to_dict())) == result


def test_rows_make_a_table() -> None:
    table = pandas.DataFrame([result_with(SCRATCH, DENT).to_row(), result_with(verdict=Verdict.OK).to_row()])

    assert list(table["verdict"]) == ["NG", "OK"]
    assert list(table["defects"]) == [2, 0]
    assert list(table["classes"]) == ["dent, scratch <b>", ""]
    assert list(table["worst_severity"].fillna("none")) == ["critical", "none"]
    assert list(table["defect_area_px"]) == [38, 0]
    assert table["defect_area_mm2"][0] == 0.5
    assert pandas.isna(table["defect_area_mm2"][1])
    assert list(table["engine_ms"]) == [8.1, 8.1]
    assert list(table["source_file"].fillna("")) == ["part7.png", ""]
    assert not any(isinstance(value, (dict, list)) for value in table.to_numpy().ravel())


def test_detections_have_corners_scores_classes_and_masks() -> None:
    found = result_with(SCRATCH, DENT).to_supervision(["dent", "scratch <b>", "stain"], (48, 64, 3))

    assert isinstance(found, supervision.Detections)
    assert found.xyxy.tolist() == [[10, 20, 18, 24], [40, 40, 42, 43]]
    assert found.confidence is not None
    assert found.confidence.tolist() == pytest.approx([0.91, 0.7])
    assert found.class_id is not None
    assert found.class_id.tolist() == [1, 0]
    assert list(found.data["class_name"]) == ["scratch <b>", "dent"]
    assert found.mask is not None
    assert found.mask.shape == (2, 48, 64)
    assert [int(np.count_nonzero(mask)) for mask in np.asarray(found.mask)] == [32, 6]
    assert len(found[found.confidence > 0.8]) == 1


def test_detections_of_a_good_part_are_empty() -> None:
    assert len(result_with(verdict=Verdict.OK).to_supervision()) == 0
    assert len(result_with(verdict=Verdict.OK).to_supervision(image_shape=(48, 64))) == 0


def test_detections_name_a_class_that_is_missing_from_the_list() -> None:
    with pytest.raises(ConfigError, match="which found dent"):
        result_with(SCRATCH, DENT).to_supervision(["scratch <b>"])


def test_without_supervision_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)

    with pytest.raises(MissingResource, match="pip install supervision"):
        result_with(SCRATCH).to_supervision()


def test_an_overlay_needs_no_mask() -> None:
    image = np.full((400, 500, 3), 60, np.uint8)
    mask = np.zeros((400, 500), np.uint8)
    mask[20:24, 10:18] = 255

    np.testing.assert_array_equal(
        draw_overlay(image, result_with(SCRATCH)), draw_overlay(image, result_with(SCRATCH), mask)
    )


@pytest.mark.parametrize(
    ("image", "mask"), [(None, None), (np.zeros((40, 50), np.uint8), np.zeros((50, 40), np.uint8))]
)
def test_an_overlay_of_what_is_no_image_or_has_another_mask_is_refused(image: Any, mask: Any) -> None:
    with pytest.raises(ConfigError, match="wanted"):
        draw_overlay(image, result_with(), mask)


def test_a_notebook_shows_the_inspected_picture_with_its_outlines(toy: Bundle) -> None:
    image = spotted()
    with Inspector.open(toy.folder, threads=1) as inspector:
        html = inspector.inspect(image)._repr_html_()

    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    expected = draw_overlay(image, Inspector.open(toy.folder, threads=1).inspect(image))
    assert shown is not None
    assert shown.shape == expected.shape
    assert np.abs(shown[STRIP_PX:].astype(int) - expected[STRIP_PX:]).mean() < 8
    assert ">NG<" in html
    assert "10, 20, 8, 4" in html


def test_a_result_keeps_no_image_in_memory_and_then_shows_outlines(toy: Bundle) -> None:
    with Inspector.open(toy.folder, threads=1) as inspector:
        result = inspector.inspect(spotted())  # the array is gone behind this line

    html = result._repr_html_()
    assert "<img" not in html
    assert f'viewBox="0 0 {SIDE} {SIDE}"' in html
    assert '<polygon points="10,20 ' in html


def test_a_result_from_a_stream_shows_its_verdict_and_defects_with_outside_text_escaped() -> None:
    html = InspectionResult.from_json(result_with(SCRATCH).to_json())._repr_html_()

    assert ">NG<" in html
    assert "scratch &lt;b&gt;" in html
    assert "<b>" not in html.replace('<b style="', "")


@pytest.mark.parametrize(
    "use",
    [
        lambda inspector: inspector.inspect(spotted()),
        lambda inspector: inspector.inspect_batch([]),
        lambda inspector: inspector.inspect_with_mask(spotted()),
        lambda inspector: inspector.inspect_batch_with_masks([spotted()]),
        lambda inspector: inspector.probability_map(spotted()),
        lambda inspector: inspector.warm_up(),
        lambda inspector: inspector.__enter__(),
    ],
)
def test_a_closed_inspector_says_so(toy: Bundle, use: Callable[[Inspector], object]) -> None:
    inspector = Inspector.open(toy.folder, threads=1)
    inspector.close()
    inspector.close()

    with pytest.raises(ClosedError, match="open it again"):
        use(inspector)


def test_the_inspector_names_the_classes_of_its_engine(toy: Bundle) -> None:
    with Inspector.open(toy.folder, threads=1) as inspector:
        assert inspector.classes == ("defect",)


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A user's folder with packages that are called as ours are; importing one of them leaves a file behind."""
    for name in ("models", "training", "export", "pipeline", "tests", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open('{tmp_path}/imported-{name}', 'w').close()\nMINE = 1\n")
    return tmp_path


AS_INSTALLED_FROM_A_WHEEL = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "_EditableFinder" not in str(finder)]
sys.path.append({str(REPOSITORY)!r})
"""


def run_script(folder: Path, script: str) -> str:
    (folder / "program.py").write_text(AS_INSTALLED_FROM_A_WHEEL + script)
    done = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_with_packages_of_our_names_uses_the_inspector(crowded: Path) -> None:
    script = f"""
import numpy as np
import models, training
from f2pnet import Inspector, draw_overlay, subscribe

image = np.full((64, 64, 3), 120, np.uint8)
with Inspector.open({str(REPOSITORY / "configs/engines/surface-nano")!r}) as inspector:
    result = inspector.inspect(image)
    draw_overlay(image, result)
    result.to_row(), result._repr_html_()
subscribe("redis://127.0.0.1:1", line="demo").close()
print(result.verdict, models.MINE + training.MINE)
"""
    assert run_script(crowded, script).split()[-1] == "2"
    assert not (crowded / "imported-export").exists()
    assert not (crowded / "imported-pipeline").exists()


def test_a_checkpoint_beside_packages_of_our_names_is_refused_with_the_reason(crowded: Path) -> None:
    (crowded / "best.pth").write_bytes(b"")
    script = """
from f2pnet import F2pError, Inspector
try:
    Inspector.of_checkpoint("best.pth")
except F2pError as error:
    print(error)
"""
    told = run_script(crowded, script)

    assert str(crowded / "export") in told
    assert "rename" in told


def test_a_line_started_beside_packages_of_our_names_imports_none_of_them(crowded: Path) -> None:
    f2p = shutil.which("f2p", path=str(Path(sys.executable).parent))
    assert f2p is not None

    command = [f2p, "demo", "--duration", "4", "--summary", "summary.json"]
    done = subprocess.run(command, cwd=crowded, capture_output=True, text=True, timeout=90)

    assert done.returncode == 0, done.stderr
    assert json.loads((crowded / "summary.json").read_text())["cameras"]["cam1"]["captured"] > 0
    assert not list(crowded.glob("imported-*"))


def test_the_example_of_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    (script,) = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "pandas" in text]
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    belt = belts(SyntheticSource(size="256x256", defect_rate=0.9), ("cast",), first_seed=70, belts_per_texture=2)
    write_dataset(belt, tmp_path / "made", count=2, test_share=0.5)
    (tmp_path / "my-images").mkdir()
    for picture, name in zip(sorted((tmp_path / "made/images").iterdir()), ("part", "other"), strict=True):
        shutil.copy(picture, tmp_path / f"my-images/{name}.png")

    told = run_script(tmp_path, script + "\nprint(len(table), len(detections))\n")

    assert told.startswith("2 ")
    assert cv2.imread(str(tmp_path / "shown.jpg")) is not None
