"""An RTSP camera on loopback that sends a video's H.264 packets as RTP, and loses some of them on the way.

RTSP: RFC 2326. RTP payload format for H.264: RFC 6184, single units and fragments (FU-A).
"""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import av
from av.bitstream import BitStreamFilterContext

PAYLOAD_BYTES = 1000
CLOCK_HZ = 90_000


class Packet(NamedTuple):
    """One RTP packet: which picture it belongs to, which part of it it is, when that is shown, and its payload."""

    picture: int
    part: int
    time_s: float
    is_last: bool
    payload: bytes


Loses = Callable[[Packet], bool]


class LossyRtspCamera:
    """Sends the pictures of `video` from number `start` on, at `fps`; a packet that it `loses` keeps its number.

    `leaps`: from this picture on, times are so many seconds later.
    """

    def __init__(
        self,
        video: Path,
        loses: Loses = lambda packet: False,
        *,
        start: int = 0,
        fps: float = 50,
        leaps: dict[int, float] | None = None,
    ) -> None:
        self._units = list(_units_of(video))
        self._loses, self._start, self._fps, self._leaps = loses, start, fps, leaps or {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/camera"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for client in self._clients:
            client.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            send = self._answer(client)
            self._play(send)
        except OSError:
            return  # the client has seen enough

    def _answer(self, client: socket.socket) -> Callable[[bytes], None]:
        """Answer requests until PLAY; returns what sends an RTP packet."""
        requests = client.makefile("rb")
        udp: tuple[socket.socket, tuple[str, int]] | None = None
        while True:
            request = _read_request(requests)
            method, sequence, transport = request["method"], request["cseq"], request.get("transport", "")
            more, body = "", ""
            if method == "OPTIONS":
                more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = self._description()
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                udp = _udp_to(transport)
                self._clients += [udp[0]] if udp else []
                own = f";server_port={udp[0].getsockname()[1]}-{udp[0].getsockname()[1] + 1}" if udp else ""
                more = f"Transport: {transport}{own}\r\nSession: 1\r\n"
            client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{more}\r\n{body}".encode())
            if method == "PLAY":
                break
        if udp is None:
            return lambda packet: client.sendall(struct.pack("!BBH", 0x24, 0, len(packet)) + packet)
        sender, address = udp
        return lambda packet: sender.sendto(packet, address) and None

    def _play(self, send: Callable[[bytes], None]) -> None:
        started_s = time.monotonic()
        for number, packet in enumerate(self._packets()):
            due_s = started_s + (packet.picture - self._start) / self._fps
            time.sleep(max(0.0, due_s - time.monotonic()))
            if not self._loses(packet):
                mark = 0x80 if packet.is_last else 0
                stamp = round(packet.time_s * CLOCK_HZ) & 0xFFFFFFFF
                send(struct.pack("!BBHII", 0x80, mark | 96, number & 0xFFFF, stamp, 7) + packet.payload)

    def _packets(self) -> Iterator[Packet]:
        for picture, units in enumerate(self._units):
            if picture < self._start:
                continue
            leap_s = sum(leap for first, leap in self._leaps.items() if picture >= first)
            payloads = [payload for unit in units for payload in _payloads(unit)]
            for part, payload in enumerate(payloads):
                is_last = part == len(payloads) - 1
                yield Packet(picture, part, picture / self._fps + leap_s, is_last, payload)

    def _description(self) -> str:
        sets = [base64.b64encode(unit).decode() for unit in self._units[0] if unit[0] & 31 in (7, 8)]
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            "a=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={','.join(sets)}\r\na=control:track1\r\n"
        )


def parts_of_picture(number: int, parts: Collection[int] | None = None) -> Loses:
    """Loses these parts of one picture, None: all of them."""
    return lambda packet: packet.picture == number and (parts is None or packet.part in parts)


def _units_of(video: Path) -> Iterator[list[bytes]]:
    """The units of each picture, in decoding order."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        with_start_codes = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for whole in with_start_codes.filter(packet) if packet.size else ():
                yield [piece.rstrip(b"\0") for piece in bytes(whole).split(b"\0\0\1")[1:]]


def _payloads(unit: bytes) -> Iterator[bytes]:
    if len(unit) <= PAYLOAD_BYTES:
        yield unit
        return
    indicator, kind = unit[0] & 0xE0 | 28, unit[0] & 31
    for at in range(1, len(unit), PAYLOAD_BYTES):
        first, last = at == 1, at + PAYLOAD_BYTES >= len(unit)
        yield bytes([indicator, 0x80 * first | 0x40 * last | kind]) + unit[at : at + PAYLOAD_BYTES]


def _read_request(requests: object) -> dict[str, str]:
    readline = requests.readline  # type: ignore[attr-defined]
    lines: list[str] = []
    while (line := readline()) not in (b"\r\n", b""):
        lines.append(line.decode().strip())
    if not lines:
        raise ConnectionResetError
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return fields | {"method": lines[0].split()[0]}


def _udp_to(transport: str) -> tuple[socket.socket, tuple[str, int]] | None:
    if "client_port=" not in transport:
        return None
    port = int(transport.split("client_port=")[1].split("-")[0])
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    return sender, ("127.0.0.1", port)
