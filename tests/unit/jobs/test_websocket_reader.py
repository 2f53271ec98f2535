"""The reader with real sockets, and a server in its own thread that violates the protocol."""

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
import threading
import time
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.sync.server import ServerConnection, serve

from jobs.feed_processor import Frame
from jobs.redaction import MAX_LOGGED, redact_text, redact_url
from jobs.websocket_connection import MAX_WAIT, retry_after
from jobs.websocket_reader import OVERHEAD_BYTES, Event, Reader, ResumeRejected, Subscribed, TooLarge
from tests.support.certificates import self_signed
from tests.unit.jobs.hostile_server import (
    HostileServer,
    Peer,
    Script,
    closing,
    frozen,
    in_turn,
    mute,
    quiet,
    refusing,
    sending,
    wire,
)

READER = "jobs.websocket_reader"
CONNECTION = "jobs.websocket_connection"
MEBIBYTE = 1_048_576
SOCKET_READ = 256 * 1024  # the most that asyncio reads at once


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
        self.reader = Reader(urls, self.address, **{**quick, **options})

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
    def types(self) -> list[type[Event]]:
        return [type(event) for event in self.events]


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


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(f"{READER}.PING_SECONDS", 0.02)  # also the time until the end of a connection is noticed
    laboratory = Lab()
    yield laboratory
    laboratory.close()


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


# Frames


def test_frames_arrive_in_order_complete_and_with_their_kind(lab: Lab) -> None:
    lengths = [*range(130), *range(65_530, 65_540), 262_143, 262_144]  # a frame has three forms of its length
    items = [("\u20ac" * (n // 3) + "." * (n % 3), f"{n}".encode().zfill(n))[n % 2] for n in lengths]

    async def script(peer: Peer) -> None:
        await peer.accept(*items[:5])  # in one piece with the handshake
        await peer.send(*items[5:])

    server = lab.serve(script)
    before = int(time.time() * 1000)
    client = lab.read(server)
    client.until(lambda: len(client.frames) >= len(items), "all frames")
    assert client.types == [Subscribed] + [Frame] * len(items)
    assert [(frame.data, frame.is_text) for frame in client.frames] == [
        (item.encode(), True) if isinstance(item, str) else (item, False) for item in items
    ]
    received = [before, *(frame.received for frame in client.frames), int(time.time() * 1000)]
    assert received == sorted(received)
    assert len(server.peers) == 1
    assert "Sec-WebSocket-Extensions" not in server.peers[0].headers  # a compressed frame may be a bomb


def test_fragments_are_put_together(lab: Lab) -> None:
    text = "na\xefve \U0001f602".encode()
    letters = fragments(Opcode.TEXT, *(text[n : n + 1] for n in range(len(text))))
    server = lab.serve(
        sending(
            "before",
            *(frame for letter in letters for frame in (letter, WireFrame(Opcode.PING, b""))),
            "between",
            *fragments(Opcode.BINARY, b"", b"\x00\xff", b"", b"\xfe", b""),
            *fragments(Opcode.TEXT, b"x", b"y"),
            "after",
        )
    )
    client = lab.read(server)
    client.until(lambda: len(client.frames) >= 6, "all frames")
    assert [(frame.data, frame.is_text) for frame in client.frames] == [
        (b"before", True),
        (text, True),
        (b"between", True),
        (b"\x00\xff\xfe", False),
        (b"xy", True),
        (b"after", True),
    ]


def test_a_message_cut_off_by_the_end_of_its_connection_is_dropped(lab: Lab) -> None:
    async def cut_off(peer: Peer) -> None:
        await peer.accept()
        await peer.send("whole", *fragments(Opcode.TEXT, b"cut", b"off", b"?")[:2])
        peer.hang_up()

    server = lab.serve(in_turn(cut_off, sending(*fragments(Opcode.BINARY, b"the ", b"next"))))
    client = lab.read(server)
    client.until(lambda: len(client.frames) >= 2, "the next connection's frame")
    assert [(frame.data, frame.is_text) for frame in client.frames] == [(b"whole", True), (b"the next", False)]


def test_invalid_utf8_is_delivered_and_the_connection_goes_on(lab: Lab) -> None:
    bad = [b"\xff", b"\xed\xa0\x80", b"cut \xf0\x9f"]
    server = lab.serve(
        sending(*(WireFrame(Opcode.TEXT, data) for data in bad), *fragments(Opcode.TEXT, b"\xc3", b"("), "ok")
    )
    client = lab.read(server)
    client.until(lambda: len(client.frames) >= 5, "all frames")
    assert [frame.data for frame in client.frames] == [*bad, b"\xc3(", b"ok"]
    assert all(frame.is_text for frame in client.frames)
    pings = len(server.peers[0].pinged_at)
    await_until(lambda: len(server.peers[0].pinged_at) > pings + 1, 5, "more pings")
    assert len(server.peers) == 1


# Frames that are too large


@pytest.mark.parametrize(
    "large",
    [
        [WireFrame(Opcode.TEXT, b"x" * 1_001)],
        [WireFrame(Opcode.BINARY, b"x" * 300_000)],
        fragments(Opcode.TEXT, b"x" * 500, b"y" * 500, b"z"),
    ],
    ids=["by one byte", "by far", "in fragments"],
)
def test_a_frame_above_the_limit_is_reported_and_the_consumer_says_where_to_go_on(
    lab: Lab, large: list[WireFrame]
) -> None:
    messages: list[Sequence[str | WireFrame]]
    messages = [["first"], ["x" * 1_000], fragments(Opcode.TEXT, b"y" * 500, b"y" * 500), large, ["last"]]

    async def script(peer: Peer) -> None:
        await peer.accept()
        for message in messages[int(peer.path.removeprefix("/?since=")) :]:
            await peer.send(*message)

    server = lab.serve(script)
    client = lab.read(server, max_frame=1_000)

    def take() -> bool:
        client.take()
        return TooLarge in client.types

    await_until(take, 5, "the report")
    assert_stays(lambda: len(client.asked) == 1, 0.2, "not asked again before the consumer moved on")
    client.until(lambda: "last" in client.texts, "the frame after the large one")
    assert client.types == [Subscribed, Frame, Frame, Frame, TooLarge, Subscribed, Frame]
    assert client.events[4] == TooLarge(1_000)
    assert client.asked == [(server.url, 0), (server.url, 4)]
    assert [peer.close_code for peer in server.peers] == [1009, None]


def test_a_frame_above_the_limit_again_and_again_is_no_tight_loop(lab: Lab) -> None:
    server = lab.serve(sending("x" * 11))
    client = lab.read(server, max_frame=10, back_off=(0.05, 0.1))
    client.until(lambda: len(gaps(server)) >= 4, "more attempts")
    assert all(gap >= pause for gap, pause in zip(gaps(server), [0.05, 0.1, 0.1, 0.1], strict=False)), gaps(server)
    assert client.types[:8] == [Subscribed, TooLarge] * 4
    assert client.asked[:5] == [(server.url, position) for position in range(5)]


# The bounded buffer


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


def test_a_full_buffer_blocks_the_server_and_loses_nothing(lab: Lab) -> None:
    capacity, size, count = 500, 4_000, 4_000
    server = lab.serve(flooding(count, size))
    client = lab.read(server, capacity=capacity)
    await_blocked(server)
    assert server.peers[0].sent < count
    client.consume(count)
    assert capacity <= len(client.events) <= capacity + SOCKET_READ // size + 1
    client.until(lambda: len(client.frames) == count, "all frames", most=150)
    assert [int(text) for text in client.texts] == list(range(count))
    assert len(server.peers) == 1


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Gives the bytes that Python has allocated since the test began; the server's few are among them."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def test_large_frames_fill_the_buffer_by_their_bytes(lab: Lab, traced: Callable[[], int]) -> None:
    most, size, count = 8 * MEBIBYTE, 524_288, 80
    one_more = SOCKET_READ + size + OVERHEAD_BYTES  # what the reader is in the middle of when the buffer is full
    server = lab.serve(flooding(count, size))
    client = lab.read(server, max_bytes=most, max_frame=size)
    await_blocked(server)
    sent = server.peers[0].sent
    assert sent < count
    assert traced() < most + one_more + 4 * size, "the server has a frame in the making, and two on their way"
    client.consume(8)  # the request and 7 of 16 frames
    assert_stays(lambda: server.peers[0].sent == sent, 0.3, "more than half full")
    client.consume(2)
    await_until(lambda: server.peers[0].sent > sent, 5, "the socket is read again")
    client.until(lambda: len(client.frames) == count, "all frames", most=3)
    assert [int(text) for text in client.texts] == list(range(count))
    assert len(server.peers) == 1


def test_small_frames_fill_the_buffer_by_the_objects_around_them(lab: Lab, traced: Callable[[], int]) -> None:
    most, count = 8 * MEBIBYTE, 100_000
    flood = b"".join(wire(f"{number:014}") for number in range(count))

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.write(flood)

    before = traced()
    server = lab.serve(script)
    client = lab.read(server, capacity=1_000_000, max_bytes=most)
    await_until(lambda: traced() - before > most // 2, 10, "the buffer to be filled")
    assert_stays(lambda: traced() - before < 2 * most, 1, "bounded, with the frames of one read of the socket")
    client.reader.stop()
    held = traced()
    frames = len(client.reader.dequeue(count, 2**30)) - 1  # the first one is the request
    counted = frames * (14 + OVERHEAD_BYTES)
    assert most < counted < 2 * most
    assert counted * 0.8 < held - traced() < counted


def test_the_parts_of_an_unfinished_message_count_too(lab: Lab) -> None:
    whole, *parts = ["x" * 700_000, *fragments(Opcode.TEXT, *[b"y" * 1_000] * 300)]
    finish = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(whole, *parts[:-1])
        await finish.wait()
        await peer.send(parts[-1])

    server = lab.serve(script)
    client = lab.read(server, max_bytes=MEBIBYTE, max_frame=700_000)
    await_until(lambda: server.peers and server.peers[0].sent == len(parts), 5, "all but the last part")
    await_until(lambda: is_still(client), 5, "the socket is not read")
    client.consume()
    assert client.texts == [whole]
    await_until(lambda: not is_still(client), 5, "the socket is read again")
    server.call(finish.set)
    client.until(lambda: len(client.frames) == 2, "the message")
    assert client.texts[1] == "y" * 300_000


def is_still(client: Client, seconds: float = 0.3) -> bool:
    """Whether no answer to a ping comes for so long: the reader pings all the time, and does not read."""
    before, end = client.reader.caught_up_at, time.monotonic() + seconds
    while client.reader.caught_up_at == before and time.monotonic() < end:
        time.sleep(0.01)
    return client.reader.caught_up_at == before


def test_a_message_whose_parts_fill_the_buffer_alone_is_read_to_its_end(lab: Lab) -> None:
    server = lab.serve(sending(*fragments(Opcode.TEXT, *[b"x" * 1_000] * 260), "last"))
    client = lab.read(server, max_bytes=20_000)
    client.until(lambda: len(client.frames) == 2, "both messages")
    assert client.texts == ["x" * 260_000, "last"]


def test_frames_are_handed_over_up_to_a_number_and_about_a_number_of_bytes(lab: Lab) -> None:
    server = lab.serve(sending(*["x" * 100_000] * 10))
    client = lab.read(server)
    await_until(lambda: server.peers and server.peers[0].sent == 10 and not is_still(client), 5, "all frames")
    taken = [
        len(client.reader.dequeue(*limits)) for limits in ((1, 2**30), (2, 2**30), (10, 250_000), (10, 1), (10, 2**30))
    ]
    assert taken == [1, 2, 3, 1, 4]  # the request, and ten frames
    assert client.reader.dequeue(10, 2**30) == []


def test_a_server_that_ends_while_the_buffer_is_full_is_read_to_its_last_frame(lab: Lab) -> None:
    count = 200

    async def script(peer: Peer) -> None:
        await flooding(count, 1_000)(peer)
        await peer.close(1001)

    server = lab.serve(in_turn(script, quiet))
    client = lab.read(server, capacity=10)
    await_until(lambda: server.peers and server.peers[0].sent == count, 5, "all is sent")
    client.until(lambda: len(server.peers) == 2, "the next connection")
    assert [int(text) for text in client.texts] == list(range(count))
    assert client.asked == [(server.url, 0), (server.url, count)]


def test_a_server_is_not_given_up_while_it_is_the_reader_that_does_not_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.2)
    server = lab.serve(flooding(1_000, 1_000))
    client = lab.read(server, capacity=10)
    await_until(lambda: server.peers and server.peers[0].sent, 5, "frames are sent")
    assert_stays(lambda: len(server.peers) == 1 and not server.peers[0].ended_at, 0.6, "one connection")
    monkeypatch.setattr(
        f"{READER}.PONG_TIMEOUT_SECONDS", 15.0
    )  # a wait that began before must not end while frames flow
    assert_stays(lambda: len(server.peers) == 1 and not server.peers[0].ended_at, 0.3, "one connection")
    client.until(lambda: len(client.frames) == 1_000, "all frames")
    assert len(server.peers) == 1


# The position


def test_an_address_is_asked_for_only_when_everything_is_in_effect(lab: Lab) -> None:
    server = lab.serve(in_turn(closing(1001, "a", "b"), quiet))
    client = lab.read(server)
    await_until(lambda: client.reader.connects, 5, "the end of the connection")
    assert_stays(lambda: len(client.asked) == 1, 0.15, "nothing is taken")
    client.take(1)
    client.reader.ack()
    assert_stays(lambda: len(client.asked) == 1, 0.15, "one event of three is in effect")
    assert client.reader.has_unacked()
    client.take()
    assert client.types == [Subscribed, Frame, Frame]
    assert_stays(lambda: len(client.asked) == 1, 0.15, "all is taken, but not all is in effect")
    assert client.reader.has_unacked()
    client.position = 2
    client.reader.ack()
    await_until(lambda: len(client.asked) == 2, 5, "the next address")
    assert client.asked == [(server.url, 0), (server.url, 2)]
    client.until(lambda: client.reader.connected, "the next connection")
    assert server.peers[1].path == "/?since=2"
    assert client.types == [Subscribed, Frame, Frame, Subscribed]
    assert not client.reader.has_unacked()


# Attempts


async def closing_soon(peer: Peer) -> None:
    await peer.accept()
    await asyncio.sleep(0.06)
    await peer.close(1001)


@pytest.mark.parametrize(
    ("script", "largest", "jitter"),
    [(refusing(503), 0.4, 0.0), (closing_soon, 0.2, 0.999)],
    ids=["refused", "closed soon"],
)
def test_pauses_double_up_to_the_largest_with_jitter(lab: Lab, script: Script, largest: float, jitter: float) -> None:
    server = lab.serve(script)
    client = lab.read(server, back_off=(0.05, largest), jitter=lambda: jitter)
    client.until(lambda: len(gaps(server)) >= 5, "six attempts")
    factor = 0.5 + jitter
    pauses = [min(0.05 * 2**n, largest) * factor for n in range(5)]
    assert all(gap >= pause for gap, pause in zip(gaps(server), pauses, strict=False)), gaps(server)
    # A busy machine only makes gaps longer, so the shortest says the most.
    assert gaps(server)[0] < largest * factor, gaps(server)
    assert min(gaps(server)[3:5]) < 2 * largest * factor, gaps(server)


def test_each_pause_has_a_jitter_of_its_own(lab: Lab) -> None:
    server = lab.serve(refusing(503))
    jitter = itertools.cycle([0.0, 0.999])
    client = lab.read(server, back_off=(0.1, 0.1), jitter=lambda: next(jitter))
    client.until(lambda: len(gaps(server)) >= 4, "five attempts")
    short, long = gaps(server)[0:4:2], gaps(server)[1:4:2]
    assert 0.05 <= min(short) < 0.149 < min(long), gaps(server)


def test_pauses_are_short_again_after_a_connection_that_held(lab: Lab) -> None:
    async def holding(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(0.4)
        await peer.close(1001)

    server = lab.serve(in_turn(*[refusing(503)] * 3, holding, quiet))
    client = lab.read(server, back_off=(0.05, 0.3), jitter=lambda: 0.999)
    client.until(lambda: len(gaps(server)) == 4, "the connection after the one that held")
    ended_at = server.peers[3].ended_at
    assert ended_at is not None
    assert server.peers[4].asked_at - ended_at < 0.4  # 0.45 s would be next


def test_servers_are_asked_in_turn(lab: Lab) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        down = f"ws://127.0.0.1:{bound.getsockname()[1]}/"
        failing, good = lab.serve(refusing(503)), lab.serve(in_turn(closing(1001, "a"), sending("b")))
        client = lab.read(down, failing, good)
        client.until(lambda: client.texts == ["a", "b"] and client.reader.connected, "both connections to the good one")
        servers = [down, failing.url, good.url]
        assert client.asked == [*((url, 0) for url in servers), *((url, 1) for url in servers)]
        assert client.reader.connects == 5


def test_a_server_that_never_answers_the_request_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.OPEN_SECONDS", 0.3)
    black_hole, good = lab.serve(mute), lab.serve(sending("a"))
    client = lab.read(black_hole, good)
    client.until(lambda: client.texts == ["a"], "the other server")
    assert good.peers[0].asked_at - black_hole.peers[0].asked_at > 0.25
    assert client.types == [Subscribed, Subscribed, Frame]


async def hanging_up(peer: Peer) -> None:
    await peer.accept()
    peer.hang_up()


async def aborting(peer: Peer) -> None:
    await peer.accept()
    peer.abort()


async def talking_nonsense(peer: Peer) -> None:
    await peer.accept()
    peer.write(b"\x83\x00 no such opcode")


async def masking(peer: Peer) -> None:
    await peer.accept()
    peer.write(WireFrame(Opcode.TEXT, b"a").serialize(mask=True))


async def going_on_without_a_start(peer: Peer) -> None:
    await peer.accept()
    await peer.send(WireFrame(Opcode.CONT, b"a"))


async def not_speaking_http(peer: Peer) -> None:
    peer.write(b"220 smtp.example ESMTP\r\n\r\n")


async def hanging_up_on_the_request(peer: Peer) -> None:
    peer.hang_up()


async def accepting_somebody_else(peer: Peer) -> None:
    peer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(closing(1000), id="1000"),
        pytest.param(closing(1001), id="1001"),
        pytest.param(closing(1011), id="1011"),
        hanging_up,
        aborting,
        talking_nonsense,
        masking,
        going_on_without_a_start,
        not_speaking_http,
        hanging_up_on_the_request,
        accepting_somebody_else,
        pytest.param(refusing(404), id="404"),
    ],
)
def test_whatever_ends_a_connection_the_next_one_comes(
    lab: Lab, caplog: pytest.LogCaptureFixture, ending: Script
) -> None:
    server = lab.serve(in_turn(ending, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"] and client.reader.connected, "the next connection and its frame")
    assert client.types == [Subscribed, Subscribed, Frame]
    assert client.reader.connects == 1
    assert [record.levelname for record in caplog.records if record.name == READER] == ["WARNING"]


def test_it_is_not_connected_between_connections(lab: Lab) -> None:
    server = lab.serve(closing(1001))
    client = lab.read(server, back_off=(60, 60))
    client.until(lambda: client.reader.connects == 1, "the end of the connection")
    assert not client.reader.connected
    assert client.reader.alive()


# Refusals


LIVE = "/"
RESUMED = "/?since=100"


def serving(last: int) -> Script:
    """Sends the numbers after `since` up to the last one, or without `since` the last one."""

    async def script(peer: Peer) -> None:
        since = int(peer.path.partition("since=")[2] or last - 1)
        await peer.accept(*(str(number) for number in range(since + 1, last + 1)))

    return script


def depending(with_position: Script, without: Script) -> Script:
    """Runs the one for requests with a position, the other for those without."""

    async def script(peer: Peer) -> None:
        await (with_position if "since=" in peer.path else without)(peer)

    return script


@pytest.mark.parametrize("status", [400, 410, 416])
@pytest.mark.parametrize("refusals", range(1, 7))
def test_a_gateway_that_refuses_whatever_it_is_asked_costs_no_position(lab: Lab, status: int, refusals: int) -> None:
    server = lab.serve(in_turn(*[refusing(status)] * refusals, serving(110)))
    client = lab.read(server, first=100)
    client.until(lambda: len(client.frames) == 10, "all after the position")
    assert client.texts == [str(number) for number in range(101, 111)]
    assert ResumeRejected not in client.types
    assert {event for event in client.events if isinstance(event, Subscribed)} == {Subscribed(resumed=True)}
    assert paths(server)[: refusals + 1] == ([RESUMED, LIVE] * 4)[: refusals + 1]
    assert paths(server)[-1] == RESUMED


@pytest.mark.parametrize("status", [400, 410, 416])
def test_a_position_that_alone_is_refused_is_reported_once_then_it_goes_on_live(
    lab: Lab, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    server = lab.serve(depending(refusing(status), serving(200)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["200"], "the live frame")
    assert client.events[:-1] == [
        Subscribed(resumed=True),
        Subscribed(resumed=True),
        ResumeRejected(),
        Subscribed(resumed=False),
    ]
    assert paths(server) == [RESUMED, LIVE, RESUMED, LIVE]
    assert_stays(lambda: client.reader.connected and len(server.peers) == 4, 0.2, "live")
    assert f"refused with HTTP {status} no; the next attempt" in caplog.text


def test_a_position_behind_the_one_that_was_given_up_is_asked_for(lab: Lab) -> None:
    server = lab.serve(in_turn(refusing(410), quiet, refusing(410), closing(1001, "a"), serving(103)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["a", "102", "103"], "the frames of both connections")
    assert client.types.count(ResumeRejected) == 1
    assert paths(server) == [RESUMED, LIVE, RESUMED, LIVE, "/?since=101"]


def test_the_live_request_comes_when_the_refusal_is_in_effect(lab: Lab) -> None:
    server = lab.serve(depending(refusing(410), quiet))
    client = lab.read(server, first=100)

    def refused() -> bool:
        client.take()
        if ResumeRejected not in client.types:
            client.reader.ack()
        return ResumeRejected in client.types

    await_until(refused, 5, "the refusal")
    assert_stays(lambda: len(server.peers) == 3, 0.2, "no request before it is in effect")
    client.until(lambda: client.reader.connected, "the live connection")
    assert client.events[-1] == Subscribed(resumed=False)


@pytest.mark.parametrize("script", [refusing(400), refusing(410), refusing(416)])
def test_a_request_without_a_position_has_none_to_be_refused(lab: Lab, script: Script) -> None:
    class Live(Client):
        def address(self, url: str, resume: bool) -> str:  # noqa: ARG002
            return url

    server = lab.serve(in_turn(*[script] * 5, sending("a")))
    client = lab.read(server, client=Live)
    client.until(lambda: client.texts == ["a"], "the connection")
    assert client.events[:-1] == [Subscribed(resumed=False)] * 6


@pytest.mark.parametrize(
    "other", [refusing(503), refusing(403), closing(1001), hanging_up, not_speaking_http, hanging_up_on_the_request]
)
def test_another_outcome_of_the_second_request_starts_the_check_over(lab: Lab, other: Script) -> None:
    check = [refusing(400), quiet]
    server = lab.serve(in_turn(*check, other, *check, other, *check, refusing(400), sending("a")))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["a"], "the live frame")
    assert client.events[:-1] == [Subscribed(resumed=True)] * 6 + [ResumeRejected(), Subscribed(resumed=False)]
    assert paths(server) == [RESUMED, LIVE, RESUMED] * 3 + [LIVE]


@pytest.mark.parametrize("other", [refusing(503), refusing(403), hanging_up_on_the_request, not_speaking_http])
def test_a_request_without_the_position_that_is_not_served_starts_the_check_over(lab: Lab, other: Script) -> None:
    server = lab.serve(in_turn(*[refusing(400), other] * 3, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert client.types == [Subscribed] * 4 + [Frame]
    assert paths(server) == [RESUMED, LIVE] * 3 + [RESUMED]


@pytest.mark.parametrize(
    "script", [refusing(503), refusing(429), refusing(403), not_speaking_http], ids=["503", "429", "403", "not HTTP"]
)
def test_other_answers_are_no_refusal_of_the_position(lab: Lab, script: Script) -> None:
    server = lab.serve(in_turn(*[script] * 4, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert client.events[:-1] == [Subscribed(resumed=True)] * 5
    assert paths(server) == [RESUMED] * 5


def test_the_check_is_about_one_server(lab: Lab) -> None:
    failing, good = lab.serve(refusing(400)), lab.serve(serving(101))
    client = lab.read(failing, good, first=100)
    client.until(lambda: client.texts == ["101"], "the other server")
    assert (paths(failing), paths(good)) == ([RESUMED, LIVE], [RESUMED])

    refusing_position = lab.serve(depending(refusing(410), serving(200)))
    client = lab.read(refusing_position, good, first=100)
    client.until(lambda: client.texts == ["200"], "the live connection to the first server")
    assert paths(refusing_position) == [RESUMED, LIVE, RESUMED, LIVE]
    assert paths(good) == [RESUMED]


def test_the_request_that_checks_a_refusal_takes_no_frames_and_is_ended_properly(lab: Lab) -> None:
    connected = []

    async def talking(peer: Peer) -> None:
        await peer.accept(*["live"] * 100)
        while True:  # until the client closes
            await peer.send("live")
            connected.append(client.reader.connected)
            await asyncio.sleep(0.001)

    server = lab.serve(in_turn(refusing(400), talking, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert client.types == [Subscribed, Subscribed, Frame]
    assert connected
    assert not any(connected)
    assert server.peers[1].close_code == 1000
    assert server.peers[2].asked_at - server.peers[1].asked_at < 2


# Servers that ask to wait


@pytest.mark.parametrize("status", [429, 503, 400])
def test_retry_after_is_waited_for_and_logged(lab: Lab, caplog: pytest.LogCaptureFixture, status: int) -> None:
    server = lab.serve(in_turn(refusing(status, Retry_After="1"), serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert 1 <= gaps(server)[0] < 5, gaps(server)
    assert f"refused with HTTP {status}, Retry-After 1 s, no; the next attempt comes in " in caplog.text


def test_retry_after_may_be_a_date(lab: Lab) -> None:
    now = 1_790_000_000.0
    server = lab.serve(in_turn(refusing(503, Retry_After=formatdate(now + 1, usegmt=True)), serving(101)))
    client = lab.read(server, first=100, clock=lambda: now)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert 1 <= gaps(server)[0] < 5, gaps(server)
    assert client.frames[0].received == now * 1000


def test_retry_after_is_waited_for_up_to_a_limit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CONNECTION}.MAX_WAIT", 0.5)
    date = formatdate(time.time() + 86_400, usegmt=True)
    busy = [refusing(503, Retry_After="86400"), refusing(503, Retry_After=date)]
    server = lab.serve(in_turn(*busy, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert min(gaps(server)) >= 0.5, gaps(server)


def test_stop_while_a_server_is_left_alone(lab: Lab) -> None:
    server = lab.serve(refusing(503, Retry_After="300"))
    client = lab.read(server)
    client.until(lambda: client.reader.connects == 1, "the answer")
    assert_stays(lambda: len(server.peers) == 1, 0.2, "one request")
    assert stopped(client) < 2


def test_a_pause_is_at_least_the_readers_own(lab: Lab) -> None:
    server = lab.serve(in_turn(*[refusing(503, Retry_After="0")] * 2, serving(101)))
    client = lab.read(server, first=100, back_off=(0.2, 0.2))
    client.until(lambda: client.texts == ["101"], "the connection")
    assert min(gaps(server)) >= 0.2, gaps(server)


@pytest.mark.parametrize("status", [400, 410, 416])
def test_a_refusal_that_asks_to_wait_is_no_refusal_of_the_position(lab: Lab, status: int) -> None:
    busy = depending(refusing(status, Retry_After="0"), quiet)
    server = lab.serve(in_turn(*[busy] * 5, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert client.events[:-1] == [Subscribed(resumed=True)] * 6
    assert paths(server) == [RESUMED] * 6


def test_the_other_servers_are_asked_while_one_is_left_alone(lab: Lab) -> None:
    busy = lab.serve(refusing(503, Retry_After="300"))
    good = lab.serve(in_turn(closing(1001, "a"), closing(1001, "b"), sending("c")))
    client = lab.read(busy, good)
    client.until(lambda: client.texts == ["a", "b", "c"], "the good server")
    assert len(busy.peers) == 1


def test_of_servers_that_are_all_busy_the_first_that_may_be_asked_is_asked(lab: Lab) -> None:
    busy = lab.serve(refusing(503, Retry_After="300"))
    other = lab.serve(in_turn(refusing(503, Retry_After="1"), sending("a")))
    client = lab.read(busy, other)
    client.until(lambda: client.texts == ["a"], "the server that is free first")
    assert gaps(other)[0] >= 1
    assert len(busy.peers) == 1


NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("300", 300),
        ("301", MAX_WAIT),
        ("9" * 5_000, MAX_WAIT),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW + 86_400, usegmt=True), MAX_WAIT),
        (formatdate(NOW - 90, usegmt=True), 0),
        (time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(NOW + 90)), 90),  # two older forms, RFC 9110 5.6.7
        (time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(NOW + 90)), 90),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Mon, 99 Nov 2026 08:00:00 GMT", None),
        ("Tue, 24 Nov 99999999999 08:00:00 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(Headers({"Retry-After": text}), NOW) == seconds


def test_retry_after_that_is_absent_or_doubled() -> None:
    assert retry_after(Headers(), NOW) is None
    assert retry_after(Headers([("Retry-After", "soon"), ("retry-after", "7")]), NOW) == 7


# Servers that answer pings and send nothing


async def pinging(peer: Peer) -> None:
    """Send pings and no data."""
    await peer.accept()
    while True:
        await peer.send(WireFrame(Opcode.PING, b""))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("silent", [quiet, pinging])
def test_a_server_that_is_silent_for_too_long_is_left(
    lab: Lab, caplog: pytest.LogCaptureFixture, silent: Script
) -> None:
    first, second = lab.serve(in_turn(sending("a", "b"), silent)), lab.serve(in_turn(silent, silent, sending("c")))
    client = lab.read(first, second, max_silence=0.3)
    client.until(lambda: client.texts == ["a", "b", "c"], "the next server's frame")
    assert client.asked[:2] == [(first.url, 0), (second.url, 2)]
    assert {peer.close_code for peer in (first.peers[0], second.peers[0])} == {1000}
    assert second.peers[0].asked_at - first.peers[0].asked_at >= 0.3
    assert client.reader.connects >= 4
    assert client.reader.silences - client.reader.connects in {0, 1}  # counted a moment earlier
    assert "no frame for 0.3 s although it answers pings; the next attempt" in caplog.text


def test_without_a_limit_a_silent_server_is_kept(lab: Lab) -> None:
    server, other = lab.serve(sending("a")), lab.serve(quiet)
    client = lab.read(server, other)
    client.until(lambda: client.texts == ["a"], "the frame")
    assert_stays(lambda: client.reader.connected and not other.peers, 0.6, "the connection")
    assert client.reader.silences == 0


def test_a_server_that_sends_now_and_then_is_kept(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(10):
            await peer.send(str(number))
            await asyncio.sleep(0.1)

    server = lab.serve(script)
    client = lab.read(server, max_silence=0.5)
    client.until(lambda: len(client.frames) == 10, "all frames")
    assert client.reader.silences == 0
    assert len(server.peers) == 1


def test_a_message_that_comes_in_parts_is_no_silence(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        for part in fragments(Opcode.TEXT, *[b"x"] * 10):
            await peer.send(part)
            await asyncio.sleep(0.1)

    server = lab.serve(script)
    client = lab.read(server, max_silence=0.5)
    client.until(lambda: client.texts == ["x" * 10], "the message")
    assert client.reader.silences == 0
    assert len(server.peers) == 1


def test_no_silence_is_counted_while_the_buffer_is_full(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(*["x"] * 12)  # in one piece, so that nothing is left to be read later

    server = lab.serve(script)
    client = lab.read(server, capacity=10, max_silence=0.5)
    await_until(lambda: client.reader.connected, 5, "the connection")
    assert_stays(lambda: client.reader.connected and not client.reader.silences, 1.2, "one connection")
    emptied_at = time.monotonic()
    client.until(lambda: client.reader.silences, "silence since then")
    await_until(lambda: server.peers[0].ended_at, 5, "the end of the connection")
    assert server.peers[0].ended_at is not None
    assert server.peers[0].ended_at - emptied_at >= 0.5
    assert len(client.frames) >= 12


# Servers that are frozen, and servers that are quiet


def freezing(pings: int) -> tuple[Script, list[float]]:
    """A server that freezes after so many pings, and the times at which it did."""
    times: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        while len(peer.pinged_at) < pings:
            await asyncio.sleep(0.001)
        times.append(time.monotonic())
        await peer.freeze()

    return script, times


def test_a_frozen_server_is_given_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.5)
    script, frozen_at = freezing(pings=3)
    server = lab.serve(in_turn(script, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the next connection")
    assert 0.3 < server.peers[1].asked_at - frozen_at[0] < 3
    assert "no answer to a ping within 0.5 s" in caplog.text
    assert client.types == [Subscribed, Subscribed, Frame]


def test_a_frozen_server_is_not_known_to_be_alive(lab: Lab) -> None:
    script, frozen_at = freezing(pings=3)
    client = lab.read(lab.serve(script))
    client.until(lambda: frozen_at, "the server is frozen")
    assert_stays(lambda: client.reader.caught_up_at <= frozen_at[0], 0.4, "time stands still")
    assert frozen_at[0] - client.reader.caught_up_at < 1
    assert client.reader.connected


def test_a_quiet_server_is_known_to_be_alive(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.7)

    async def script(peer: Peer) -> None:
        peer.before_pong = slow
        await peer.accept()

    async def slow() -> None:
        await asyncio.sleep(0.1)

    server = lab.serve(script)
    client = lab.read(server)
    client.until(lambda: client.reader.connected, "the connection")
    start = time.monotonic()
    await_until(lambda: client.reader.caught_up_at > start + 0.9, 5, "later than a pong may take it is alive")
    assert client.reader.caught_up_at <= time.monotonic() < start + 3
    assert len(server.peers) == 1
    assert client.types == [Subscribed]


def test_alive_until_vouches_for_the_frames_before_it_only(lab: Lab) -> None:
    """All that the server sent before that time is in the buffer: it sends a frame between each ping and its pong."""

    async def script(peer: Peer) -> None:
        async def frame() -> None:
            await asyncio.sleep(0.05)
            await peer.send(str(len(peer.pinged_at)))

        peer.before_pong = frame
        await peer.accept()

    server = lab.serve(script)
    client = lab.read(server)
    client.until(lambda: client.reader.connected, "the connection")
    seen = client.reader.caught_up_at
    for _ in range(5):
        await_until(lambda after=seen: client.reader.caught_up_at > after, 5, "a pong")  # type: ignore[misc]
        seen = client.reader.caught_up_at
        client.consume()
        # The ping that was sent at that time is the first one that the server had after it.
        answered = next((n for n, at in enumerate(server.peers[0].pinged_at, start=1) if at >= seen), None)
        assert str(answered) in client.texts


# The end


def stopped(client: Client) -> float:
    """Stop the reader, and give the seconds that it took."""
    start = time.monotonic()
    client.reader.stop()
    assert not client.reader.alive()
    assert not client.reader.connected
    return time.monotonic() - start


def test_stop_closes_the_connection_properly(lab: Lab) -> None:
    server = lab.serve(sending("a"))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the frame")
    assert stopped(client) < 2
    await_until(lambda: server.peers[0].ended_at, 2, "the end of the connection")
    assert server.peers[0].close_code == 1000
    client.consume()
    assert stopped(client) < 0.1  # again does no harm
    assert_stays(lambda: len(server.peers) == 1, 0.15, "no other attempt")


def test_stop_in_a_flood_closes_the_connection_properly(lab: Lab) -> None:
    server = lab.serve(flooding(1_000_000, 1_000))
    client = lab.read(server, capacity=1_000_000)  # nobody takes while `stop` waits
    client.until(lambda: len(client.frames) > 1_000, "frames")
    assert stopped(client) < 4
    await_until(lambda: server.peers[0].ended_at, 2, "the end of the connection")
    assert server.peers[0].close_code == 1000


def test_stop_while_the_buffer_is_full_closes_the_connection_properly(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{READER}.PING_SECONDS", 60.0)  # after the first one no ping is on its way

    async def script(peer: Peer) -> None:
        await peer.accept()
        while not peer.pinged_at:
            await asyncio.sleep(0.001)
        await peer.send(*["x" * 1_000] * 10_000)

    server = lab.serve(script)
    client = lab.read(server, capacity=10)
    await_blocked(server)
    assert server.peers[0].sent < 10_000
    assert stopped(client) < 4
    await_until(lambda: server.peers[0].ended_at, 2, "the end of the connection")
    assert server.peers[0].close_code == 1000


def test_stop_in_a_pause_between_attempts(lab: Lab) -> None:
    server = lab.serve(refusing(503))
    client = lab.read(server, back_off=(60, 60))
    client.until(lambda: client.reader.connects == 1, "the first failure")
    assert stopped(client) < 2
    assert len(server.peers) == 1


def test_stop_while_something_is_not_yet_in_effect(lab: Lab) -> None:
    server = lab.serve(closing(1001, "a"))
    client = lab.read(server)
    await_until(lambda: client.reader.connects == 1, 5, "the end of the connection")
    assert_stays(client.reader.alive, 0.1, "waiting for the consumer")
    assert stopped(client) < 2
    client.take()
    assert client.types == [Subscribed, Frame]
    assert len(client.asked) == 1


class Failing(Client):
    """Raises when it is called for its second URL."""

    def address(self, url: str, resume: bool) -> str:
        if self.asked:
            raise LookupError("no position")
        return super().address(url, resume)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_says_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    server = lab.serve(closing(1001, "a"))
    client = lab.read(server, client=Failing)
    assert client.reader.alive()
    await_until(lambda: client.reader.connects == 1, 5, "the end of the connection")
    client.consume()
    await_until(lambda: not client.reader.alive(), 5, "the end of the thread")
    client.take()
    assert client.types == [Subscribed, Frame]
    assert not client.reader.connected
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert (record.name, record.getMessage()) == (READER, "the WebSocket reader died")
    assert "LookupError: no position" in caplog.text


def test_nothing_is_left_of_a_reader(lab: Lab) -> None:
    server = lab.serve(in_turn(closing(1001), hanging_up, refusing(400), quiet))
    client = lab.read(server)
    client.until(lambda: client.reader.connected and len(server.peers) == 5, "the last connection")
    stopped(client)
    await_until(lambda: all(peer.ended_at for peer in server.peers), 2, "the end of all connections")
    assert not [thread for thread in threading.enumerate() if thread.name == "websocket-reader"]


# What is logged


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://localhost:5555", "ws://localhost:5555"),
        (
            "wss://feed.example/v1/ws?format=json&since=7&feed=a1",
            "wss://feed.example/v1/ws?format=json&since=7&feed=a1",
        ),
        ("wss://me:hunter2@feed.example:8443/ws?since=7", "wss://feed.example:8443/ws?since=7"),
        ("wss://hunter2@feed.example/ws", "wss://feed.example/ws"),
        ("wss://feed.example/ws?since=7&token=hunter2", "wss://feed.example/ws?since=7"),
        ("wss://feed.example/ws?Access_Token=hunter2", "wss://feed.example/ws"),
        ("wss://feed.example/ws?hunter2", "wss://feed.example/ws"),
        ("wss://me:hunter2@feed.example/ws#hunter2", "wss://feed.example/ws"),
        ("wss://feed.example/v1/hunter2/ws", "wss://feed.example/v1/***/ws"),
        ("wss://feed.example/subscribe;key=hunter2", "wss://feed.example/***"),
        ("wss://[feed.example/hunter2", "***"),
    ],
)
def test_secrets_are_left_out_of_addresses(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_secrets_are_left_out_of_the_log(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=READER)
    server = lab.serve(in_turn(refusing(503), closing(1001), frozen))
    url = server.url.replace("ws://", "ws://me:hunter2@") + "?token=hunter3"

    class WithToken(Client):
        def address(self, url: str, resume: bool) -> str:  # noqa: ARG002
            return url

    client = lab.read(url, client=WithToken)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == READER]

    client.until(lambda: len(lines()) == 4 and len(server.peers) == 3, "the last connection")
    assert server.peers[0].path == "/?token=hunter3"
    assert server.peers[0].headers["Authorization"].startswith("Basic ")
    assert all(line.startswith(f"feed {server.url}: ") for line in lines())
    assert "hunter" not in caplog.text


@pytest.mark.parametrize("script", [mute, frozen, flooding(1_000_000, 1_000)], ids=["black hole", "frozen", "paused"])
def test_stop_does_not_wait_for_the_server(lab: Lab, script: Script) -> None:
    server = lab.serve(script)
    client = lab.read(server, capacity=10)
    await_until(lambda: server.peers and server.peers[0].asked_at, 5, "the request")
    assert_stays(client.reader.alive, 0.3, "a ping, or the handshake, is on its way")
    assert stopped(client) < 4
    assert script is mute or script is frozen or server.peers[0].close_code == 1000


def test_a_message_of_very_many_fragments_costs_neither_time_nor_memory_without_bound(lab: Lab) -> None:
    count = 100_000

    async def script(peer: Peer) -> None:
        await peer.accept()
        parts = fragments(Opcode.TEXT, *[b"x"] * count)
        peer.write(b"".join(part.serialize(mask=False) for part in parts))

    server = lab.serve(in_turn(script, sending("next")))
    client = lab.read(server)
    client.until(lambda: client.frames or TooLarge in client.types, "the message, or that it is refused")  # 10 s


def test_attempts_that_time_out_are_no_connections_that_held(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.OPEN_SECONDS", 0.25)
    server = lab.serve(mute)
    client = lab.read(server, back_off=(0.02, 0.2))
    client.until(lambda: len(gaps(server)) >= 5, "six attempts")
    assert gaps(server)[4] >= 0.24 + 0.2, gaps(server)


def test_a_server_that_closes_with_1009_sent_no_frame_that_is_too_large(lab: Lab) -> None:
    client = lab.read(lab.serve(in_turn(closing(1009, "a"), sending("b"))))
    client.until(lambda: client.texts == ["a", "b"], "both frames")
    assert client.types == [Subscribed, Frame, Subscribed, Frame]


def test_a_frame_above_the_limit_is_reported_even_if_the_server_does_not_end_the_connection(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.5)

    async def script(peer: Peer) -> None:
        peer.answers = False
        await peer.accept()
        while not peer.pinged_at:
            await asyncio.sleep(0.001)
        while True:  # a frame without an end
            peer.write(b"\x81\x7f" + (1 << 60).to_bytes(8, "big"))
            await asyncio.sleep(0.05)

    client = lab.read(lab.serve(script))
    client.until(lambda: len(client.asked) == 2, "the next attempt")
    assert client.types[:2] == [Subscribed, TooLarge]


def test_a_server_whose_frames_keep_coming_is_not_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.3)

    async def script(peer: Peer) -> None:
        async def backlog() -> None:  # that was on its way before the ping came
            for number in range(20):
                await peer.send(str(number))
                await asyncio.sleep(0.05)

        peer.before_pong = backlog
        await peer.accept()

    server = lab.serve(script)
    client = lab.read(server)
    client.until(lambda: len(client.frames) >= 20, "frames")
    assert len(server.peers) == 1


def test_a_connection_survives_a_buffer_that_is_full_for_long(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.001)  # 15 s a wait: 1,500 of them are six hours
    server = lab.serve(flooding(1_000, 1_000))
    client = lab.read(server, capacity=10)
    await_blocked(server)
    assert_stays(lambda: len(server.peers) == 1, 3, "one connection")
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 15.0)
    assert_stays(lambda: len(server.peers) == 1, 0.1, "one connection")
    client.until(lambda: len(client.frames) == 1_000, "all frames")
    assert_stays(lambda: client.reader.connected, 0.3, "the connection, with the pong behind the frames")


def test_a_server_that_has_not_yet_answered_a_ping_is_not_known_to_be_alive(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(0.3)
        await frozen(peer)

    client = lab.read(lab.serve(script))
    before = client.reader.caught_up_at
    client.until(lambda: client.reader.connected, "the connection")
    assert client.reader.caught_up_at == before


@pytest.mark.parametrize("query", ["api_key=hunter2", "key=hunter2", "password=hunter2", "to%6ben=hunter2"])
def test_more_secrets_are_left_out_of_addresses(query: str) -> None:
    assert "hunter2" not in redact_url(f"wss://feed.example/a?since=7&{query}")


def test_secrets_are_left_out_of_the_reasons_for_failures(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    client = lab.read("ws://hunter2@127.0.0.1:1/")
    client.until(lambda: client.reader.connects, "a failure")
    assert "hunter2" not in caplog.text


def test_secrets_are_left_out_of_what_a_refusal_says(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    login, token, path = "me:hunter2pw", "hunter2 token/+", "hunter2path"

    async def script(peer: Peer) -> None:
        body = [peer.path, token, peer.headers["Authorization"], "hunter2%20token%2F%2B", path, "since=7 is gone"]
        await peer.refuse(400 if peer.number % 2 else 503, "\n".join(body))

    class WithToken(Client):
        def address(self, url: str, resume: bool) -> str:
            return f"{url}&since={self.position}" if resume else url

    server = lab.serve(script)
    url = server.url.replace("ws://", f"ws://{login}@") + f"{path}?token=hunter2%20token%2f%2B"
    client = lab.read(url, client=WithToken, first=7)
    client.until(lambda: caplog.text.count("since=7 is gone") >= 2, "two refusals in the log")
    assert server.peers[0].path == f"/{path}?token=hunter2%20token%2f%2B&since=7"
    assert "hunter2" not in caplog.text
    assert b64encode(login.encode()).decode() not in caplog.text


def test_what_a_server_says_is_logged_in_one_short_line() -> None:
    url = "wss://a:b@feed.example/ws?x=1&y=22&since=7"
    assert redact_text("one\r\n\ttwo \x1b[31m three", url) == "one two ?[31m three"
    assert redact_text("no " * 1_000, url) == ("no " * 1_000)[:MAX_LOGGED] + "..."
    assert redact_text("since=7 and y=22: HTTP 122", url) == "since=7 and y=22: HTTP 122"  # too short for secrets


def test_an_address_that_is_none_ends_an_attempt_and_not_the_reader(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    client = lab.read("ws://[hunter2/", sending_server := lab.serve(sending("a")))
    client.until(lambda: client.texts == ["a"], "the other server")
    assert len(sending_server.peers) == 1
    assert "hunter2" not in caplog.text


def test_addresses_in_what_is_logged_are_shown_without_secrets() -> None:
    body = "cannot follow redirect to 'https://u:hunter2@other.example/hunter2?token=hunter2&since=7'"
    assert redact_text(body, "wss://feed.example/") == "cannot follow redirect to 'https://other.example/***?since=7'"


def test_an_ipv6_address_is_shown_as_one() -> None:
    assert redact_url("ws://me:hunter2@[::1]:5555/") == "ws://[::1]:5555/"


@pytest.fixture
def secure_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(URL, CA file of its certificate) of a server that uses TLS and sends "a"."""
    key, ca = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)

    def send(connection: ServerConnection) -> None:
        connection.send("a")
        with contextlib.suppress(ConnectionClosed):
            connection.recv()

    with serve(send, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"wss://127.0.0.1:{server.socket.getsockname()[1]}", ca
        server.shutdown()
    thread.join()


def test_a_server_is_trusted_for_whom_the_ca_file_names(lab: Lab, secure_server: tuple[str, Path]) -> None:
    url, ca = secure_server
    client = lab.read(url, ca_file=str(ca))
    client.until(lambda: client.texts == ["a"], "the frame")


def test_a_server_that_another_signs_is_not_trusted(
    lab: Lab, secure_server: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    client = lab.read(secure_server[0])
    client.until(lambda: "certificate verify failed" in caplog.text, "the reason")
    assert client.texts == []


def test_the_ca_file_is_for_secure_addresses_only(lab: Lab) -> None:
    client = lab.read(lab.serve(sending("a")), ca_file="/none")
    client.until(lambda: client.texts == ["a"], "the frame")
