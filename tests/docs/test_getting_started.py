"""The walk of docs/getting-started.md, command by command: from pictures to alerts.

Other than on the page: simulated parts in small pictures, a few steps of training of the smallest network, pictures
from the data set instead of a camera, and commands that go on for ever end.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/getting-started.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {7,}(f2p .+)$", PAGE, re.MULTILINE)
WALKED: set[str] = set()
SHORT_TRAINING = {"steps": 4, "batch": 2, "warmup_steps": 1, "evaluate_every": 4, "image_size": 64}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder, with our configurations in it."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    (folder / "short.yaml").write_text(yaml.safe_dump(SHORT_TRAINING))
    runtime = Path("/tmp") / f"f2p-start-{os.getpid()}"  # noqa: S108 - Unix socket paths must be short
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    yield folder
    del os.environ["XDG_RUNTIME_DIR"]
    shutil.rmtree(runtime, ignore_errors=True)


def f2p(folder: Path, command: str, *more: str, ends: tuple[int, ...] = (0,)) -> str:
    words = [sys.executable, "-m", "f2pnet.cli", *shlex.split(command, comments=True)[1:], *more]
    # One thread of torch: several wait for each other on a machine that does other work too.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in ends, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def shown(*words: str) -> str:
    """The page's one command that begins so."""
    (found,) = [command for command in COMMANDS if command.startswith(" ".join(words))]
    WALKED.add(found)
    return found


def line_file() -> dict[str, object]:
    """The line that step 7 has one write."""
    (block,) = re.findall(r"^ {7}(line: press4\n(?: {7}.*\n)+)", PAGE, re.MULTILINE)
    content: dict[str, object] = yaml.safe_load(re.sub(r"^ {7}", "", block, flags=re.MULTILINE))
    return content


def photograph_and_label(folder: Path) -> None:
    """What steps 1 and 2 ask for, by the simulated conveyor: pictures, and masks of the same names."""
    f2p(folder, "f2p conveyor made/ --count 240 --size 128x128")
    for name in ("images", "masks"):
        (folder / "my-parts" / name).mkdir(parents=True)
    for index in ("train.json", "test.json"):
        for record in json.loads((folder / "made" / index).read_text()):
            picture = folder / "made" / record["image"]
            shutil.copy(picture, folder / "my-parts/images" / picture.name)
            if record["label"]:
                shutil.copy(folder / "made" / record["mask"], folder / "my-parts/masks" / f"{picture.stem}.png")


def test_the_walk_from_pictures_to_alerts(desk: Path) -> None:
    photograph_and_label(desk)
    assert "nothing unusable" in f2p(desk, shown("f2p data check"))
    f2p(desk, shown("f2p train"), "--config", "short.yaml", ends=(0, 1))  # so few steps may well leave it blind
    assert (desk / "exp/my-parts_nano_64shot/best.pth").is_file()
    f2p(desk, shown("f2p test").replace("_vit_t_", "_nano_"), ends=(0, 1))
    assert (desk / "scores.html").stat().st_size > 1000
    f2p(desk, shown("f2p export").replace("_vit_t_", "_nano_"), "--force")
    line = line_file()
    (camera,) = line["cameras"]  # type: ignore[misc, attr-defined]
    camera["source"] = {"kind": "folder", "path": "my-parts/images", "fps": 10, "loop": True}
    del line["console"]  # its port may be taken where tests run
    (desk / "line.yaml").write_text(yaml.safe_dump(line))
    assert "FAILS" not in f2p(desk, shown("f2p check line.yaml --probe"))
    assert list((desk / "looks").iterdir())
    f2p(desk, shown("f2p run line.yaml"), "--duration", "6", "--no-table", "--summary", "summary.json")
    camera = json.loads((desk / "summary.json").read_text())["cameras"]["cam1"]
    assert camera["captured"] == camera["ok"] + camera["ng"] + sum(camera["not_inspected"].values()) > 0
    f2p(desk, shown("f2p alerts line.yaml --follow").replace(" --follow", ""))
    f2p(desk, shown("f2p alerts verify"))
    assert set(COMMANDS) == WALKED  # the page has no other command
