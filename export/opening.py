"""What an export is given: a checkpoint, which needs torch, or a bundle, which does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.origin import GraphBuilder, Origin, origin_of_bundle
from f2pnet.engine.bundle import open_bundle
from f2pnet.errors import ConfigError


def open_origin(
    path: Path,
    folder: Path,
    name: str,
    *,
    image_size: int | None,
    max_batch: int,
    static_batch: bool,
    build: GraphBuilder | None = None,
) -> Origin:
    """Read a checkpoint file or a bundle folder and put its fp32 ONNX file into `folder`.

    `build` None: as `f2p export` does.
    Raises MissingResource or ConfigError where it is neither, BundleError where the bundle is damaged.
    """
    if path.is_dir():
        if image_size is not None or static_batch:
            raise ConfigError(
                f"{path} is a bundle, whose graph is fixed: --image-size and --static-batch need the checkpoint"
            )
        return origin_of_bundle(open_bundle(path), folder, name)
    from export.checkpoint import origin_of_checkpoint  # torch, which a bundle does not need

    return origin_of_checkpoint(
        path, folder, name, image_size=image_size, max_batch=max_batch, static_batch=static_batch, build=build
    )


def known_scores(path: Path) -> list[dict[str, Any]]:
    """The score sheets that a checkpoint or a bundle carries. Raises as `open_origin` does."""
    if path.is_dir():
        return [sheet.model_dump() for sheet in open_bundle(path).manifest.training.metrics]
    from export.checkpoint import read_checkpoint

    return list(read_checkpoint(path)[1].get("metrics", []))
