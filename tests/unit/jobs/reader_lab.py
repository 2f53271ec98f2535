"""What the tests of the WebSocket reader share: a reader with its consumer, and the servers that it reads."""

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from jobs.feed_processor import Frame
from jobs.feeds.request import Request
from jobs.websocket_events import Connected, Disconnected, Event, ResumeRejected, TooLarge
from jobs.websocket_reader import Reader
from tests.unit.jobs.hostile_server import HostileServer, Peer, Script

READER = "jobs.websocket_reader"
CONNECTION = "jobs.websocket_connection"


def await_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.005)


def assert_stays(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"did not stay so for {seconds} s: {what}"
        time.sleep(0.005)


class Client:
    """A reader and its consumer. Positions count what was consumed: frames, and frames that were too large.

    first: the position at the start; asked: the server and the position of each address with one that was asked for.
    """

    def __init__(self, urls: Sequence[str], *, first: int = 0, **options: Any) -> None:
        self.events: list[Event] = []
        self.asked: list[tuple[str, int]] = []
        self.position = self._first = first
        quick = {"back_off": (0.01, 0.04), "jitter": lambda: 0.5}
        self.reader = Reader(urls, self.request, **{**quick, **options})

    def request(self, url: str, resume: bool) -> Request:
        return Request(self.address(url, resume))

    def address(self, url: str, resume: bool) -> str:
        if not resume or self.given_up:
            return url
        self.asked.append((url, self.position))
        return f"{url}?since={self.position}"

    @property
    def given_up(self) -> bool:
        """Whether the position was refused, and no frame has come since."""
        return ResumeRejected in self.types and Frame not in self.types[self.types.index(ResumeRejected) :]

    def take(self, most: int = 1_000, most_bytes: int = 2**30) -> None:
        self.events += self.reader.dequeue(most, most_bytes)

    def consume(self, most: int = 1_000, most_bytes: int = 2**30) -> None:
        self.take(most, most_bytes)
        self.position = self._first + sum(isinstance(event, Frame | TooLarge) for event in self.events)
        self.reader.ack()

    def until(self, condition: Callable[[], object], what: str, most: int = 1_000) -> None:
        """Consume until the condition holds, and what came until then; at most so many events at once."""

        def check() -> object:
            self.consume(most)
            return condition()

        await_until(check, 10, what)
        self.consume()

    @property
    def frames(self) -> list[Frame]:
        return [event for event in self.events if isinstance(event, Frame)]

    @property
    def texts(self) -> list[str]:
        return [frame.data.decode() for frame in self.frames]

    @property
    def answers(self) -> list[Event]:
        """What the reader says of the requests and of their frames, without the connections."""
        return [event for event in self.events if not isinstance(event, Connected | Disconnected)]

    @property
    def types(self) -> list[type[Event]]:
        return [type(event) for event in self.answers]

    @property
    def connections(self) -> list[Connected | Disconnected]:
        return [event for event in self.events if isinstance(event, Connected | Disconnected)]


class Lab:
    """Servers and readers that end with the test: servers first, since a reader leaves a frozen server slowly."""

    def __init__(self) -> None:
        self._servers = contextlib.ExitStack()
        self._clients: list[Client] = []

    def serve(self, script: Script) -> HostileServer:
        return self._servers.enter_context(HostileServer(script))

    def read(self, *servers: HostileServer | str, client: type[Client] = Client, **options: Any) -> Client:
        urls = [server if isinstance(server, str) else server.url for server in servers]
        self._clients.append(client(urls, **options))
        self._clients[-1].reader.start()
        return self._clients[-1]

    def close(self) -> None:
        try:
            self._servers.close()
        finally:
            for client in self._clients:
                client.reader.stop()
        assert not [client for client in self._clients if client.reader.alive()]


def fragments(opcode: Opcode, *parts: bytes) -> list[WireFrame]:
    """The frames of one message in parts."""
    opcodes = itertools.chain([opcode], itertools.repeat(Opcode.CONT))
    frames = [WireFrame(code, part, fin=False) for code, part in zip(opcodes, parts, strict=False)]
    frames[-1].fin = True
    return frames


def paths(server: HostileServer) -> list[str]:
    """What was asked for in each request."""
    return [peer.path for peer in server.peers if peer.asked_at]


def gaps(server: HostileServer) -> list[float]:
    """The times between requests in seconds. None can be shorter than the reader's pause."""
    times = [peer.asked_at for peer in server.peers if peer.asked_at]
    return [after - before for before, after in itertools.pairwise(times)]


def flooding(count: int, size: int) -> Script:
    """Sends so many frames of that size, with their numbers."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(count):
            await peer.send(f"{number:{size}}")

    return script


def await_blocked(server: HostileServer) -> None:
    """Wait until the server has sent something, and for a while nothing more."""
    sent, since = 0, 0.0

    def blocked() -> bool:
        nonlocal sent, since
        now = time.monotonic()
        if server.peers and server.peers[0].sent != sent:
            sent, since = server.peers[0].sent, now
        return sent > 0 and now - since > 0.3

    await_until(blocked, 10, "the server is blocked")


async def hanging_up(peer: Peer) -> None:
    await peer.accept()
    peer.hang_up()


def stopped(client: Client) -> float:
    """Stop the reader, and give the seconds that it took."""
    start = time.monotonic()
    client.reader.stop()
    assert not client.reader.alive()
    assert not client.reader.connected
    return time.monotonic() - start
