"""Line configurations that no person wrote: for `f2p run --source`, the demo and benchmarks."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import yaml

import f2pnet
from f2pnet.config import CameraConfig, EngineConfig, LineConfig, PublishConfig
from f2pnet.config.console import ConsoleConfig
from f2pnet.config.line import EvidenceConfig, SpoolConfig
from f2pnet.config.sources import SourceConfig, source_from_uri
from f2pnet.errors import MissingResource
from pipeline.configuration.active_config import plain_line

_PACKAGE = Path(f2pnet.__file__).resolve().parent
_CARRIED = _PACKAGE / "configs"
SHIPPED_CONFIGS = _CARRIED if _CARRIED.is_dir() else _PACKAGE.parent / "configs"
"""In a wheel they lie inside the package, in a checkout beside it."""
SHIPPED_ENGINE = "surface-nano"


def shipped_config(*parts: str) -> Path:
    """A file or folder of `configs/`. Raises MissingResource where the installation has none."""
    path = SHIPPED_CONFIGS.joinpath(*parts)
    if not path.exists():
        raise MissingResource(f"no {path}: install f2pnet again, or name an engine with --engine BUNDLE")
    return path


def line_of_sources(uris: Sequence[str], engine: Path | None, folder: Path, evidence: Path) -> LineConfig:
    """A line of one camera for each URI, with a page where its packages are; pictures of NG frames go to `evidence`."""
    return LineConfig(
        line="adhoc",
        engine=EngineConfig(bundle=(engine or shipped_config("engines", SHIPPED_ENGINE)).resolve()),
        cameras=[_camera(f"cam{n}", source_from_uri(uri)) for n, uri in enumerate(uris, start=1)],
        publish=PublishConfig(spool=SpoolConfig(dir=folder / "spool"), evidence=EvidenceConfig(dir=evidence.resolve())),
        console=page_on_free_port(),
    )


def page_on_free_port() -> ConsoleConfig | None:
    """The operators' page on its usual port, or on any other that is free; none where its packages are absent."""
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        return None
    usual = ConsoleConfig()
    for port in (usual.port, 0):
        try:
            with socket.create_server((usual.host, port)) as probe:
                return ConsoleConfig(port=probe.getsockname()[1])
        except OSError:
            continue
    return None


def _camera(name: str, source: SourceConfig) -> CameraConfig:
    """Files wait for the line; cameras do not."""
    return CameraConfig(id=name, source=source, on_overload="drop_oldest" if source.live else "block")


def write_line(line: LineConfig, folder: Path) -> Path:
    """Write the line where its workers can read it; for the owner only, since source addresses may hold passwords."""
    path = folder / "line.yaml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        yaml.safe_dump(plain_line(line), file, sort_keys=False)
    return path
