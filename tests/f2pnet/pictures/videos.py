"""Videos with numbered pictures, and ways to damage them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

FRAMES, KEYFRAME_EVERY, FPS = 60, 20, 25
WIDTH, HEIGHT = 160, 120
BITS, BLOCK = 6, 16
Damage = Callable[[bytes], bytes | None]


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A moving texture; along the top stands the number, a white block for each bit that is set."""
    texture = np.random.default_rng(1).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    noise = np.random.default_rng(number).integers(0, 12, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    moved = np.roll(texture, 3 * number, 1) + noise
    for bit in range(BITS):
        moved[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 250 * (number >> bit & 1)
    return moved


def number_of(image: npt.NDArray[np.uint8]) -> int:
    """Which picture is shown."""
    blocks = [image[4 : BLOCK - 4, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4] for bit in range(BITS)]
    return sum(int(block.mean() > 128) << bit for bit, block in enumerate(blocks))


def write_video(path: Path, codec: str, *, frames: int = FRAMES, pix_fmt: str = "yuv420p", **options: str) -> Path:
    """`frames` numbered pictures at `FPS`, with a keyframe every `KEYFRAME_EVERY`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.gop_size = KEYFRAME_EVERY
        stream.codec_context.options = {"crf": "18", "sc_threshold": "0", **options} if "264" in codec else options
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="bgr24")))
        container.mux(stream.encode())
    return path


def with_damage(source: Path, target: Path, damage: dict[int, Damage]) -> Path:
    """A copy of a video whose packets of these numbers, in decoding order, are damaged (None: left out)."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        packets = [packet for packet in read.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            data = damage.get(number, bytes)(bytes(packet))
            if data is None:
                continue
            fresh = av.Packet(data)
            fresh.pts, fresh.dts, fresh.time_base = packet.pts, packet.dts, packet.time_base
            fresh.duration, fresh.is_keyframe, fresh.stream = packet.duration, packet.is_keyframe, copy
            written.mux(fresh)
    return target


def asks_for_a_quarter_turn(path: Path) -> Path:
    """An MP4 whose container now asks players to turn it by 90 degrees clockwise."""
    data = path.read_bytes()
    upright = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    turned = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == -90
    return path


def lost(data: bytes) -> None:
    """The packet is left out."""


def zeroed(data: bytes) -> bytes:
    """Zeros in the middle, as a broken copy leaves them."""
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :]


def scrambled(data: bytes) -> bytes:
    """Other bytes in the middle."""
    third = len(data) // 3
    return data[:third] + random.Random(1).randbytes(third) + data[2 * third :]


def cut(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]
