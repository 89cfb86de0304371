"""Folders that only we may enter: refused when somebody else owns them or can write to them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from f2pnet.errors import ConfigError, F2pError, out_of_resources

CURE = "set XDG_RUNTIME_DIR to a folder of your own"


def runtime_base() -> Path:
    """Where the run folders of this user lie: $XDG_RUNTIME_DIR/f2p, else /tmp/f2p-<uid>/f2p."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    return Path(given or f"/tmp/f2p-{os.getuid()}") / "f2p"  # noqa: S108 - made private by `make_private`


def make_private(folder: Path) -> None:
    """Make `folder` below `runtime_base` and what leads to it, for this user alone, or see that it is so already.

    Raises ConfigError where somebody else owns a part of it, OutOfResources where there is no room.
    """
    base = runtime_base()
    try:
        if os.environ.get("XDG_RUNTIME_DIR"):
            base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign_base(base.parent)
        else:
            _make_own(base.parent)
        for part in (base, folder):
            _make_own(part)
    except OSError as error:
        raise _refusal(folder, error) from error


def _make_own(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise ConfigError(f"{folder} is a link, not a folder: remove it, or {CURE}")
    if facts.st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to user {facts.st_uid}, not to {os.getuid()}: {CURE}")
    if facts.st_mode & 0o077:
        folder.chmod(0o700)


def _refuse_foreign_base(folder: Path) -> None:
    """The folder that the user named: it may be a link, and root's, but nobody else may decide what lies in it."""
    facts = folder.stat()
    if facts.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"XDG_RUNTIME_DIR {folder} belongs to user {facts.st_uid}, not to {os.getuid()}: {CURE}")
    if facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
        raise ConfigError(f"XDG_RUNTIME_DIR {folder} can be written to by others (mode {facts.st_mode:o}): {CURE}")


def _refusal(folder: Path, error: OSError) -> F2pError:
    what = f"run folder {folder} cannot be made"
    return out_of_resources(what, error) or ConfigError(f"{what}: {error.strerror}; {CURE}")
