"""The page's connections: bounded in number and time for each address, so that the page answers the others.

A connection that sends no request, or sends it slowly, is closed after `IDLE_S`, or earlier to admit new ones; a
reader that takes nothing is cut off; pages that are kept up to date are so many for each address, and come again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.wire.admission import Admission, Limits

MOST_CONNECTIONS = 96
MOST_OF_AN_ADDRESS = 24
IDLE_S = 10.0
SLOWEST_SEND_S = 20.0
MOST_STREAMS = 32
MOST_STREAMS_OF_AN_ADDRESS = 8
LONGEST_STREAM_S = 900.0
_log = structlog.get_logger(__name__)

Client = tuple[str, int]
"""Address and port, as the server passes them to applications."""


class Guard:
    """Knows every connection and event stream of the page. For the server's event loop."""

    def __init__(self) -> None:
        self.admission = Admission(Limits(MOST_CONNECTIONS, MOST_OF_AN_ADDRESS, MOST_OF_AN_ADDRESS, IDLE_S))
        self._transports: dict[Client, asyncio.Transport] = {}
        self._streams: Counter[str] = Counter()

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's protocol for one connection, under this guard's eyes."""
        guard = self

        class Guarded(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                guard.entered(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    guard.left(self.client)
                super().connection_lost(exc)

        return Guarded

    def entered(self, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        if peer is None:  # gone before it was looked at
            transport.abort()
            return
        client = cast("Client", peer[:2])
        if not self.admission.admit(client, client[0], transport.abort):
            _log.warning("page: too many connections", address=client[0])
            transport.abort()
            return
        self._transports[client] = transport
        asyncio.get_running_loop().call_later(IDLE_S + 0.1, self.admission.close_overdue)

    def left(self, client: Client) -> None:
        self.admission.gone(client)
        self._transports.pop(client, None)

    def cut_off(self, client: Client) -> None:
        """Close a connection without waiting for its peer."""
        if transport := self._transports.get(client):
            transport.abort()

    def finished(self, client: Client) -> None:
        """A request was answered; the next one on this connection may take as long as the first."""
        self.admission.idle(client)
        asyncio.get_running_loop().call_later(IDLE_S + 0.1, self.admission.close_overdue)

    @contextmanager
    def stream(self, address: str) -> Iterator[bool]:
        """Whether one more event stream of this address may begin; counted until the end."""
        may = self._streams[address] < MOST_STREAMS_OF_AN_ADDRESS and self._streams.total() < MOST_STREAMS
        self._streams[address] += may
        try:
            yield may
        finally:
            self._streams[address] -= may
            if not self._streams[address]:
                del self._streams[address]


class GuardMiddleware:
    """Notifies the guard when a connection is served, and cuts off readers that take nothing."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope.get("client"):
            await self._app(scope, receive, send)
            return
        client: Client = tuple(scope["client"])

        async def bounded_send(message: Message) -> None:
            try:
                async with asyncio.timeout(SLOWEST_SEND_S):
                    await send(message)
            except TimeoutError:
                _log.warning("page: a reader takes nothing and is cut off", address=client[0])
                self._guard.cut_off(client)

        async def watched_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                self._guard.admission.serve(client)
            return message

        if not _has_body(scope):
            self._guard.admission.serve(client)
        try:
            await self._app(scope, watched_receive, bounded_send)
        finally:
            self._guard.finished(client)


def _has_body(scope: Scope) -> bool:
    """Whether more than the head of the request is still to come; until it is there, the connection counts as idle."""
    return any(name in (b"content-length", b"transfer-encoding") and value != b"0" for name, value in scope["headers"])


def address_of(request: HTTPConnection) -> str:
    client: Any = request.client
    return client.host if client else ""
