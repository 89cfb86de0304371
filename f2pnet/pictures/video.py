"""From the packets of a video to pictures. What was predicted from a damaged or lost picture is no picture of a part.

A video mostly holds changes: each picture is predicted from earlier ones, back to a keyframe. A decoder that misses a
packet goes on with what it has, and its pictures look whole. So after damage every picture is refused until the next
keyframe. Damage is what the container or network says is lost, what the decoder raises, conceals or reports as an
error, and what `f2pnet.pictures.bitstream` finds.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from f2pnet.errors import F2pError
from f2pnet.pictures.bitstream import BitstreamCheck
from f2pnet.pictures.decode import MAX_DECODED_BYTES, decode_picture
from f2pnet.pictures.header import PictureTooLarge, UnreadablePicture
from f2pnet.pictures.preprocess import Image
from f2pnet.text import printable

CHECKED_CODECS = ("h264", "hevc")
LONGEST_DELAY = 17  # pictures that a decoder may hold back to bring them into order (H.264 and H.265: 16)
TAIL_FRAMES = 1.5  # a file whose last picture ends this much before the promised length was cut off
_NOT_ABOUT_PIXELS = ("SEI", "VUI")  # parts of H.264 and H.265 that say something about the pictures, in decoders' words
_FOLLOWS = "predicted from a picture that is damaged or lost"


class UnreadableVideo(F2pError):
    """The file is no video that can be opened, or breaks off; the message says where."""


class VideoCutShort(UnreadableVideo):
    """The file ended before the length that it states."""


@dataclass(frozen=True, eq=False)
class VideoPicture:
    """One picture of a video, or (pixels None) why there is none.

    `time_s`: when it is shown, in the stream's own time. `follows`: the problem is a consequence of one that an earlier
    picture reported. `too_large`: it takes more memory than it may.
    """

    pixels: Image | None
    time_s: float | None
    problem: str | None = None
    follows: bool = False
    too_large: bool = False


@dataclass
class _Damage:
    """A stretch of packets, by their place in decoding order, whose pictures can't be trusted."""

    start: int
    reason: str
    end: int | None = None  # the keyframe that ends it
    end_pts: int | None = None
    reported: bool = False

    def holds(self, place: int, pts: int | None) -> bool:
        """Pictures that are shown before the keyframe and decoded after it lean on both sides."""
        if place < self.start:
            return False
        if self.end is None or place < self.end:
            return True
        return pts is not None and self.end_pts is not None and pts < self.end_pts


class PacketDecoder:
    """Decodes one stream, packet by packet. The caller reads packets in order, and an empty one at the end."""

    def __init__(self, stream: VideoStream, max_bytes: int = MAX_DECODED_BYTES) -> None:
        read_ffmpeg_messages()
        codec = stream.codec_context
        codec.flags |= Flags.copy_opaque  # a picture names the packet that it came from
        codec.options = {
            "max_pixels": str(min(2 * max_bytes, 2**31 - 1))
        }  # against bombs; a whole picture is measured exactly
        stream.thread_type, codec.thread_count = "SLICE", 1  # threads by frame hold pictures and errors back
        self._name = codec.name
        self._max_bytes = max_bytes
        self._check = BitstreamCheck(codec.name, codec.extradata) if codec.name in CHECKED_CODECS else None
        self._places = 0
        self._keyframes: deque[tuple[int, int | None]] = deque(maxlen=LONGEST_DELAY)  # (place, pts)
        self._waiting: dict[int, av.Packet[VideoStream]] = {}  # those whose picture has not come
        self._damage: deque[_Damage] = deque(maxlen=LONGEST_DELAY)
        self._last_still_damaged = False  # of Motion JPEG
        self.rotation_deg = 0
        """By how much the container asks to turn the latest picture for showing, anticlockwise."""

    def decode(self, packet: av.Packet[VideoStream], lost: str | None = None) -> list[VideoPicture]:
        """The pictures that `packet` completes, in the order they are shown. `lost`: what is missing before it."""
        if not packet.size:  # at the end; in the middle AVI has such packets where nothing changed
            return self._at_the_end(packet) if packet.dts is None else []
        place, self._places = self._places, self._places + 1
        problem = lost or self._problem_of(packet, place)
        if packet.is_keyframe:
            self._keyframes.append((place, packet.pts))
            if problem is None:
                self._end_damage(place, packet.pts)
        if problem is not None:
            self._begin_damage(place, packet.pts, problem)
        self._waiting[place] = packet
        if self._name == "mjpeg" and is_plain_jpeg(data := bytes(packet)):
            return self._still(data, place)
        packet.opaque = place
        frames, problem, refused = _decoded(packet)
        if problem is not None:
            self._begin_damage(place, packet.pts, problem)
        given_up = self._given_up([place] if refused else []) + self._given_up(list(self._waiting)[:-LONGEST_DELAY])
        return given_up + [picture for frame in frames for picture in self._pictures(frame, place)]

    @property
    def ends_damaged(self) -> bool:
        """Whether the last packet, and none before it, is damaged: what follows a torn copy is missing."""
        return self._last_still_damaged or any(damage.start == self._places - 1 for damage in self._damage)

    def _problem_of(self, packet: av.Packet[VideoStream], place: int) -> str | None:
        if packet.is_corrupt:
            return "parts of the stream were lost on the way"
        if place == 0 and not packet.is_keyframe:
            return "the stream begins between two keyframes"
        return None if self._check is None else self._check.problem(bytes(packet))

    def _begin_damage(self, place: int, pts: int | None, reason: str) -> None:
        """From `place` on nothing can be trusted, up to the next keyframe, which may have been decoded already.

        A picture that is decoded after a keyframe and shown before it does no harm to those shown after.
        """
        if self._damage_of(place, pts) is not None:
            return
        end, end_pts = next(((at, key_pts) for at, key_pts in self._keyframes if at > place), (None, None))
        last_place, last_pts = self._keyframes[-1] if self._keyframes else (place, None)
        if last_place < place and pts is not None and last_pts is not None and pts < last_pts:
            end, end_pts = place + 1, last_pts
        self._damage.append(_Damage(place, reason, end, end_pts))

    def _end_damage(self, place: int, pts: int | None) -> None:
        for damage in self._damage:
            if damage.end is None:
                damage.end, damage.end_pts = place, pts

    def _damage_of(self, place: int, pts: int | None = None) -> _Damage | None:
        return next((damage for damage in self._damage if damage.holds(place, pts)), None)

    def _pictures(self, frame: av.VideoFrame, latest: int) -> list[VideoPicture]:
        """The frame, after the pictures that should have come before it."""
        place = frame.opaque if isinstance(frame.opaque, int) else latest
        time_s = None if frame.time is None else float(frame.time)
        self.rotation_deg = frame.rotation
        if frame.is_corrupt:
            self._begin_damage(place, frame.pts, "parts of the picture are damaged or lost")
        damage = self._damage_of(place, frame.pts)
        if damage is not None:
            was_given_up = self._waiting.pop(place, None) is None
            return [] if was_given_up else [_refused(damage, time_s)]
        self._waiting.pop(place, None)
        before = self._given_up([waiting for waiting in self._waiting if waiting < place])
        return [*before, self._whole(frame, time_s)]

    def _whole(self, frame: av.VideoFrame, time_s: float | None) -> VideoPicture:
        pixel_bytes = frame.width * frame.height * (1 if _is_grey(frame) else 3)
        if pixel_bytes > self._max_bytes:
            size = f"{frame.width}x{frame.height} takes {pixel_bytes / 2**20:.0f} MB"
            return VideoPicture(None, time_s, f"a picture of {size}: raise max_frame_mb", too_large=True)
        return VideoPicture(pixels_of(frame), time_s)

    def _given_up(self, places: Sequence[int]) -> list[VideoPicture]:
        """Pictures that will not come any more; outside damage a packet without one is in order (VP9 has such)."""
        packets = [(place, self._waiting.pop(place)) for place in places]
        damaged = [(packet, self._damage_of(place, packet.pts)) for place, packet in packets]
        return [_refused(damage, _seconds(packet)) for packet, damage in damaged if damage is not None]

    def _still(self, data: bytes, place: int) -> list[VideoPicture]:
        """A picture of a Motion JPEG stream: a file of its own, read like one."""
        time_s, self._last_still_damaged = _seconds(self._waiting.pop(place)), False
        if (damage := self._damage_of(place)) is not None:
            return [_refused(damage, time_s)]
        try:
            return [VideoPicture(decode_picture(data, max_bytes=self._max_bytes), time_s)]
        except PictureTooLarge as error:
            return [VideoPicture(None, time_s, str(error), too_large=True)]
        except UnreadablePicture as error:
            self._last_still_damaged = True
            return [VideoPicture(None, time_s, str(error))]

    def _at_the_end(self, packet: av.Packet[VideoStream]) -> list[VideoPicture]:
        """What the decoder still held, and what will not come any more."""
        frames, problem, _ = _decoded(packet)
        if problem is not None and self._places:
            self._begin_damage(self._places - 1, None, problem)
        pictures = [picture for frame in frames for picture in self._pictures(frame, self._places - 1)]
        return pictures + self._given_up(list(self._waiting))


class VideoFile:
    """One video file from its first picture to its last. Raises UnreadableVideo where it can't be opened."""

    def __init__(self, path: Path, max_bytes: int = MAX_DECODED_BYTES) -> None:
        self._path = path
        read_ffmpeg_messages()
        try:
            with av.logging.Capture():
                self._container: InputContainer = av.open(str(path))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UnreadableVideo(f"it can't be opened ({reason_of(error)}): is it whole, and a video?") from error
        if not self._container.streams.video:
            self._container.close()
            raise UnreadableVideo("it holds no video")
        self._stream = self._container.streams.video[0]
        self._decoder = PacketDecoder(self._stream, max_bytes)

    @property
    def fps(self) -> float | None:
        """The rate that the file states, in pictures per second."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    @property
    def note(self) -> str | None:
        """What users should know of a video that asks to be shown turned; known once a picture was read."""
        turn_deg = self._decoder.rotation_deg % 360
        if not turn_deg:
            return None
        return (
            f"it asks to be shown turned by {360 - turn_deg} degrees clockwise, and is inspected as stored; to have it "
            "upright, re-encode it (`ffmpeg -i VIDEO UPRIGHT.mp4` turns it)"
        )

    def pictures(self) -> Iterator[VideoPicture]:
        """Every picture once, in the order they are shown. Raises UnreadableVideo, or VideoCutShort at the end."""
        count, end_s = 0, 0.0
        try:
            for packet in self._packets():
                for picture in self._decoder.decode(packet):
                    yield picture
                    count += 1
                    end_s = max(end_s, picture.time_s or 0.0)
        except (av.FFmpegError, OSError) as error:
            raise UnreadableVideo(f"it broke after frame {count}: {reason_of(error)}") from error
        self._check_whole(count, end_s, self._decoder.ends_damaged)

    def _packets(self) -> Iterator[av.Packet[VideoStream]]:
        """The file's packets; what FFmpeg says of its container stands in their flags too."""
        packets = self._container.demux(self._stream)
        while True:
            with av.logging.Capture():
                packet = next(packets, None)
            if packet is None:
                return
            yield packet

    def close(self) -> None:
        """Close the file; a second call changes nothing."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_whole(self, count: int, end_s: float, tail_damaged: bool) -> None:
        """Raise VideoCutShort when the file promised more than `count` frames that end with the one at `end_s`."""
        promised_s, tail_s = _promised_end_s(self._stream), TAIL_FRAMES / float(self._stream.average_rate or 25)
        if tail_damaged or (promised_s is not None and end_s + tail_s < promised_s):
            whole = "" if promised_s is None else f" of {promised_s:.2f}"
            raise VideoCutShort(
                f"it broke off after frame {count}, at {end_s:.2f}{whole} s: it was cut short; copy or record it anew"
            )


def pixels_of(frame: av.VideoFrame) -> Image:
    """uint8, C-contiguous: (H, W) of a grey video, else (H, W, 3) BGR; as stored, whatever the container's rotation."""
    return np.ascontiguousarray(frame.to_ndarray(format="gray" if _is_grey(frame) else "bgr24"), np.uint8)


def is_plain_jpeg(data: bytes) -> bool:
    """Whether a packet of Motion JPEG is a JPEG file; some leave out the tables, or hold two fields."""
    return data.startswith(b"\xff\xd8\xff") and b"\xff\xc4" in data[:2048] and b"AVI1" not in data[:16]


def reason_of(error: Exception) -> str:
    """What went wrong, without the address, which FFmpeg puts into its messages and which may hold a password."""
    if isinstance(error, av.FFmpegError | OSError):
        return error.strerror or type(error).__name__
    return f"{type(error).__name__}: {error}"


def read_ffmpeg_messages() -> None:
    """Have FFmpeg's messages handed to Python, where `av.logging.Capture` reads those of its thread."""
    if av.logging.get_level() is None:
        av.logging.set_level(av.logging.WARNING)
        av.logging.set_skip_repeated(False)  # the same damage twice has the same words
        logging.getLogger("libav").addHandler(logging.NullHandler())


def _decoded(packet: av.Packet[VideoStream]) -> tuple[list[av.VideoFrame], str | None, bool]:
    """Frames that the packet completes, what is wrong with it, and whether the decoder refused it altogether."""
    with av.logging.Capture() as messages:
        try:
            frames = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
        except av.error.InvalidDataError as error:
            return [], _worst(messages) or f"the decoder refuses it: {reason_of(error)}", True
    return frames, _worst(messages), False


def _worst(messages: Sequence[tuple[int, str, str]]) -> str | None:
    """The first error that FFmpeg's decoder reports; a decoder that goes on all the same guesses at the rest."""
    for level, _, text in messages:
        if level <= av.logging.ERROR and not any(word in text for word in _NOT_ABOUT_PIXELS):
            return f"the decoder reports: {printable(text.strip())}"
    return None


def _refused(damage: _Damage, time_s: float | None) -> VideoPicture:
    follows, damage.reported = damage.reported, True
    reason = _FOLLOWS if follows else f"{damage.reason}; nothing is inspected until the next keyframe"
    return VideoPicture(None, time_s, reason, follows=follows)


def _seconds(packet: av.Packet[VideoStream]) -> float | None:
    return None if packet.pts is None else float(packet.pts * packet.time_base)


def _is_grey(frame: av.VideoFrame) -> bool:
    return frame.format.name.startswith("gray")


def _promised_end_s(stream: VideoStream) -> float | None:
    """When the last frame should be over, by the file's own header, in s; None when it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", ""))  # as Matroska writes it
    if tag is None:
        return None
    hours, minutes, seconds = tag.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
