"""Two readers beside a campaign: one sees when verdicts arrive, the other takes every alert as a subscriber would."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from f2pnet import subscribe
from f2pnet.errors import F2pError
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from tests.chaos.strangers import MARK


class _Reader:
    """A thread that calls `_read` until it is closed; `address` may change when the line is started anew."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._read(self._address())
            except F2pError:
                time.sleep(0.02)  # the line, or its store, is away

    def _read(self, url: str) -> None:
        raise NotImplementedError


class ArrivalWatch(_Reader):
    """When a verdict of a camera came last that was captured after some moment."""

    def __init__(self, address: Callable[[], str], line: str) -> None:
        super().__init__(address)
        self._stream = LineKeys(line).results
        self._after = "0-0"
        self._seen = threading.Condition()
        self._captured_at_ns: dict[str, int] = {}

    def recovered_s(self, since_ns: int, cameras: set[str], limit_s: float) -> float | None:
        """Seconds from `since_ns` (UTC) until each camera has a stored verdict of a frame captured later, or None."""

        def done() -> bool:
            return all(self._captured_at_ns.get(camera, 0) > since_ns for camera in cameras)

        with self._seen:
            if not self._seen.wait_for(done, limit_s):
                return None
        return (time.time_ns() - since_ns) / 1e9

    def _read(self, url: str) -> None:
        link = RedisLink(url, timeout_s=3)
        try:
            while not self._closing.is_set() and self._address() == url:
                command = ["XREAD", "COUNT", 500, "BLOCK", 300, "STREAMS", self._stream, self._after]
                (reply,) = link.exchange(command)
                self._note(reply[0][1] if reply else [])
        finally:
            link.close()

    def _note(self, entries: list[Any]) -> None:
        with self._seen:
            for name, flat in entries:
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                self._after = name.decode()
                if MARK.encode() in fields:
                    continue
                camera, captured = fields[b"camera_id"].decode(), int(fields[b"captured_at_ns"])
                if fields[b"verdict"] in (b"OK", b"NG"):  # an inspected frame, not the end of one
                    self._captured_at_ns[camera] = max(captured, self._captured_at_ns.get(camera, 0))
            self._seen.notify_all()


class AlertReader(_Reader):
    """A subscriber with a group: `delivered` counts how often each alert came, by frame or event."""

    def __init__(self, address: Callable[[], str], line: str) -> None:
        super().__init__(address)
        self._line = line
        self.delivered: Counter[str] = Counter()

    def _read(self, url: str) -> None:
        with subscribe(url, self._line, group="campaign", consumer="one", since="0", block_ms=300) as alerts:
            while not self._closing.is_set() and self._address() == url:
                alert = alerts.read(timeout_s=0.5)
                if alert is not None:
                    self.delivered[alert.frame_id] += 1
                    alert.ack()
