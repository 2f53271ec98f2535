"""The reader, seen from outside: real sockets, and a server on a thread of its own that breaks rules as it likes."""

import asyncio
import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from jobs.collection import Frame
from jobs.websocket_reader import Asked, Event, Reader, Refused, TooLarge, without_secrets
from tests.unit.hostile_server import (
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
)

READER = "jobs.websocket_reader"
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

    asked: the server and the position of each address that the reader asked for.
    """

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self.events: list[Event] = []
        self.asked: list[tuple[str, int]] = []
        self.position = 0
        quick = {"back_off": (0.01, 0.04), "jitter": lambda: 0.5}
        self.reader = Reader(urls, self.address, **{**quick, **options})

    def address(self, url: str) -> str:
        self.asked.append((url, self.position))
        return f"{url}?since={self.position}"

    def take(self, most: int = 1_000) -> None:
        self.events += self.reader.take(most)

    def consume(self, most: int = 1_000) -> None:
        self.take(most)
        self.position = sum(isinstance(event, Frame | TooLarge) for event in self.events)
        self.reader.handled()

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
    def kinds(self) -> list[type[Event]]:
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


def gaps(server: HostileServer) -> list[float]:
    """The times between requests in seconds. None can be shorter than the reader's pause."""
    times = [peer.asked_at for peer in server.peers if peer.asked_at]
    return [after - before for before, after in itertools.pairwise(times)]


# Frames


def test_frames_arrive_in_order_complete_and_with_their_kind(lab: Lab) -> None:
    lengths = [*range(130), *range(65_530, 65_540), 262_143, 262_144]  # a frame tells its length in three ways
    items = [("\u20ac" * (n // 3) + "." * (n % 3), f"{n}".encode().zfill(n))[n % 2] for n in lengths]

    async def script(peer: Peer) -> None:
        await peer.accept(*items[:5])  # in one piece with the handshake
        await peer.send(*items[5:])

    server = lab.serve(script)
    before = int(time.time() * 1000)
    client = lab.read(server)
    client.until(lambda: len(client.frames) >= len(items), "all frames")
    assert client.kinds == [Asked] + [Frame] * len(items)
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
        return TooLarge in client.kinds

    await_until(take, 5, "the report")
    assert_stays(lambda: len(client.asked) == 1, 0.2, "not asked again before the consumer moved on")
    client.until(lambda: "last" in client.texts, "the frame after the large one")
    assert client.kinds == [Asked, Frame, Frame, Frame, TooLarge, Asked, Frame]
    assert client.events[4] == TooLarge(1_000)
    assert client.asked == [(server.url, 0), (server.url, 4)]
    assert [peer.close_code for peer in server.peers] == [1009, None]


def test_a_frame_above_the_limit_again_and_again_is_no_tight_loop(lab: Lab) -> None:
    server = lab.serve(sending("x" * 11))
    client = lab.read(server, max_frame=10, back_off=(0.05, 0.1))
    client.until(lambda: len(gaps(server)) >= 4, "more attempts")
    assert all(gap >= pause for gap, pause in zip(gaps(server), [0.05, 0.1, 0.1, 0.1], strict=False)), gaps(server)
    assert client.kinds[:8] == [Asked, TooLarge] * 4
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
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 0.2)
    server = lab.serve(flooding(1_000, 1_000))
    client = lab.read(server, capacity=10)
    await_until(lambda: server.peers and server.peers[0].sent, 5, "frames are sent")
    assert_stays(lambda: len(server.peers) == 1 and not server.peers[0].ended_at, 0.6, "one connection")
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 15.0)  # a wait that began before must not end while frames flow
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
    client.reader.handled()
    assert_stays(lambda: len(client.asked) == 1, 0.15, "one event of three is in effect")
    assert client.reader.pending()
    client.take()
    assert client.kinds == [Asked, Frame, Frame]
    assert_stays(lambda: len(client.asked) == 1, 0.15, "all is taken, but not all is in effect")
    assert client.reader.pending()
    client.position = 2
    client.reader.handled()
    await_until(lambda: len(client.asked) == 2, 5, "the next address")
    assert client.asked == [(server.url, 0), (server.url, 2)]
    client.until(lambda: client.reader.connected, "the next connection")
    assert server.peers[1].path == "/?since=2"
    assert client.kinds == [Asked, Frame, Frame, Asked]
    assert not client.reader.pending()


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
    # A busy machine only makes gaps longer, so the shortest tells the most.
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
        client.until(lambda: client.texts == ["a", "b"], "both connections to the good server")
        servers = [down, failing.url, good.url]
        assert client.asked == [*((url, 0) for url in servers), *((url, 1) for url in servers)]
        assert client.reader.connected
        assert client.reader.connects == 5


def test_a_server_that_never_answers_the_request_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.OPEN_SECONDS", 0.3)
    black_hole, good = lab.serve(mute), lab.serve(sending("a"))
    client = lab.read(black_hole, good)
    client.until(lambda: client.texts == ["a"], "the other server")
    assert good.peers[0].asked_at - black_hole.peers[0].asked_at > 0.25
    assert client.kinds == [Asked, Asked, Frame]


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
    client.until(lambda: client.texts == ["a"], "the next connection's frame")
    assert client.kinds == [Asked, Asked, Frame]
    assert client.reader.connected
    assert client.reader.connects == 1
    assert [record.levelname for record in caplog.records if record.name == READER] == ["WARNING"]


def test_it_is_not_connected_between_connections(lab: Lab) -> None:
    server = lab.serve(closing(1001))
    client = lab.read(server, back_off=(60, 60))
    client.until(lambda: client.reader.connects == 1, "the end of the connection")
    assert not client.reader.connected
    assert client.reader.alive()


# Refusals


@pytest.mark.parametrize("status", [400, 410, 416])
def test_three_refusals_of_the_position_in_a_row_are_reported_once(
    lab: Lab, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    server = lab.serve(in_turn(*[refusing(status)] * 5, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the connection")
    assert client.kinds == [Asked, Asked, Asked, Refused, Asked, Asked, Asked, Frame]
    assert f"refused with HTTP {status} no; the next attempt" in caplog.text


@pytest.mark.parametrize(
    "scripts",
    [
        [refusing(400)],
        [refusing(400)] * 2,
        [*[refusing(400)] * 2, closing(1001), *[refusing(400)] * 2],
        [refusing(503)] * 4,
        [refusing(403)] * 4,
        [not_speaking_http] * 4,
    ],
    ids=["400 once", "400 twice", "400 twice, and twice", "503", "403", "not HTTP"],
)
def test_other_answers_are_no_refusal_of_the_position(lab: Lab, scripts: list[Script]) -> None:
    server = lab.serve(in_turn(*scripts, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the connection")
    assert client.kinds == [Asked] * (len(scripts) + 1) + [Frame]


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
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 0.5)
    script, frozen_at = freezing(pings=3)
    server = lab.serve(in_turn(script, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the next connection")
    assert 0.3 < server.peers[1].asked_at - frozen_at[0] < 3
    assert "no answer to a ping within 0.5 s" in caplog.text
    assert client.kinds == [Asked, Asked, Frame]


def test_a_frozen_server_is_not_known_to_be_alive(lab: Lab) -> None:
    script, frozen_at = freezing(pings=3)
    client = lab.read(lab.serve(script))
    client.until(lambda: frozen_at, "the server is frozen")
    assert_stays(lambda: client.reader.alive_until <= frozen_at[0], 0.4, "time stands still")
    assert frozen_at[0] - client.reader.alive_until < 1
    assert client.reader.connected


def test_a_quiet_server_is_known_to_be_alive(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 0.7)

    async def script(peer: Peer) -> None:
        peer.before_pong = slow
        await peer.accept()

    async def slow() -> None:
        await asyncio.sleep(0.1)

    server = lab.serve(script)
    client = lab.read(server)
    client.until(lambda: client.reader.connected, "the connection")
    start = time.monotonic()
    await_until(lambda: client.reader.alive_until > start + 0.9, 5, "later than a pong may take it is alive")
    assert client.reader.alive_until <= time.monotonic() < start + 3
    assert len(server.peers) == 1
    assert client.kinds == [Asked]


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
    seen = client.reader.alive_until
    for _ in range(5):
        await_until(lambda after=seen: client.reader.alive_until > after, 5, "a pong")  # type: ignore[misc]
        seen = client.reader.alive_until
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
    assert client.kinds == [Asked, Frame]
    assert len(client.asked) == 1


class Failing(Client):
    """Its second address cannot be told."""

    def address(self, url: str) -> str:
        if self.asked:
            raise LookupError("no position")
        return super().address(url)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_says_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    server = lab.serve(closing(1001, "a"))
    client = lab.read(server, client=Failing)
    assert client.reader.alive()
    await_until(lambda: client.reader.connects == 1, 5, "the end of the connection")
    client.consume()
    await_until(lambda: not client.reader.alive(), 5, "the end of the thread")
    client.take()
    assert client.kinds == [Asked, Frame]
    assert not client.reader.connected
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert (record.name, record.getMessage()) == (READER, "the WebSocket reader died")
    assert "LookupError: no position" in caplog.text


def test_nothing_is_left_of_a_reader(lab: Lab) -> None:
    server = lab.serve(in_turn(closing(1001), hanging_up, refusing(400), quiet))
    client = lab.read(server)
    client.until(lambda: client.reader.connected and len(server.peers) == 4, "the last connection")
    stopped(client)
    await_until(lambda: all(peer.ended_at for peer in server.peers), 2, "the end of all connections")
    assert not [thread for thread in threading.enumerate() if thread.name == "websocket-reader"]


# What is logged


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://localhost:5555", "ws://localhost:5555"),
        ("wss://feed.example/a/b?format=json&since=7", "wss://feed.example/a/b?format=json&since=7"),
        ("wss://me:hunter2@feed.example:8443/a?since=7", "wss://feed.example:8443/a?since=7"),
        ("wss://hunter2@feed.example/a", "wss://feed.example/a"),
        ("wss://feed.example/a?since=7&token=hunter2", "wss://feed.example/a?since=7"),
        ("wss://feed.example/a?Access_Token=hunter2", "wss://feed.example/a"),
        ("wss://me:hunter2@feed.example/a#hunter2", "wss://feed.example/a"),
    ],
)
def test_secrets_are_left_out_of_addresses(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_secrets_are_left_out_of_the_log(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=READER)
    server = lab.serve(in_turn(refusing(503), closing(1001), frozen))
    url = server.url.replace("ws://", "ws://me:hunter2@") + "?token=hunter3"

    class WithToken(Client):
        def address(self, url: str) -> str:
            super().address(url)
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
    client.until(lambda: client.frames or TooLarge in client.kinds, "the message, or that it is refused")  # 10 s


def test_refusals_with_other_answers_between_them_are_not_in_a_row(lab: Lab) -> None:
    server = lab.serve(in_turn(*[refusing(400), refusing(503)] * 3, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the connection")
    assert client.kinds == [Asked] * 7 + [Frame]


def test_attempts_that_time_out_are_no_connections_that_held(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.OPEN_SECONDS", 0.25)
    server = lab.serve(mute)
    client = lab.read(server, back_off=(0.02, 0.2))
    client.until(lambda: len(gaps(server)) >= 5, "six attempts")
    assert gaps(server)[4] >= 0.24 + 0.2, gaps(server)


def test_a_server_that_closes_with_1009_sent_no_frame_that_is_too_large(lab: Lab) -> None:
    client = lab.read(lab.serve(in_turn(closing(1009, "a"), sending("b"))))
    client.until(lambda: client.texts == ["a", "b"], "both frames")
    assert client.kinds == [Asked, Frame, Asked, Frame]


def test_a_frame_above_the_limit_is_reported_even_if_the_server_does_not_end_the_connection(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 0.5)

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
    assert client.kinds[:2] == [Asked, TooLarge]


def test_a_server_whose_frames_keep_coming_is_not_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 0.3)

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
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 0.001)  # 15 s a wait: 1,500 of them are six hours
    server = lab.serve(flooding(1_000, 1_000))
    client = lab.read(server, capacity=10)
    await_blocked(server)
    assert_stays(lambda: len(server.peers) == 1, 3, "one connection")
    monkeypatch.setattr(f"{READER}.PONG_SECONDS", 15.0)
    assert_stays(lambda: len(server.peers) == 1, 0.1, "one connection")
    client.until(lambda: len(client.frames) == 1_000, "all frames")
    assert_stays(lambda: client.reader.connected, 0.3, "the connection, with the pong behind the frames")


def test_a_server_that_has_not_yet_answered_a_ping_is_not_known_to_be_alive(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(0.3)
        await frozen(peer)

    client = lab.read(lab.serve(script))
    before = client.reader.alive_until
    client.until(lambda: client.reader.connected, "the connection")
    assert client.reader.alive_until == before


@pytest.mark.parametrize("query", ["api_key=hunter2", "key=hunter2", "password=hunter2", "to%6ben=hunter2"])
def test_more_secrets_are_left_out_of_addresses(query: str) -> None:
    assert "hunter2" not in without_secrets(f"wss://feed.example/a?since=7&{query}")


def test_secrets_are_left_out_of_the_reasons_for_failures(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    client = lab.read("ws://hunter2@127.0.0.1:1/")
    client.until(lambda: client.reader.connects, "a failure")
    assert "hunter2" not in caplog.text


def test_an_ipv6_address_is_shown_as_one() -> None:
    assert without_secrets("ws://me:hunter2@[::1]:5555/") == "ws://[::1]:5555/"
