"""Who may see the page: everybody on this machine, or who has the token; and nobody through another site's page.

Which path is asked for is what the server itself routes by, `scope["path"]`: nothing that a client can put together
another way, such as an address with its Host header in it.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from f2pnet.config.served import LOOPBACK

COOKIE = "f2p_token"
OPEN_PATH = "/login"
OPEN_FOLDER = "/static/"
SAME_SITE = "x-f2p"  # a header that another site's page can't send without asking first
HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class AuthMiddleware:
    """Asks every request for its right to be here, and adds the headers that keep a browser inside.

    Without a token only requests that name this machine are answered: a page of another site could otherwise point a
    name of its own at 127.0.0.1 and read along.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # the page has nothing else to offer
        answer = self._refusal(HTTPConnection(scope))
        if answer is not None:
            await answer(scope, receive, _adding_headers(send))
            return
        await self._app(scope, receive, _adding_headers(send))

    def _refusal(self, request: HTTPConnection) -> Response | None:
        path, method = str(request.scope["path"]), request.scope["method"]
        if self._token is None and not _names_this_machine(request.headers):
            return JSONResponse({"error": "wanted the address 127.0.0.1 or localhost"}, 403)
        if path == OPEN_PATH or path.startswith(OPEN_FOLDER):
            return None
        if self._token is not None and not self._has_token(request):
            wants_page = method == "GET" and "text/html" in request.headers.get("accept", "")
            return RedirectResponse("/login", 303) if wants_page else JSONResponse({"error": "token wanted"}, 401)
        if method != "GET" and SAME_SITE not in request.headers:
            return JSONResponse({"error": f"wanted the header {SAME_SITE}"}, 403)
        return None

    def _has_token(self, request: HTTPConnection) -> bool:
        given = request.cookies.get(COOKIE) or request.headers.get("authorization", "").removeprefix("Bearer ")
        return is_token(given, self._token or "")


def is_token(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def _names_this_machine(headers: Headers) -> bool:
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.strip("[]") in LOOPBACK


def _adding_headers(send: Send) -> Send:
    async def adding(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]  # type: ignore[misc]
        await send(message)

    return adding  # type: ignore[return-value]
