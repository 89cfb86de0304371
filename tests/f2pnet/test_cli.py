"""The top of the command line: version, help, completion, and one clear line for each mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from f2pnet.commands.table import command_table
from f2pnet.errors import ExitCode

COMMANDS = command_table("f2pnet.commands")
F2P = Path(sys.executable).with_name("f2p")


def f2p(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [F2P, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def completed(*words: str) -> list[str]:
    """What a shell offers for the last word."""
    line = " ".join(["f2p", *words])
    done = f2p(_F2P_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words)))
    assert done.stderr == ""
    return done.stdout.split()


def test_version() -> None:
    done = f2p("--version")
    assert (done.returncode, done.stdout) == (ExitCode.OK, f"f2p {version('f2pnet')}\n")


@pytest.mark.parametrize("words", [[], ["run"], ["bench"], ["bench", "pipeline"], ["engine"], ["engine", "info"]])
def test_short_help_is_help_everywhere(words: list[str]) -> None:
    short, long = f2p(*words, "-h"), f2p(*words, "--help")
    assert short.returncode == ExitCode.OK
    assert short.stdout == long.stdout
    assert "Usage: f2p" in short.stdout


MISTAKES = {
    "a command that is misspelt": (["rnu"], "did you mean 'run'"),
    "an underscore in a command": (["alert"], "did you mean 'alerts'"),
    "a command that is like none": (["zzzz"], "there are: demo, run"),
    "a command of a group": (["bench", "pipline"], "did you mean 'pipeline'"),
    "a command of a typer group": (["engine", "inof"], "Did you mean 'info'"),
    "an option that is misspelt": (["run", "--sorce", "x"], "did you mean '--source'"),
    "an option with underscores": (["inspect", "--ckpt_path", "x"], "did you mean '--ckpt-path'"),
    "an option that is like none": (["run", "--zzzz"], "no option '--zzzz'"),
    "a word too many": (["run", "a.yaml", "b.yaml"], "unexpected extra argument"),
    "a duration that is no number": (["run", "--source", "synthetic", "--duration", "soon"], "--duration"),
    "a negative duration": (["run", "--source", "synthetic", "--duration", "-3"], "-3 is not a number above 0"),
    "a duration of zero": (["demo", "--duration", "0"], "0 is not a number above 0"),
    "a duration that is not a number at all": (["demo", "--duration", "nan"], "nan is not a number above 0"),
    "an endless duration": (["bench", "pipeline", "--duration", "inf"], "inf is not a number above 0"),
    "a share that is not a number": (["conveyor", "out", "--test-share", "nan"], "nan is not a number from 0 to 1"),
    "a size without a height": (["bench", "pipeline", "--size", "10"], "wanted WIDTHxHEIGHT"),
    "an address in place of a file": (["run", "rtsp://admin:eim9@host/live"], "no configuration file"),
    "an address as a word too many": (["run", "--source", "x", "a.yaml", "rtsp://admin:eim9@h"], "unexpected extra"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, tmp_path: Path) -> None:
    arguments, words = MISTAKES[mistake]
    done = subprocess.run([F2P, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode in (ExitCode.USAGE, ExitCode.MISSING)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "eim9" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_training_with_the_spelling_of_the_published_code() -> None:
    pytest.importorskip("torch")
    assert "did you mean '--shot-num'" in f2p("train", "--shot_num", "4").stderr


def test_a_shell_completes_commands_options_and_values() -> None:
    assert completed("") == list(COMMANDS)
    assert completed("ru") == ["run"]
    assert completed("bench", "") == ["pipeline", "engine"]
    assert completed("engine", "ver") == ["verify"]
    assert completed("run", "--so") == ["--source"]
    assert completed("engine", "info", "--js") == ["--json"]
    assert completed("worker", "pub") == ["publish"]


def asked_in(shell: str, option: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`f2p OPTION` typed in a shell, which f2p finds by its parent process."""
    return subprocess.run(
        [shell, "-c", f'"{F2P}" {option}; exit $?'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )


def test_bash_is_told_how_to_complete(tmp_path: Path) -> None:
    assert "_F2P_COMPLETE=complete_bash" in asked_in("bash", "--show-completion", tmp_path).stdout
    installed = asked_in("bash", "--install-completion", tmp_path)
    assert installed.returncode == ExitCode.OK, installed.stderr
    script = tmp_path / ".bash_completions/f2p.sh"
    assert "_F2P_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_a_shell_that_can_not_complete_is_named(tmp_path: Path) -> None:
    shown = asked_in("sh", "--show-completion", tmp_path)
    assert shown.returncode != ExitCode.OK
    assert "Shell sh not supported" in shown.stderr


def test_a_reader_that_has_enough_is_no_error() -> None:
    with subprocess.Popen([F2P, "-h"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_help_lists_every_command_with_its_words() -> None:
    text = f2p("-h").stdout
    for name, entry in COMMANDS.items():
        assert re.search(rf"│ {name} +{re.escape(entry.help.split()[0])}", text), name


def test_help_and_completion_of_no_command_wait_for_torch() -> None:
    """Whose import takes seconds: a shell asks for the options of a command at each press of the Tab key."""
    pytest.importorskip("torch")
    script = (
        "import importlib, sys\n"
        "from f2pnet.commands.table import command_table\n"
        "for group in ('f2pnet.commands', 'f2pnet.benchmarks'):\n"
        "    for name, command in command_table(group).items():\n"
        "        importlib.import_module(command.target.partition(':')[0])\n"
        "        assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_package_that_a_running_command_misses_is_named_with_the_extra(tmp_path: Path) -> None:
    """As where torch is not installed: `f2p train` finds that out when it runs."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    done = f2p("train", PYTHONPATH=str(tmp_path))
    assert done.returncode == ExitCode.MISSING
    assert "f2pnet[train]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
