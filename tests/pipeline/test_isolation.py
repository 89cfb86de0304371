"""Files in the folder where somebody types `f2p` are never imported, whatever their names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from f2pnet.isolation import HOME, isolated_environment

OURS = (
    "pipeline",
    "training",
    "export",
    "models",
    "f2pnet_plugins",
    "structlog",
    "numpy",
    "yaml",
    "cv2",
    "sitecustomize",
)
SCRIPT = Path(sys.executable).with_name("f2p")


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder whose modules leave a mark when they are executed."""
    for name in OURS:
        text = f"from pathlib import Path\nPath({str(tmp_path / 'executed')!r}).open('a').write('{name} ')\n"
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def executed_in(folder: Path) -> str:
    mark = folder / "executed"
    return mark.read_text() if mark.exists() else ""


def environment_without_python_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--source", "synthetic:cast?frames=3", "--no-console"],
        ["check", "missing.yaml"],
        ["engine", "info", str(HOME / "configs" / "engines" / "surface-nano")],
        ["data", "check", "nowhere"],
    ],
)
def test_nothing_is_imported_from_the_current_folder(trapped: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [SCRIPT, *arguments],
        cwd=trapped,
        env=environment_without_python_path(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert executed_in(trapped) == ""
    assert "Traceback" not in done.stderr
    if arguments[0] == "run":
        assert done.returncode == 0, done.stderr
        assert "balanced" in done.stdout


def test_an_empty_entry_of_pythonpath_does_not_lead_there_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f":/opt/other:.:{tmp_path}")

    assert isolated_environment()["PYTHONPATH"] == "/opt/other"
    monkeypatch.setenv("PYTHONPATH", "")
    assert "PYTHONPATH" not in isolated_environment()


def test_a_fork_server_is_not_led_astray_by_pythonpath(trapped: Path) -> None:
    (trapped / "sitecustomize.py").unlink()  # Python itself imports that, before any line of ours
    for name in ("numpy", "structlog", "yaml", "cv2"):  # and what `f2p` needs before it has looked at its path
        (trapped / f"{name}.py").unlink()
    done = subprocess.run(
        [SCRIPT, "run", "--source", "synthetic:cast?frames=3", "--no-console"],
        cwd=trapped,
        env={**environment_without_python_path(), "PYTHONPATH": f":{trapped}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert executed_in(trapped) == ""
    assert done.returncode == 0, done.stderr
