"""What a source's positions count in: the same text as long as position n means the same picture."""

from __future__ import annotations

import hashlib
from pathlib import Path

from f2pnet.config.sources import FolderSource, SourceConfig, SyntheticSource, VideoSource

DIGITS = 32
RATE_ONLY = {"fps", "frames"}  # options of a synthetic source that change no picture


def source_identity(config: SourceConfig) -> str:
    """32 hex digits. Files are known by path and inode, so a folder that another one was moved over is another source.

    Cameras have no positions: theirs only number the pictures.
    """
    match config:
        case FolderSource() | VideoSource():
            content = f"{config.kind} {_file(config.path)}"
        case SyntheticSource():
            content = f"synthetic {config.model_dump_json(exclude=RATE_ONLY)}"
        case _:
            content = "camera"
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:DIGITS]


def _file(path: Path) -> str:
    try:
        return f"{path.resolve()} {path.stat().st_ino}"
    except OSError:  # opening it will say what is wrong
        return str(path)
