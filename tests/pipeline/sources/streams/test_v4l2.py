"""Video devices. There is none where tests run: what can be shown is that a wrong one is refused, and soon."""

from __future__ import annotations

import pytest

from f2pnet.config.sources import V4l2Source, source_from_uri
from pipeline.sources import open_source
from pipeline.sources.base import SourceFault


@pytest.mark.parametrize(("device", "words"), [("/dev/video99", "No such file"), ("/dev/null", "Inappropriate ioctl")])
def test_what_is_no_camera_is_refused(device: str, words: str) -> None:
    source = V4l2Source.model_validate({"device": device, "size": "640x480", "fps": 30, "pixel_format": "yuyv422"})
    with pytest.raises(SourceFault, match=f"{device} is lost: .*{words}"):
        open_source(source)


def test_a_device_on_the_command_line_is_meant_as_a_camera() -> None:
    assert source_from_uri("/dev/null").kind == "v4l2"
