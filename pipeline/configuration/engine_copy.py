"""The engine that a line runs with, held for as long as it runs.

A copy of the bundle lies beside the spool, since the bundle itself may be exported anew, overwritten or removed at any
time. A worker that is replaced takes the copy, or the bundle where that is still the same, and nothing else.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from f2pnet.engine.bundle import Bundle, open_bundle, write_bundle
from f2pnet.errors import F2pError, MissingResource

FOLDER = "engine"
_log = structlog.get_logger(__name__)


def hold_engine(bundle: Bundle, spool: Path) -> Path:
    """Copy the bundle, and return the folder of the copy; copies of other engines are removed.

    Where there is no room for it the bundle itself has to serve: that is logged.
    """
    copies = spool / FOLDER
    copy = copies / bundle.sha256
    try:
        if not _is_same(copy, bundle.sha256):
            copies.mkdir(parents=True, exist_ok=True)
            files = {name: bundle.folder / name for name in bundle.manifest.files}
            write_bundle(copy, bundle.manifest, files)
        for other in copies.iterdir():
            if other != copy:
                shutil.rmtree(other, ignore_errors=True)
    except (OSError, F2pError) as error:
        _log.warning("no copy of the engine is kept: do not replace it while the line runs", reason=str(error))
        return bundle.folder
    return copy


def open_held(sha256: str, *folders: Path) -> Bundle:
    """The engine of that hash, from the first of the folders that has it. Raises MissingResource."""
    found: list[str] = []
    for folder in folders:
        try:
            bundle = open_bundle(folder)
        except F2pError as error:
            found.append(str(error))
            continue
        if bundle.sha256 == sha256:
            return bundle
        found.append(f"{folder} holds engine {bundle.engine_id}")
    raise MissingResource(
        f"the engine {sha256[:12]} that this line runs with is gone ({'; '.join(found)}): put it back, or start the "
        "line again with another one"
    )


def _is_same(folder: Path, sha256: str) -> bool:
    try:
        return open_bundle(folder).sha256 == sha256
    except F2pError:
        return False
