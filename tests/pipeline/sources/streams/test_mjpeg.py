"""HTTP cameras, against a server on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import cv2
import numpy as np
import pytest

from f2pnet.config.sources import MjpegSource
from pipeline.sources import BadFrame, Frame, SourceFault, open_source
from tests.servers.endless_server import EndlessServer
from tests.servers.mjpeg_server import MjpegServer
from tests.servers.reading import read_frames, read_until

COUNT = 20


def _jpeg(grey: int, shape: tuple[int, ...] = (48, 64)) -> bytes:
    return cv2.imencode(".jpg", np.full(shape, grey, np.uint8))[1].tobytes()


PICTURES = [_jpeg(10 * number) for number in range(COUNT)]


def _read_to_the_end(
    camera: MjpegServer, *, timeout_s: float = 1, start_index: int = 0
) -> tuple[list[Frame | BadFrame], Exception]:
    config = MjpegSource(url=f"http://{camera.address}/video", timeout_s=timeout_s)
    with open_source(config, start_index=start_index) as source:
        return read_until(source, SourceFault)


def test_every_picture_comes_in_order_and_is_dated_by_its_arrival() -> None:
    with (
        MjpegServer(PICTURES, fps=100) as camera,
        open_source(MjpegSource(url=f"http://{camera.address}/video"), start_index=5) as source,
    ):
        frames = read_frames(source, COUNT)

    assert [frame.index for frame in frames] == list(range(5, 5 + COUNT))
    images = [frame.image for frame in frames if isinstance(frame, Frame)]
    assert [round(float(image.mean()) / 10) for image in images] == list(range(COUNT))
    assert images[0].shape == (48, 64)
    stamps = [frame.captured_at_ns for frame in frames]
    assert stamps == sorted(stamps)
    assert 0 <= time.time_ns() - stamps[-1] < 10e9


def test_torn_picture_and_one_of_another_size_do_not_stop_the_stream() -> None:
    pictures = [*PICTURES]
    pictures[3] = b"no picture at all"
    pictures[6] = pictures[6][: len(pictures[6]) // 2]
    pictures[9] = _jpeg(90, (30, 40, 3))

    with (
        MjpegServer(pictures, fps=100) as camera,
        open_source(MjpegSource(url=f"http://{camera.address}/", timeout_s=1)) as source,
    ):
        items, _ = read_until(source, SourceFault)

    assert [item.index for item in items] == list(range(COUNT))
    assert [item.index for item in items if isinstance(item, BadFrame)] == [3, 6]
    assert isinstance(items[9], Frame)
    assert items[9].image.shape == (30, 40, 3)


def test_camera_that_falls_silent_is_a_fault_in_time() -> None:
    with (
        MjpegServer(PICTURES[:3]) as camera,
        open_source(MjpegSource(url=f"http://{camera.address}/", timeout_s=1)) as source,
    ):
        items, fault = read_until(source, SourceFault)

    assert len(items) == 3
    assert "silent for 1 s" in str(fault)
    assert time.time_ns() - items[-1].captured_at_ns < 4e9


def test_camera_that_ends_its_stream_is_a_fault() -> None:
    with (
        MjpegServer(PICTURES[:3], then_silent=False) as camera,
        open_source(MjpegSource(url=f"http://{camera.address}/", timeout_s=5)) as source,
    ):
        items, _ = read_until(source, SourceFault)

    assert len(items) == 3
    assert time.time_ns() - items[-1].captured_at_ns < 2e9


def test_login_is_used_and_never_shown() -> None:
    with MjpegServer(PICTURES, authorization="Basic b3BlcmF0b3I6czNjcmV0") as camera:
        with open_source(MjpegSource(url=f"http://operator:s3cret@{camera.address}/")) as source:
            read_frames(source, 1)
        with pytest.raises(SourceFault, match="401") as caught:
            open_source(MjpegSource(url=f"http://operator:wr0ng@{camera.address}/?key=t0ken"))

    assert "wr0ng" not in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert caught.value.__cause__ is None  # a cause would carry the whole address into logs


def test_nobody_at_the_address_is_a_fault_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    with pytest.raises(SourceFault, match="Connection refused"):
        open_source(MjpegSource(url=f"http://127.0.0.1:{port}/"))


def test_address_that_answers_nothing_is_a_fault_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started_s = time.monotonic()
        with pytest.raises(SourceFault, match=r"silent for 0\.5 s"):
            open_source(MjpegSource(url=f"http://127.0.0.1:{mute.getsockname()[1]}/", timeout_s=0.5))

    assert time.monotonic() - started_s < 2


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=pp\r\n"
ENDLESS = {
    "a JPEG whose picture data never ends": (HEAD + b"\r\n--pp\r\n\r\n" + PICTURES[1][:-2], b"\x11" * 65_536),
    "a JPEG whose header never ends": (HEAD + b"\r\n--pp\r\n\r\n\xff\xd8", b"\xff\xe1\xff\xff" + b"z" * 65_533),
    "beginnings of JPEGs": (HEAD + b"\r\n", b"\xff\xd8\xff" * 20_000),
    "a part that is no JPEG": (HEAD + b"\r\n--pp\r\nContent-Type: image/jpeg\r\n\r\n", b"x" * 65_536),
    "parts without content": (HEAD + b"\r\n", b"\r\n--pp\r\nContent-Type: image/jpeg\r\n\r\n" * 2_000),
    "headers of the answer": (HEAD, b"X-A: " + b"y" * 1_000 + b"\r\n"),
    "one line of the header": (HEAD, b"y" * 65_536),
    "cookies": (HEAD, b"".join(b"Set-Cookie: c%d=%s\r\n" % (number, b"v" * 900) for number in range(60))),
}
READ_FOR_S = 2.0
_READS = f"""
import resource, sys, time
from f2pnet.config.sources import MjpegSource
from pipeline.sources import SourceFault, open_source

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

print(peak_mb())
for address in sys.argv[1:]:
    until_s = time.monotonic() + {READ_FOR_S}
    while time.monotonic() < until_s:
        try:
            with open_source(MjpegSource(url=address, timeout_s=1), max_bytes=4 << 20) as source:
                while time.monotonic() < until_s:
                    source.read(0.2)
        except SourceFault:
            pass
    print(peak_mb())
"""


def test_a_camera_whose_answer_never_ends_costs_bounded_memory() -> None:
    with ExitStack() as servers:
        cameras = [servers.enter_context(EndlessServer(*parts)) for parts in ENDLESS.values()]
        done = subprocess.run(
            [sys.executable, "-c", _READS, *(f"http://{camera.address}/" for camera in cameras)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    before_mb, *peaks_mb = map(int, done.stdout.split())
    for what, camera, peak_mb in zip(ENDLESS, cameras, peaks_mb, strict=True):
        assert camera.sent_bytes > 10 * 2**20, what
        assert peak_mb - before_mb < 120, what
