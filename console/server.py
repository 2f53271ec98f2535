"""The web application: the page, its live sections, and its static files. It writes nothing, anywhere."""

import asyncio
import contextlib
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.page import Page
from console.view import View

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
SPACING_SECONDS = 0.3  # between two renderings, whatever the news: a rendering takes processor time from all clients
TICK_SECONDS = 0.1  # between two looks whether there is something new
MAX_CLIENTS = 32
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
COMPRESSED = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


class Live:
    """The sections as they are now. They are rendered once for all clients, and only while there is one.

    version: differs as soon as there is something new to build. Without news they are built once a second, because
    the page shows ages, and its rates need a value for each second.
    """

    def __init__(
        self, build: Callable[[], View], page: Page, version: Callable[[], int], look: Callable[[], object]
    ) -> None:
        self._build = build
        self._look = look
        self._view = build()
        self._version = version
        self.page = page
        self.clients = 0
        self.changed = asyncio.Condition()
        self._sections: Mapping[str, str] = {}
        self._number = 0  # of renderings
        self._since: dict[str, int] = {}  # the rendering since which a section is as it is
        self._news = b""  # what the last rendering has changed

    async def run(self) -> None:
        while True:
            seen = self._version()
            try:
                await self._update()
            except Exception:
                log.exception("the page cannot be built")
            end = time.monotonic() + INTERVAL_SECONDS
            await asyncio.sleep(SPACING_SECONDS)
            while self._version() == seen and time.monotonic() < end:
                await asyncio.sleep(TICK_SECONDS)

    async def _update(self) -> None:
        self._view = self._build()
        if self.clients:
            self._look()
            before, self._sections = self._sections, self.page.sections(self._view)
            self._number += 1
            self._since |= {name: self._number for name, html in self._sections.items() if before.get(name) != html}
            self._news = self._message(self._number - 1)
            async with self.changed:
                self.changed.notify_all()

    def _message(self, seen: int) -> bytes:
        """The sections that have changed after the rendering `seen`."""
        changed = {name: html for name, html in self._sections.items() if self._since[name] > seen}
        return f"data: {json.dumps(changed)}\n\n".encode()

    def whole(self) -> bytes:
        self._look()
        return self.page.whole(self._view).encode()

    async def stream(self) -> AsyncIterator[bytes]:
        """The sections that have changed since the client got them. A slow client skips what it did not take."""
        seen, number = 0, self._number  # without clients nothing is rendered, so the last rendering may be old
        self.clients += 1
        try:
            yield b"retry: 1000\n\n"
            while True:
                async with self.changed:
                    while self._number == number:
                        await self.changed.wait()
                news = self._news if seen and seen == self._number - 1 else self._message(seen)
                seen = number = self._number
                yield news
        finally:
            self.clients -= 1


def application(
    build: Callable[[], View],
    allowed_hosts: Sequence[str],
    version: Callable[[], int] = lambda: 0,
    look: Callable[[], object] = lambda: None,
) -> ASGIApp:
    """The application.

    build: returns what the page shows now. version: differs when there is something new. look: is called whenever the
    page is loaded, and at least once a second while it is open.
    """
    live = Live(build, Page(), version, look)

    async def page(request: Request) -> Response:
        content = live.whole()
        if takes_gzip(request):
            return HTMLResponse(gzip.compress(content, 5), headers=COMPRESSED)
        return HTMLResponse(content)

    async def events(_: Request) -> Response:
        if live.clients >= MAX_CLIENTS:
            return PlainTextResponse("too many clients", 503, {"Retry-After": "10"})
        return StreamingResponse(live.stream(), media_type="text/event-stream")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in live.page.static:
            return PlainTextResponse("not found", 404)
        kind = TYPES.get(name.rpartition(".")[2], "text/plain")
        caching = {"Cache-Control": "max-age=31536000"}
        if takes_gzip(request):
            return Response(live.page.compressed[name], headers={**caching, **COMPRESSED}, media_type=kind)
        return Response(live.page.static[name], headers=caching, media_type=kind)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(live.run())
        yield
        task.cancel()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/static/{name:path}", static),
            Route("/healthz", healthz),
        ],
        lifespan=lifespan,
    )
    return Guard(app, allowed_hosts)


def takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


class Guard:
    """Refuses foreign Host headers and all methods but GET and HEAD, and adds the security headers.

    Without the check, a foreign page whose name resolves to this address could read the posts (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(each for each in added if each[0] not in names)]
            await send(message)

        problem = self._problem(scope)
        if problem is not None:
            await problem(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _problem(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET and HEAD are allowed\n", 405, {"Allow": "GET, HEAD"})
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        # A probe of Kubernetes asks by the pod's address.
        if "*" in self._allowed or name in self._allowed or scope["path"] == "/healthz":
            return None
        return PlainTextResponse("this Host is not allowed, see CONSOLE_ALLOWED_HOSTS\n", 400)
