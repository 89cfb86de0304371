"""Files of a line that differ from what is in force: reported, and without effect until a reload or restart."""

from __future__ import annotations

from pathlib import Path

from f2pnet.config import LineConfig
from f2pnet.engine.bundle import MANIFEST_NAME, Bundle, sha256_of

Signature = tuple[int, int, int]
"""Inode, size and time of change: while it is the same the content is not read again."""


class ConfigFiles:
    """The line file, its recipe and its engine's files, by the content that is in force."""

    def __init__(self, line: LineConfig, line_file: Path, bundle: Bundle | None) -> None:
        self._of_engine: dict[Path, str | None] = {}
        if bundle is not None:
            self._of_engine[bundle.folder / MANIFEST_NAME] = _content(bundle.folder / MANIFEST_NAME)
            self._of_engine |= {bundle.folder / name: sha256 for name, sha256 in bundle.manifest.files.items()}
        self._in_force: dict[Path, str | None] = {}
        self._seen: dict[Path, tuple[Signature | None, str | None]] = {}
        self.applied(line, line_file)

    def applied(self, line: LineConfig, line_file: Path) -> None:
        """Line file and recipe are in force as they are now; the engine is the one that the line was started with."""
        paths = [line_file, *([line.recipe] if line.recipe else [])]
        self._in_force = {path: _content(path) for path in paths} | self._of_engine
        self._seen = {path: (_signature(path), _content(path)) for path in self._in_force}

    def newly_changed(self) -> list[Path]:
        """Files whose content is neither what is in force nor what was reported before."""
        changed: list[Path] = []
        for path, in_force in self._in_force.items():
            signature, content = self._seen[path]
            if (now := _signature(path)) == signature:
                continue
            found = _content(path)
            if found is None:
                continue  # looked at again next time
            self._seen[path] = (now, found)
            if found not in (in_force, content):
                changed.append(path)
        return changed

    def of_engine_changed(self) -> list[Path]:
        """Files of the engine whose content is not what is in force."""
        return [path for path, in_force in self._of_engine.items() if _content(path) not in (in_force, None)]


def _signature(path: Path) -> Signature | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _content(path: Path) -> str | None:
    """Hash of a file; "" of one that is not there, None of one that can't be read now."""
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return ""
    except OSError:
        return None
