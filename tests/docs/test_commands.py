"""Every `f2p` command that a document shows is one that this version takes: its name, its options, its arguments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer._click.exceptions import BadOptionUsage, BadParameter, MissingParameter, UsageError  # its own click
from typer.main import get_command

from f2pnet.cli import app
from tests.conftest import REPOSITORY

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("deploy/**/*.md")])
SHOWN_WHOLE = re.compile(r"^(?: {4,}|\$ )?(f2p [^`|\n]+)$", re.MULTILINE)
SHOWN_INLINE = re.compile(r"`(f2p [^`]+)`")
CUT_SHORT = re.compile(r"\.\.\.|…|[{}]")  # "f2p test ...": a way to speak of it, not to type it


def commands(text: str) -> list[tuple[str, bool]]:
    """Commands of a document, and whether each is shown to be typed as it stands."""
    text = text.replace("\\\n", " ")  # a command that goes on in the next line
    inline = [(found, False) for found in SHOWN_INLINE.findall(text)]
    whole = [(found, True) for found in SHOWN_WHOLE.findall(text)]
    return [(" ".join(found.split()), typed) for found, typed in [*whole, *inline] if not CUT_SHORT.search(found)]


def words_of(command: str) -> list[str]:
    words = shlex.split(command.replace(";", " ;"), comments=True)[1:]
    for end in ("|", "&&", ">", "&", ";"):
        words = words[: words.index(end)] if end in words else words
    return [word.strip("[]") for word in words]


def problem_with(words: list[str], *, typed: bool) -> str | None:
    """What the command line says before it would do anything; None when the words are in order."""
    command, context = get_command(app), None
    try:
        while True:
            context = command.make_context("f2p", words, parent=context)
            if not hasattr(command, "resolve_command"):
                return None
            _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    except MissingParameter as error:
        return str(error.format_message()) if typed else None
    except typer.Exit:
        return None  # --version has answered
    except BadParameter:
        return None  # a file that is not here, or a value such as N
    except BadOptionUsage as error:
        return str(error.format_message()) if typed else None  # "f2p inspect --recipe": an option spoken of
    except UsageError as error:
        return str(error.format_message())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_a_document_shows_can_be_typed(document: Path) -> None:
    shown = commands(document.read_text(encoding="utf-8"))
    problems = {command: problem_with(words_of(command), typed=typed) for command, typed in shown}
    assert not {command: problem for command, problem in problems.items() if problem}


def test_a_misspelt_option_would_be_found() -> None:
    assert "No such option" in str(problem_with(["check", "line.yaml", "--prope"], typed=True))
    assert "No such command" in str(problem_with(["chekc", "line.yaml"], typed=True))


def test_the_search_finds_the_getting_started_walk() -> None:
    found = [command for command, typed in commands((REPOSITORY / "docs/getting-started.md").read_text()) if typed]
    assert len(found) >= 8
    assert any(command.startswith("f2p train") for command in found)
