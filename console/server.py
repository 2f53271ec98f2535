"""The web application: the page, its live sections, and its static files. It writes nothing, anywhere."""

import asyncio
import contextlib
import gzip
import json
import logging
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
    """The sections as they are now. They are rendered once a second for all clients, and only while there is one."""

    def __init__(self, build: Callable[[], View], page: Page) -> None:
        self._build = build
        self._view = build()
        self.page = page
        self.clients = 0
        self.sections: Mapping[str, str] = {}
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        while True:
            try:
                await self._update()
            except Exception:
                log.exception("the page cannot be built")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _update(self) -> None:
        self._view = await asyncio.to_thread(self._build)  # also without a client: rates need every second
        if self.clients:
            sections = await asyncio.to_thread(self.page.sections, self._view)
            async with self.changed:
                self.sections = sections
                self.changed.notify_all()

    def whole(self) -> str:
        return self.page.whole(self._view)

    async def stream(self) -> AsyncIterator[str]:
        """The sections that have changed since the client got them. A slow client skips what it did not take."""
        sent: dict[str, str] = {}
        self.clients += 1
        try:
            yield "retry: 1000\n\n"
            while True:
                async with self.changed:
                    await self.changed.wait()
                    now = dict(self.sections)
                changed = {name: html for name, html in now.items() if sent.get(name) != html}
                sent = now
                yield f"data: {json.dumps(changed)}\n\n"
        finally:
            self.clients -= 1


def application(build: Callable[[], View], allowed_hosts: Sequence[str]) -> ASGIApp:
    """The application. build: returns what the page shows now."""
    live = Live(build, Page())

    async def page(request: Request) -> Response:
        content = (await asyncio.to_thread(live.whole)).encode()
        if takes_gzip(request):
            return HTMLResponse(await asyncio.to_thread(gzip.compress, content, 5), headers=COMPRESSED)
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
