"""`f2p conveyor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from f2pnet.errors import ConfigError
from pipeline.commands.conveyor import conveyor

app = typer.Typer()
app.command()(conveyor)


def test_command_writes_a_data_set_and_says_what(tmp_path: Path) -> None:
    options = {"--count": "12", "--belts": "2", "--seed": "7", "--size": "128x128", "--texture": "cast"}
    arguments = [word for option in options.items() for word in option]

    done = CliRunner().invoke(app, [str(tmp_path / "set"), *arguments, "--texture", "dagm", "--json"])

    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["train"] + facts["test"] == 12
    written = json.loads((tmp_path / "set/train.json").read_text())
    assert {record["part_id"] for record in written} == {"cast-7", "dagm-7"}


def test_unknown_texture_names_the_known_ones(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path / "set"), "--texture", "marble"])

    assert isinstance(done.exception, ConfigError)
    assert "marble" in str(done.exception)
    assert "brushed_steel, woven, cast, dagm" in str(done.exception)


@pytest.mark.parametrize("size", ["12", "64x64", "big"])
def test_impossible_size_is_refused(tmp_path: Path, size: str) -> None:
    done = CliRunner().invoke(app, [str(tmp_path / "set"), "--size", size])

    assert isinstance(done.exception, ConfigError)
    assert "size" in str(done.exception)
