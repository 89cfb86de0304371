"""Output files and folders: tried before the work begins, so that an hour of it is not lost to a typing mistake."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from f2pnet.errors import ConfigError
from f2pnet.text import printable


class OutputRefused(ConfigError):
    """A result can't be written to the place that was named for it."""


def try_folder(folder: Path, option: str, *, keep: bool = True) -> None:
    """Make `folder` and see that files can be written there. Raises OutputRefused; `option` names it for people.

    Without `keep` a folder that was not there is taken away again.
    """
    absent = [] if keep else [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".f2p-try-"):
            return
    except OSError as error:
        raise _refused(folder, option, error) from error
    finally:
        with contextlib.suppress(OSError):
            for place in absent:
                place.rmdir()


def try_file(path: Path, option: str) -> None:
    """See that `path` can be written, without changing a file that is there. Raises OutputRefused."""
    try:
        if path.is_dir():
            raise OutputRefused(f"{option} {printable(path)} is a folder: name a file in it")
        if path.exists():
            with path.open("ab"):
                return
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".f2p-try-"):
            _try_name(path)
    except OSError as error:
        raise _refused(path, option, error) from error


def write_file(path: Path, content: str, option: str) -> None:
    """Write a text file, whole or not at all where it is a file. Raises OutputRefused."""
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe
            path.write_text(content, encoding="utf-8")
            return
        unfinished = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
        try:
            unfinished.write_text(content, encoding="utf-8")
            unfinished.replace(path.resolve())
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, option, error) from error


def refuse_shared(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None] | None = None) -> None:
    """Raise OutputRefused when two outputs are one file, or an output is one of the inputs; keys name them."""
    taken: dict[Path, str] = {path.resolve(): name for name, path in (inputs or {}).items() if path is not None}
    for name, path in outputs.items():
        if path is None or (path.exists() and not path.is_file() and not path.is_dir()):
            continue
        place = path.resolve()
        if place in taken:
            raise OutputRefused(f"{name} and {taken[place]} are the same file, {printable(path)}: give them two names")
        taken[place] = name


def _try_name(path: Path) -> None:
    """Make the file and take it away again: its name may be too long, or not allowed on this file system."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    with contextlib.suppress(OSError):
        path.unlink()


def _refused(path: Path, option: str, error: OSError) -> OutputRefused:
    reason = error.strerror or type(error).__name__
    return OutputRefused(f"{option} {printable(path)} can't be written: {reason}; name another place, or mend this one")
