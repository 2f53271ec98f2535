"""What the stand-in servers share: a WebSocket server in a thread of its own, with a log of what it published."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

POLL_SECONDS = 0.005


class Session(ServerConnection):
    """One connection. incoming: when the client sent what, pings and pongs included, in monotonic seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.incoming: list[float] = []
        self.subscribed = False
        self.tasks: list[asyncio.Future[None]] = []

    def process_event(self, event: Any) -> None:
        if not isinstance(event, Request):
            self.incoming.append(time.monotonic())
        super().process_event(event)

    @property
    def query(self) -> dict[str, list[str]]:
        return query_of(self.request.path if self.request is not None else "")


class FeedServer:
    """Listens on a free port while the context is entered. A subclass has the rules of one real server.

    log: what was published, oldest first. The test's thread appends, the server's thread reads.
    asked: path and query of each handshake. heard: the text messages of clients.
    path: the path of `url`.
    subprotocols, ping_interval, ping_timeout: as in websockets; the server ends a connection without pong.
    max_age: seconds after which the server closes a connection; None: never.
    """

    path = "/"
    subprotocols: list[str] | None = None
    ping_interval: float | None = None
    ping_timeout: float | None = None
    max_age: float | None = None

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.asked: list[str] = []
        self.heard: list[str] = []
        self.sessions: list[Session] = []
        # Codes with which connections ended, oldest first: 1006 without a closing handshake.
        self.ended: list[int | None] = []
        self.errors: list[Exception] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="feed-server", daemon=True)

    # What a subclass defines.

    def refusal(self, request: Request) -> tuple[int, str] | None:  # noqa: ARG002
        """The HTTP status and body with which the server refuses a handshake; None: it accepts."""
        return None

    async def converse(self, session: Session) -> None:
        """Send what the session gets, until it ends."""

    async def on_message(self, session: Session, message: str | bytes) -> None:
        """Act on a message of the client."""

    # What a test calls.

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()
        for error in self.errors:
            raise error

    @property
    def subscribed(self) -> bool:
        """Whether a client gets now what is published."""
        return any(session.subscribed for session in self.sessions)

    def cut(self) -> None:
        """Break all connections. When it returns, no client gets what is published next."""

        async def cut() -> None:
            for session in self.sessions:
                session.subscribed = False
                session.transport.abort()

        self.wait_for(cut())

    def tell(self, frame: object) -> None:
        """Send this frame to all clients."""

        async def tell() -> None:
            for session in self.sessions:
                await session.send(text_of(frame))

        self.wait_for(tell())

    def wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    # The machinery.

    def spawn(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside the conversation, until the session ends."""
        session.tasks.append(asyncio.ensure_future(work))

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options: dict[str, Any] = {"subprotocols": self.subprotocols, "compression": None, "close_timeout": 1}
        async with serve(
            self._handle,
            "127.0.0.1",
            0,
            process_request=self._answer,
            create_connection=Session,
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            **options,
        ) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{self.path}"
            self._ready.set()
            await self._stop.wait()
            for session in self.sessions:
                session.transport.abort()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked.append(request.path)
        refused = self.refusal(request)
        return None if refused is None else connection.respond(*refused)

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Session)
        self.sessions.append(connection)
        self.spawn(connection, self.converse(connection))
        self.spawn(connection, self._listen(connection))
        try:
            await asyncio.wait(connection.tasks, timeout=self.max_age, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.subscribed = False
            self.sessions.remove(connection)
            for task in connection.tasks:
                task.cancel()
                try:
                    await task
                except (asyncio.CancelledError, ConnectionClosed):
                    pass
                except Exception as error:  # noqa: BLE001 - for the test, which fails with it
                    self.errors.append(error)
            await connection.close()
            self.ended.append(connection.close_code)

    async def _listen(self, session: Session) -> None:
        async for message in session:
            self.heard.append(message if isinstance(message, str) else repr(message))
            await self.on_message(session, message)

    async def follow(self, session: Session, start: int, frame_of: Callable[[Any], object]) -> None:
        """Send what was published from the index `start` of the log on, and all that follows.

        frame_of: the frame for an event of the log; None if this client does not get it.
        """
        session.subscribed = True
        while True:
            while start < len(self.log):
                frame = frame_of(self.log[start])
                start += 1
                if frame is not None:
                    await session.send(text_of(frame))
            await asyncio.sleep(POLL_SECONDS)


def text_of(frame: object) -> str:
    """A frame as it is sent: a text as it is, anything else as JSON."""
    return frame if isinstance(frame, str) else json.dumps(frame)


def query_of(path: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(path).query, keep_blank_values=True)


def microseconds() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1_000
