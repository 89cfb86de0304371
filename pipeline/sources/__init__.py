"""Camera sources: a table of kinds, of which only the chosen one is imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from f2pnet.config.sources import GenicamSource, SourceConfig
from f2pnet.errors import MissingExtra
from pipeline.sources.base import BadFrame, Frame, Source, SourceEnded, SourceFault
from pipeline.sources.identity import source_identity

__all__ = ["SOURCES", "BadFrame", "Frame", "Source", "SourceEnded", "SourceFault", "open_source", "source_identity"]

SOURCES = {
    "folder": "pipeline.sources.folder:FolderReader",
    "video": "pipeline.sources.video:VideoReader",
    "rtsp": "pipeline.sources.rtsp:RtspReader",
    "mjpeg": "pipeline.sources.mjpeg:MjpegReader",
    "v4l2": "pipeline.sources.v4l2:V4l2Reader",
    "genicam": "pipeline.sources.gentl:GentlReader",
    "genicam without producer": "pipeline.sources.aravis:AravisReader",
    "synthetic": "pipeline.sources.synthetic:SyntheticReader",
}
EXTRAS = {
    "av": "camera",
    "genicam": "genicam",
    "harvesters": "genicam",
}  # which extra brings a package that a source needs


def open_source(config: SourceConfig, *, start_index: int = 0) -> Source:
    """Open a camera or file; its first picture has the index `start_index`.

    Finite sources skip that many pictures, cameras only number on from there. Raises MissingResource (no such file or
    folder), MissingExtra (a package is not installed), SourceFault (the camera does not answer within its time-out).
    """
    own_driver = isinstance(config, GenicamSource) and config.producer is None
    module_name, reader_name = SOURCES["genicam without producer" if own_driver else config.kind].split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise MissingExtra(f"sources of kind {config.kind}", EXTRAS[error.name]) from error
    reader = cast(Callable[[SourceConfig, int], Source], getattr(module, reader_name))
    return reader(config, start_index)
