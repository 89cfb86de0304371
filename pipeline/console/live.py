"""What open pages receive as it happens: one look at the line for all of them, over a connection that each keeps open.

Server-sent events (HTML standard, section 9.2): `state` and `alerts` twice a second, `picture` for each camera four
times, `trouble` when the line can't be looked at. A page gets what is newest: one that reads slowly misses what was
there in between, and delays nobody. When no page is open nobody looks.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from f2pnet.errors import F2pError
from pipeline.console.history import NewestAlerts
from pipeline.console.previews import Preview, Previews

LOOK_S = 0.25
LOOKS_PER_STATE = 2
DEFECTS_DRAWN = 8

Events = dict[str, str]
"""The newest event of each topic, as it is sent."""


class Live:
    """For the server's event loop."""

    def __init__(
        self,
        state: Callable[[], dict[str, Any]],
        alerts: NewestAlerts,
        previews: Previews,
        closing: threading.Event,
    ) -> None:
        self._state = state
        self._alerts = alerts
        self._previews = previews
        self._closing = closing  # the server ends: pages are let go with the next look
        self._thread = ThreadPoolExecutor(1, "live")  # the store may be slow, and the loop must not wait for it
        self._pages = 0
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()  # set, and followed by a new one, after each look
        self._events: Events = {}
        self._shown: dict[str, Preview] = {}

    async def stream(self, longest_s: float) -> AsyncIterator[str]:
        """Events for one page, until it leaves, the server ends, time is over or looking fails: pages come again."""
        self._pages += 1
        until_s = time.monotonic() + longest_s
        seen: Events = {}
        try:
            looking = self._looking = self._looking or asyncio.create_task(self._keep_looking())
            while not looking.done() and not self._closing.is_set() and time.monotonic() < until_s:
                fresh = [text for topic, text in self._events.items() if seen.get(topic) != text]
                seen = self._events
                if fresh:
                    yield "".join(fresh)
                await self._looked.wait()
        finally:
            self._pages -= 1

    async def _keep_looking(self) -> None:
        """As long as there are pages."""
        self._events, self._shown = {}, {}
        loop, looks = asyncio.get_running_loop(), 0
        try:
            while self._pages:
                events = await loop.run_in_executor(self._thread, self._look, looks % LOOKS_PER_STATE == 0)
                looks += 1
                self._events = {topic: text for topic, text in self._events.items() if topic != "trouble"} | events
                self._wake_pages()
                await asyncio.sleep(LOOK_S)
        finally:
            self._looking = None
            self._wake_pages()

    def _wake_pages(self) -> None:
        self._looked.set()
        self._looked = asyncio.Event()

    def _look(self, with_state: bool) -> Events:
        try:
            content = {} if not with_state else {"state": self._state(), "alerts": self._alerts.page()}
            events = {topic: event(topic, said) for topic, said in content.items()}
            for camera_id, preview in self._previews.newest().items():
                if self._shown.get(camera_id) is not preview:
                    self._shown[camera_id] = preview
                    events[f"picture {camera_id}"] = event("picture", _picture(camera_id, preview))
        except F2pError as error:
            return {"trouble": event("trouble", {"error": str(error)})}
        return events


def event(name: str, content: dict[str, Any]) -> str:
    """As it is sent."""
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def _picture(camera_id: str, preview: Preview) -> dict[str, Any]:
    plain = json.loads(preview.result.to_json())
    return {
        "camera": camera_id,
        **{name: plain[name] for name in ("frame_id", "seq", "verdict", "score", "captured_at_ns")},
        "defects": plain["defects"][:DEFECTS_DRAWN],
        "size_px": [preview.width_px, preview.height_px],
        "jpeg": base64.b64encode(preview.jpeg).decode(),
    }
