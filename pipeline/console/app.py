"""The page's routes. All of them read; two write: a review, and that an alert was seen."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from f2pnet.alerts.stream import LONGEST_EVENT_ID, order_of
from f2pnet.config import LineConfig
from f2pnet.config.console import ConsoleConfig
from f2pnet.errors import ConfigError, F2pError, StoreAway
from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import Verdict
from f2pnet.redis.link import RedisLink
from pipeline.console.access import COOKIE, AuthMiddleware, is_token
from pipeline.console.guard import LONGEST_STREAM_S, Guard, GuardMiddleware, address_of
from pipeline.console.history import AlertQuery, NewestAlerts, page_of
from pipeline.console.live import Live, event
from pipeline.console.previews import Previews
from pipeline.console.reviews import Reviews
from pipeline.console.store import Store, is_stream_id
from pipeline.status.stored import read_status
from pipeline.store.audit.why import as_json
from pipeline.store.audit.why import why as gather
from pipeline.wire.rundir import RunDir

STATIC = Path(__file__).parent / "static"
MOST_ON_A_PAGE = 200
LARGEST_BODY = 16_384
LONGEST_BODY_S = 10.0
MOST_FIELDS = 8
UseLine = Callable[[LineConfig, RunDir], None]
"""Takes the line as it is in force from now on."""


def console_app(
    line: LineConfig, run_dir: RunDir, config: ConsoleConfig, closing: threading.Event, guard: Guard
) -> tuple[Starlette, UseLine]:
    """The application, which lets its pages go when `closing` is set, and what turns it to other cameras.

    Raises MissingResource or ConfigError for a token that can't be read.
    """
    token = config.read_token()
    pages = _Handlers(line, run_dir, config, token, closing, guard)
    routes = [
        Route("/", pages.page),
        Route("/login", pages.login_page),
        Route("/login", pages.login, methods=["POST"]),
        Route("/api/state", pages.state),
        Route("/api/alerts", pages.alerts),
        Route("/api/frame", pages.frame),
        Route("/api/review", pages.review, methods=["POST"]),
        Route("/api/seen", pages.seen, methods=["POST"]),
        Route("/api/live", pages.live),
        Route("/evidence.jpg", pages.evidence),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: dict[Any, Callable[..., Any]] = {F2pError: _as_answer}
    middleware = [Middleware(GuardMiddleware, guard=guard), Middleware(AuthMiddleware, token=token)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers), pages.use


class _Handlers:
    """Plain functions run in the server's threads: a slow store holds up nobody but who asked."""

    def __init__(
        self,
        line: LineConfig,
        run_dir: RunDir,
        config: ConsoleConfig,
        token: str | None,
        closing: threading.Event,
        guard: Guard,
    ) -> None:
        self._guard = guard
        self._line = line
        self._config = config
        self._token = token
        self._store = Store(lambda: line.running_store())
        self._reviews = Reviews(self._store, line.line)
        alerts = NewestAlerts(self._store, line.line, self._reviews)
        self._previews = Previews(run_dir, self._store)
        self._live = Live(self._read_state, alerts, self._previews, closing)

    def use(self, line: LineConfig, run_dir: RunDir) -> None:
        """The line's cameras have changed. From any thread."""
        self._line = line
        self._previews.use(run_dir)

    def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def login_page(self, request: Request) -> Response:
        return FileResponse(STATIC / "login.html")

    async def login(self, request: Request) -> Response:
        body = (await _body_of(request)).decode(errors="replace")
        try:
            given = parse_qs(body, max_num_fields=MOST_FIELDS).get("token", [""])[0]
        except ValueError as error:
            raise HTTPException(400, "wanted a form with a token") from error
        if self._token is None or not is_token(given, self._token):
            return FileResponse(STATIC / "login.html", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=request.scope["scheme"] == "https")
        return answer

    async def live(self, request: Request) -> Response:
        return StreamingResponse(self._events_for(address_of(request)), media_type="text/event-stream")

    async def _events_for(self, address: str) -> AsyncIterator[str]:
        with self._guard.stream(address) as may:
            if not may:
                yield event("trouble", {"error": "too many pages are open here: close some"})
                return
            async for text in self._live.stream(LONGEST_STREAM_S):
                yield text

    def state(self, request: Request) -> Response:
        return JSONResponse(self._read_state())

    def _read_state(self) -> dict[str, Any]:
        status = read_status(self._line, self._store.foreign)
        state = status.summary()
        for camera_id, ledger in status.cameras.items():
            state["cameras"][camera_id]["balanced"] = ledger.balanced
        return state | {"at_ms": time.time_ns() // 1_000_000, "reviewer": self._config.reviewer}

    def alerts(self, request: Request) -> Response:
        query = request.query_params
        try:
            wanted = AlertQuery(
                camera=query.get("camera") or None,
                verdict=Verdict(query["verdict"]) if query.get("verdict") else None,
                class_name=query.get("class") or None,
                since_ms=_milliseconds(query.get("since_ms")),
                until_ms=_milliseconds(query.get("until_ms")),
                before=_stream_id(query.get("before")),
                limit=max(1, min(MOST_ON_A_PAGE, int(query.get("limit", 50)))),
            )
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        return JSONResponse(page_of(self._store, self._line.line, wanted, self._reviews))

    def frame(self, request: Request) -> Response:
        frame = FrameId.parse(request.query_params.get("id", ""))
        link = RedisLink(self._line.running_store(), timeout_s=5.0)
        try:
            facts = gather(link, self._line, frame)
        finally:
            link.close()
        plain: dict[str, Any] = json.loads(as_json(facts))
        plain["evidence"] = facts.evidence is not None
        return JSONResponse(plain | self._reviews.of([str(frame)])[str(frame)])

    def evidence(self, request: Request) -> Response:
        """The kept picture: the path stands in the result, never in the request."""
        frame = FrameId.parse(request.query_params.get("id", ""))
        link = RedisLink(self._line.running_store(), timeout_s=5.0)
        try:
            path = gather(link, self._line, frame).evidence
        finally:
            link.close()
        if path is None:
            raise HTTPException(404, "no picture was kept of this frame, or it was deleted to make room")
        return FileResponse(path, media_type="image/png" if path.suffix == ".png" else "image/jpeg")

    async def review(self, request: Request) -> Response:
        body = await _json_of(request)
        frame_id, word = str(FrameId.parse(_text_in(body, "frame_id"))), _text_in(body, "word")
        by = _text_in(body, "by") or self._config.reviewer
        if not word:
            self._reviews.withdraw(frame_id)
        else:
            self._reviews.say(frame_id, word, _text_in(body, "note"), by)
        return JSONResponse(self._reviews.of([frame_id])[frame_id])

    async def seen(self, request: Request) -> Response:
        body = await _json_of(request)
        frame_id = _text_in(body, "frame_id")[:LONGEST_EVENT_ID]
        self._reviews.acknowledge(frame_id, _text_in(body, "by") or self._config.reviewer)
        return JSONResponse(self._reviews.of([frame_id])[frame_id])


def _text_in(body: dict[str, Any], name: str) -> str:
    """A text of the request; what no encoding takes is kept as an escape."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise HTTPException(400, f"{name}: wanted text")
    return value.encode(errors="backslashreplace").decode()


async def _body_of(request: Request) -> bytes:
    """The request's body, bounded in size and time while it is read."""
    data = b""
    try:
        async with asyncio.timeout(LONGEST_BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > LARGEST_BODY:
                    raise HTTPException(413, f"more than {LARGEST_BODY} bytes", {"connection": "close"})
    except ClientDisconnect as error:
        raise HTTPException(400, "no whole request") from error
    except TimeoutError:
        raise HTTPException(408, f"no whole request within {LONGEST_BODY_S:g} s", {"connection": "close"}) from None
    return data


async def _json_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await _body_of(request))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "wanted JSON") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "wanted an object")
    return body


def _stream_id(text: str | None) -> str | None:
    if not text:
        return None
    if not is_stream_id(text):
        raise ValueError("before: wanted the id of an entry")
    ms, number = order_of(text)
    return f"{ms}-{number}"


def _milliseconds(text: str | None) -> int | None:
    if not text:
        return None
    if not is_stream_id(text):
        raise ValueError("wanted a time in ms since the epoch")
    return order_of(text)[0]


def _as_answer(request: Request, error: F2pError) -> Response:
    """What the user gets where a command would end with a line and an exit code."""
    status = 400 if isinstance(error, ConfigError) else 503 if isinstance(error, StoreAway) else 404
    return JSONResponse({"error": str(error)}, status)
