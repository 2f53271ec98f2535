"""Publishes an endless stream of tweet-like posts on a WebSocket: ``python simulator/twitter_stream_simulator.py``.

``ws://localhost:5555`` sends the text of one post in each text frame, from now on. Query parameters change that:

``format=json``: frames are ``{"seq": n, "timestamp": milliseconds since 1970 UTC, "text": "...", "feed": "ID"}``
``since=N``: replays from post N + 1 as fast as the client reads, then continues live, without gap or repeat
``since=N&feed=ID``: the same, if ID is the simulator's; with N above the newest post it waits until post N + 1 exists
``shard=i/n``: only the posts whose number modulo ``n`` is ``i``

ID identifies the numbering: 8 hexadecimal digits, a hash of epoch, rate and seed. With another one of these, a number
belongs to another post or to another time.

``GET /healthz`` on the same port answers in JSON. Any other request is refused with the reason in plain text: with 410
for another ID, else with 400 or 404. A client that stops reading is not disconnected: the simulator waits for it.

Settings are environment variables; an empty one counts as absent:

``SIMULATOR_HOST``: ``*`` for every address of this host, IPv4 and IPv6
``SIMULATOR_PORT``, ``SIMULATOR_SEED``
``SIMULATOR_RATE``: posts per second
``SIMULATOR_EPOCH``: seconds since 1970 UTC
``SIMULATOR_STOP_AFTER``: number of the last post, 0 for none

Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot listen, 2 for a bad setting.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import parse_qsl

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

if not __package__:  # started as a file: then sys.path has the file's folder, not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulator.listening import addresses
from simulator.posts import PostSchedule, feed_id, post_text

log = logging.getLogger("simulator")

BATCH = 256  # posts per write; at most WRITE_LIMIT and one batch are buffered for a client that does not read
WRITE_LIMIT = 2**16  # bytes
TICK = 0.01  # seconds; at high rates, the posts of one tick are sent together
MAX_SLEEP = 1.0  # seconds; a clock that was set forward is noticed after at most this time
CLOSE_SECONDS = 1.0  # how long clients may take to answer the closing handshake

# Settings that are numbers. name: (type, minimum, maximum)
LIMITS: Mapping[str, tuple[type[int] | type[float], float, float]] = {
    "port": (int, 0, 65535),  # 0: any free port; the log says which
    "rate": (float, 0.01, 100_000),
    "seed": (int, 0, 2**63 - 1),
    "epoch": (float, 0, 4102444800),  # 2100-01-01T00:00:00Z
    "stop_after": (int, 0, 2**63 - 1),
}
encode_json_string = json.JSONEncoder(ensure_ascii=False).encode


class BadRequest(ValueError):  # noqa: N818 - HTTP's own name for it
    """The request is refused; the message is the reason in plain text."""

    status = 400


class NotFound(BadRequest):
    """There is nothing at this path."""

    status = 404


class OtherNumbering(BadRequest):
    """The requested position belongs to another numbering."""

    status = 410


@dataclass(frozen=True)
class Settings:
    """The settings. The module's docstring has the units, ``LIMITS`` the ranges."""

    host: str = "localhost"
    port: int = 5555
    rate: float = 20.0
    seed: int = 1
    epoch: float = 1767225600.0  # 2026-01-01T00:00:00Z; fixed, so that a restarted simulator continues its numbering
    stop_after: int = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the settings. Raises ``ValueError`` naming the setting, its value and what is allowed."""
        values: dict[str, Any] = {"host": environ.get("SIMULATOR_HOST") or cls.host}
        for name, (kind, low, high) in LIMITS.items():
            key = f"SIMULATOR_{name.upper()}"
            if text := environ.get(key):
                with contextlib.suppress(ValueError):
                    values[name] = kind(text)
                if not low <= values.get(name, math.nan) <= high:  # nan is never in between
                    noun = "an integer" if kind is int else "a number"
                    raise ValueError(f"{key} is {text!r}, it must be {noun} from {low} to {high}")
        return cls(**values)

    @property
    def feed(self) -> str:
        """The ID of the numbering."""
        return feed_id(self.epoch, self.rate, self.seed)


@dataclass(frozen=True)
class StreamRequest:
    """What a client requests: the posts after ``since`` with number % ``shards`` == ``shard``."""

    since: int | None = None  # None: from now on
    as_json: bool = False
    shard: int = 0
    shards: int = 1
    feed: str | None = None  # ID of the numbering to which ``since`` belongs; None when the client does not name it


def parse_request(path: str) -> StreamRequest:
    """Parse a request's path and query, such as ``/?since=41&shard=0/2``. Raises ``BadRequest``."""
    path, _, query = path.partition("?")
    if path != "/":
        raise NotFound(f"unknown path {path!r}, there are only / and /healthz")
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    if len(values) < len(pairs):
        raise BadRequest(f"repeated key in {query!r}")
    if unknown := values.keys() - {"feed", "format", "since", "shard"}:
        raise BadRequest(f"unknown key {min(unknown)!r}, there are only feed, format, since and shard")
    if values.get("format", "json") != "json":
        raise BadRequest(f"format={values['format']!r} must be json; for plain text leave it out")
    if not re.fullmatch("[0-9]{1,18}", values.get("since", "0")):
        raise BadRequest(f"since={values['since']!r} must be an integer >= 0 of at most 18 digits")
    if "feed" in values and "since" not in values:
        raise BadRequest("feed is only for since, which is missing")
    shard = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", values.get("shard", "0/1"))
    if not shard or int(shard[1]) >= int(shard[2]):
        raise BadRequest(f"shard={values['shard']!r} must be i/n with 0 <= i < n, such as 0/2")
    since = int(values["since"]) if "since" in values else None
    return StreamRequest(since, "format" in values, int(shard[1]), int(shard[2]), values.get("feed"))


async def send_texts(connection: ServerConnection, texts: Sequence[bytes]) -> None:
    """Send each of ``texts`` (UTF-8) as a text frame, all in one write, and wait while the client is behind.

    Raises ``ConnectionClosed``. This does once per batch what ``connection.send`` does for each frame. Measured with a
    replay of JSON posts on one core: 250,000 frames/s like this, 110,000 with a write for each frame, 75,000 with
    ``send``. ``send_context`` checks the connection's state before and waits for the write buffer after; it is not a
    documented API.
    """
    async with connection.send_context():
        for text in texts:
            connection.protocol.send_text(text)
        connection.transport.write(b"".join(connection.protocol.data_to_send()))


class Simulator:
    """The server, as a context manager: it serves inside ``async with`` and closes all connections (1001) at the end.

    ``clock`` returns seconds since 1970 UTC. Entering raises ``OSError`` when it cannot listen.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._schedule = PostSchedule(settings.epoch, settings.rate)
        self._json_end = f', "feed": "{settings.feed}"}}'  # of each frame
        self._clients: set[ServerConnection] = set()
        self._sent = 0
        self._last_send: float | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve_client,
            cast(str, addresses(self._settings.host)),  # typed as one host, but create_server takes any number
            self._settings.port,
            process_request=self._process_request,
            compression=None,
            close_timeout=CLOSE_SECONDS,
            write_limit=WRITE_LIMIT,
        )
        for listener in self._server.sockets:
            log.info("listening on %s port %d", *listener.getsockname()[:2])
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        closed = asyncio.create_task(self._server.wait_closed())
        # The closing handshake cannot reach a client that does not read: the library would wait for it indefinitely.
        await asyncio.wait([closed], timeout=CLOSE_SECONDS)
        for connection in self._clients:
            connection.transport.abort()
        await asyncio.wait([closed], timeout=CLOSE_SECONDS / 2)

    @property
    def port(self) -> int:
        """The port it listens on, also when the setting is 0."""
        return cast(int, self._server.sockets[0].getsockname()[1])

    def newest(self) -> int:
        """Return the number of the newest post now."""
        newest = self._schedule.newest(self._clock())
        return min(newest, self._settings.stop_after or newest)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer /healthz and refused requests; None lets the WebSocket handshake proceed."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            response = connection.respond(200, json.dumps(self._health()) + "\n")
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        try:
            self._check(parse_request(request.path))
        except BadRequest as error:
            return connection.respond(error.status, f"{error}\n")
        return None

    def _check(self, request: StreamRequest) -> None:
        """Raise ``BadRequest`` when this simulator cannot resume from the requested position."""
        since, feed, newest = request.since, request.feed, self.newest()
        if feed is not None and feed != self._settings.feed:
            why = "its epoch, rate or seed differs"
            raise OtherNumbering(f"feed={feed!r} is not this numbering, {self._settings.feed}: {why}")
        # A position above the newest post. With the right ID, a simulator with a faster clock has served it: wait.
        # Without an ID it may belong to another numbering: the client would wait and miss the posts until then.
        if feed is None and since is not None and since > newest:
            raise BadRequest(f"since={since} is above the newest post, {newest}: the numbering went back")

    def _health(self) -> dict[str, object]:
        age = None if self._last_send is None else round(self._clock() - self._last_send, 3)
        counts = {"newest": self.newest(), "clients": len(self._clients), "sent": self._sent}
        return {"status": "ok", "feed": self._settings.feed, **counts, "last_send_age_seconds": age}

    async def _serve_client(self, connection: ServerConnection) -> None:
        path = cast(Request, connection.request).path
        self._clients.add(connection)
        log.info("client %s opened %s", connection.remote_address, path)
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send_posts(connection, parse_request(path)))
                # What a client sends is ignored, but its pongs and its close are noticed only by reading.
                with contextlib.suppress(ConnectionClosed):
                    async for _ in connection:
                        pass
                sender.cancel()
        finally:
            self._clients.discard(connection)
            log.info("client %s closed with %s", connection.remote_address, connection.close_code)

    async def _send_posts(self, connection: ServerConnection, request: StreamRequest) -> None:
        """Send the requested posts until the connection is closed or the last post is sent."""
        since = self.newest() if request.since is None else request.since
        number = since + 1 + (request.shard - since - 1) % request.shards  # the shard's first number above since
        last = self._settings.stop_after or math.inf
        with contextlib.suppress(ConnectionClosed):
            while number <= last:
                numbers = range(number, self.newest() + 1, request.shards)[:BATCH]
                if numbers:
                    await send_texts(connection, [self._encode(n, request.as_json) for n in numbers])
                    number = numbers[-1] + request.shards
                    self._sent += len(numbers)
                    self._last_send = self._clock()
                if len(numbers) == BATCH:
                    await asyncio.sleep(0)  # there may be more to send; let the other clients have their turn
                else:
                    due = (self._schedule.timestamp_ms(number) + 1) / 1000  # + 1: timestamps are rounded down
                    await asyncio.sleep(min(max(TICK, due - self._clock()), MAX_SLEEP))

    def _encode(self, n: int, as_json: bool) -> bytes:
        text = post_text(self._settings.seed, n)
        if as_json:
            timestamp = self._schedule.timestamp_ms(n)
            text = f'{{"seq": {n}, "timestamp": {timestamp}, "text": {encode_json_string(text)}{self._json_end}'
        return text.encode()


async def serve_until_signal(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``OSError`` when it cannot listen."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    async with Simulator(settings):
        await stop.wait()


def main() -> int:
    """Return the exit status; the module's docstring lists them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("websockets").setLevel(logging.WARNING)  # at INFO it logs every health check
    try:
        settings = Settings.from_environment(os.environ)
    except ValueError as error:
        log.error("%s", error)
        return 2
    try:
        asyncio.run(serve_until_signal(settings))
    except OSError as error:
        log.error("cannot listen on %s:%d: %s", settings.host, settings.port, error.strerror)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
