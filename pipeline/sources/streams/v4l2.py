"""Cameras of this machine that Linux drives itself (Video4Linux2): USB cameras, capture cards, CSI cameras."""

from __future__ import annotations

from f2pnet.config.sources import V4l2Source
from f2pnet.text import printable
from pipeline.sources.base import Opening
from pipeline.sources.streams.timed_stream import TimedStreamReader


class V4l2Reader(TimedStreamReader):
    """One video device. Options are those of FFmpeg's v4l2 input (ffmpeg.org, "video4linux2, v4l2")."""

    def __init__(self, config: V4l2Source, opening: Opening) -> None:
        wanted = {"video_size": config.size, "framerate": config.fps, "input_format": config.pixel_format}
        super().__init__(
            str(config.device),
            timeout_s=config.timeout_s,
            opening=opening,
            options={name: str(value) for name, value in wanted.items() if value is not None},
            container_format="v4l2",
            name=printable(config.device),
        )
