"""The configuration that is in force: what a line was started with or last reloaded, whatever its files say by now.

The supervisor holds it in memory that has no name (memfd), which workers inherit: a file that is edited, half saved or
removed while the line runs changes nothing for a worker that is replaced. A worker that nobody supervises reads files.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from f2pnet.config import LineConfig, load_line, parse_config
from f2pnet.errors import F2pError
from f2pnet.inspection.recipe import Recipe, load_recipe

ENVIRONMENT_KEY = "F2P_ACTIVE_CONFIG_FD"
READ_ATTEMPTS = 200
READ_PAUSE_S = 0.005  # while it is being replaced
_HEADER = struct.Struct("<32sQ")  # SHA-256 and length of what follows


@dataclass(frozen=True)
class ActiveConfig:
    """A line, its recipe and its engine. `engine_sha256` None: whatever engine is in `engine_folder`."""

    line: LineConfig
    recipe: Recipe | None
    engine_folder: Path
    engine_sha256: str | None = None
    store_url: str | None = None
    """Of the embedded Redis, with its password; None: find it by its files, or the line names another store."""

    @classmethod
    def of_files(cls, line: LineConfig) -> ActiveConfig:
        """As the files are now. Raises MissingResource or ConfigError."""
        return cls(line, None if line.recipe is None else load_recipe(line.recipe), line.engine.bundle)

    def to_bytes(self) -> bytes:
        content = {
            "line": plain_line(self.line),
            "recipe": None if self.recipe is None else self.recipe.model_dump(mode="json", by_alias=True),
            "engine_folder": str(self.engine_folder),
            "engine_sha256": self.engine_sha256,
            "store_url": self.store_url,
        }
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ActiveConfig:
        content = json.loads(data)
        recipe = content["recipe"]
        return cls(
            line=parse_config(content["line"], LineConfig, source="the active configuration"),
            recipe=None if recipe is None else parse_config(recipe, Recipe, source="the active recipe"),
            engine_folder=Path(content["engine_folder"]),
            engine_sha256=content["engine_sha256"],
            store_url=content["store_url"],
        )


class SharedConfig:
    """The active configuration in memory that child processes inherit. One process writes."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("f2p-active-config") if descriptor is None else descriptor

    def write(self, config: ActiveConfig) -> None:
        """Put it in force for whoever reads from now on."""
        data = config.to_bytes()
        os.pwrite(self.descriptor, _HEADER.pack(hashlib.sha256(data).digest(), len(data)) + data, 0)

    def read(self) -> ActiveConfig:
        """What is in force; waits a moment where it is just being replaced."""
        for _ in range(READ_ATTEMPTS):
            size = os.fstat(self.descriptor).st_size
            digest, length = _HEADER.unpack(os.pread(self.descriptor, _HEADER.size, 0))
            data = os.pread(self.descriptor, min(length, size), _HEADER.size)
            if hashlib.sha256(data).digest() == digest:
                return ActiveConfig.from_bytes(data)
            time.sleep(READ_PAUSE_S)
        raise F2pError("the active configuration can't be read: it was changed by somebody else; start the line again")

    def close(self) -> None:
        os.close(self.descriptor)


def config_reader(line_file: Path) -> Callable[[], ActiveConfig]:
    """Where this worker has its configuration from: what its supervisor put in force, else the files."""
    inherited = os.environ.get(ENVIRONMENT_KEY)
    if inherited is None:
        return lambda: ActiveConfig.of_files(load_line(line_file))
    return SharedConfig(int(inherited)).read


def plain_line(line: LineConfig) -> dict[str, Any]:
    """A line as YAML and JSON have it, with secrets spelt out."""
    plain: dict[str, Any] = _plain(line.model_dump())
    return plain


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case _:
            return value
