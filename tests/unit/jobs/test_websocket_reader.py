"""The reader with real sockets, and a server in its own thread that violates the protocol."""

import asyncio
import contextlib
import logging
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.sync.server import ServerConnection, serve

from jobs.feed_processor import Frame
from jobs.redaction import MAX_LOGGED, redact_text, redact_url
from jobs.websocket_events import Subscribed, TooLarge
from tests.support.certificates import self_signed
from tests.unit.jobs.hostile_server import Peer, Script, closing, frozen, in_turn, mute, quiet, refusing, sending
from tests.unit.jobs.reader_lab import (
    READER,
    Client,
    Lab,
    assert_stays,
    await_blocked,
    await_until,
    flooding,
    fragments,
    gaps,
    hanging_up,
    stopped,
)

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
    assert client.answers[4] == TooLarge(1_000)
    assert client.asked == [(server.url, 0), (server.url, 4)]
    assert [peer.close_code for peer in server.peers] == [1009, None]


def test_a_frame_above_the_limit_again_and_again_is_no_tight_loop(lab: Lab) -> None:
    server = lab.serve(sending("x" * 11))
    client = lab.read(server, max_frame=10, back_off=(0.05, 0.1))
    client.until(lambda: len(gaps(server)) >= 4, "more attempts")
    assert all(gap >= pause for gap, pause in zip(gaps(server), [0.05, 0.1, 0.1, 0.1], strict=False)), gaps(server)
    assert client.types[:8] == [Subscribed, TooLarge] * 4
    assert client.asked[:5] == [(server.url, position) for position in range(5)]


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
    await_until(client.reader.has_unacked, 5, "the end of the connection is reported")
    assert_stays(lambda: len(client.asked) == 1, 0.15, "the end is not in effect")
    client.take()
    client.reader.ack()
    await_until(lambda: len(client.asked) == 2, 5, "the next address")
    assert client.asked == [(server.url, 0), (server.url, 2)]
    client.until(lambda: client.reader.connected, "the next connection")
    assert server.peers[1].path == "/?since=2"
    assert client.types == [Subscribed, Frame, Frame, Subscribed]
    assert not client.reader.has_unacked()


# The end


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


def failing() -> float:
    raise LookupError("no number")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_says_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    server = lab.serve(closing(1001, "a"))
    client = lab.read(server, jitter=failing)
    assert client.reader.alive()
    await_until(lambda: client.reader.connects == 1, 5, "the end of the connection")
    client.consume()
    await_until(lambda: not client.reader.alive(), 5, "the end of the thread")
    client.take()
    assert client.types == [Subscribed, Frame]
    assert not client.reader.connected
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert (record.name, record.getMessage()) == (READER, "the WebSocket reader died")
    assert "LookupError: no number" in caplog.text


class Failing(Client):
    """Raises when it is called for the second request."""

    failed = 0

    def address(self, url: str, resume: bool) -> str:
        if self.asked and not self.failed:
            self.failed += 1
            raise LookupError("no position")
        return super().address(url, resume)


def test_a_request_that_cannot_be_built_ends_the_attempt_only(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    client = lab.read(lab.serve(in_turn(closing(1001, "a"), sending("b"))), client=Failing)
    client.until(lambda: client.texts == ["a", "b"], "the next connection")
    assert "LookupError: no position; the next attempt" in caplog.text
    assert client.reader.connects == 2


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
