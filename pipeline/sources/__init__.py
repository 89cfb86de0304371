"""Camera sources: a table of kinds, of which only the chosen one is imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from typing import cast

from f2pnet.config.sources import FolderSource, GenicamSource, SourceConfig
from f2pnet.errors import MissingExtra
from f2pnet.pictures.decode import MAX_DECODED_BYTES
from pipeline.sources.base import BadFrame, Frame, Opening, Source, SourceEnded, SourceFault
from pipeline.sources.identity import source_identity

__all__ = ["SOURCES", "BadFrame", "Frame", "Source", "SourceEnded", "SourceFault", "open_source", "source_identity"]

SOURCES = {
    "folder": "pipeline.sources.files.folder:FolderReader",
    "folder that is watched": "pipeline.sources.files.hot_folder:HotFolderReader",
    "video": "pipeline.sources.streams.video:VideoReader",
    "rtsp": "pipeline.sources.streams.rtsp:RtspReader",
    "mjpeg": "pipeline.sources.streams.mjpeg:MjpegReader",
    "v4l2": "pipeline.sources.streams.v4l2:V4l2Reader",
    "genicam": "pipeline.sources.genicam.gentl:GentlReader",
    "genicam without producer": "pipeline.sources.genicam.aravis:AravisReader",
    "synthetic": "pipeline.sources.synthetic:SyntheticReader",
}
EXTRAS = {
    "av": "camera",
    "genicam": "genicam",
    "harvesters": "genicam",
}  # which extra brings a package that a source needs


def open_source(
    config: SourceConfig,
    *,
    start_index: int = 0,
    max_bytes: int = MAX_DECODED_BYTES,
    owner: str = "f2p",
    in_flight: Collection[str] = (),
) -> Source:
    """Open a camera or file; its first picture has the index `start_index`. See `Opening` for the rest.

    Finite sources skip that many pictures, cameras only number on from there. Raises MissingResource (no such file or
    folder), MissingExtra (a package is not installed), SourceFault (the camera does not answer within its time-out).
    """
    module_name, reader_name = SOURCES[_reader_kind(config)].split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise MissingExtra(f"sources of kind {config.kind}", EXTRAS[error.name]) from error
    reader = cast(Callable[[SourceConfig, Opening], Source], getattr(module, reader_name))
    return reader(config, Opening(start_index, max_bytes, owner, in_flight))


def _reader_kind(config: SourceConfig) -> str:
    if isinstance(config, GenicamSource) and config.producer is None:
        return "genicam without producer"
    if isinstance(config, FolderSource) and config.watch:
        return "folder that is watched"
    return config.kind
