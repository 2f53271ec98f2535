"""The reader and servers that send nothing: those that are silent, frozen or quiet."""

import asyncio
import time

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from jobs.feed_processor import Frame
from jobs.websocket_events import Subscribed
from tests.unit.jobs.hostile_server import Peer, Script, frozen, in_turn, quiet, sending
from tests.unit.jobs.reader_lab import READER, Lab, assert_stays, await_until, fragments

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


def test_a_server_that_has_not_yet_answered_a_ping_is_not_known_to_be_alive(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(0.3)
        await frozen(peer)

    client = lab.read(lab.serve(script))
    before = client.reader.caught_up_at
    client.until(lambda: client.reader.connected, "the connection")
    assert client.reader.caught_up_at == before
