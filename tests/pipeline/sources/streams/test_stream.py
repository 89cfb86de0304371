"""What all network cameras share: slow readers, hung decoders, closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import av
import cv2
import numpy as np
import pytest
from av.container import InputContainer
from av.stream import Stream

from f2pnet.config.sources import MjpegSource
from pipeline.sources import BadFrame, Frame, SourceFault, open_source
from pipeline.sources.base import Opening
from pipeline.sources.streams.mailbox import MAX_PICTURES
from pipeline.sources.streams.stream import Messages, Received, StreamReader
from tests.servers.mjpeg_server import MjpegServer
from tests.servers.reading import read_until

PICTURES = [cv2.imencode(".jpg", np.full((48, 64), 10 * number, np.uint8))[1].tobytes() for number in range(25)]


class HungDecoder(StreamReader):
    """A decoder that never comes back from its first picture, until it is released."""

    def __init__(self, address: str) -> None:
        self.released = threading.Event()
        super().__init__(f"http://{address}/", timeout_s=0.5, opening=Opening(), options={}, container_format="mpjpeg")

    def begin(self, container: InputContainer) -> Stream:
        return container.streams.video[0]

    def pictures(self, packet: av.Packet[Stream], arrival_ns: int, messages: Messages) -> Iterator[Received]:
        self.released.wait(30)
        yield Received(None, arrival_ns, "released")


def test_slow_reader_learns_of_every_picture_it_missed() -> None:
    with MjpegServer(PICTURES, fps=200) as camera:
        source = open_source(MjpegSource(url=f"http://{camera.address}/", timeout_s=2))
        assert camera.all_sent.wait(10)
        time.sleep(0.5)  # the last ones are on their way
        items, _ = read_until(source, SourceFault)
        source.close()

    assert [item.index for item in items] == list(range(len(PICTURES)))
    lost = [item for item in items if isinstance(item, BadFrame)]
    kept = [item for item in items if isinstance(item, Frame)]
    assert {item.reason for item in lost} == {"overrun"}
    assert [round(float(item.image.mean()) / 10) for item in kept] == list(range(25))[-MAX_PICTURES:]


def test_hung_decoder_is_a_fault_in_time_and_does_not_hold_up_closing() -> None:
    with MjpegServer(PICTURES) as camera:
        source = HungDecoder(camera.address)
        started_s = time.monotonic()
        with pytest.raises(SourceFault, match=r"silent for 0\.5 s"):
            read_until(source, KeyError)
        source.close()
        took_s = time.monotonic() - started_s
        source.released.set()

    assert took_s < 4


class BrokenDecoder(StreamReader):
    """A decoder with a bug."""

    def __init__(self, address: str) -> None:
        super().__init__(f"http://{address}/", timeout_s=20, opening=Opening(), options={}, container_format="mpjpeg")

    def begin(self, container: InputContainer) -> Stream:
        return container.streams.video[0]

    def pictures(self, packet: av.Packet[Stream], arrival_ns: int, messages: Messages) -> Iterator[Received]:
        raise ZeroDivisionError("no such luck")


def test_bug_in_a_decoder_is_told_at_once() -> None:
    with MjpegServer(PICTURES) as camera, BrokenDecoder(camera.address) as source:
        started_s = time.monotonic()
        _, fault = read_until(source, SourceFault)

    assert "ZeroDivisionError: no such luck" in str(fault)
    assert time.monotonic() - started_s < 5


def test_thread_ends_when_the_source_is_closed() -> None:
    with MjpegServer(PICTURES * 20, fps=200) as camera:
        source = open_source(MjpegSource(url=f"http://{camera.address}/"))
        source.close()
        source.close()

        assert not [thread for thread in threading.enumerate() if camera.address in thread.name]
