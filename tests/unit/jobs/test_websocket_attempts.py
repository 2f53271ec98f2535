"""The reader's attempts: pauses, servers in turn, refused positions, servers that ask to wait."""

import asyncio
import itertools
import socket
import time
from email.utils import formatdate

import pytest
from websockets.datastructures import Headers
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from jobs.feed_processor import Frame
from jobs.websocket_connection import MAX_WAIT, retry_after
from jobs.websocket_events import ResumeRejected, Subscribed
from tests.unit.jobs.hostile_server import Peer, Script, closing, in_turn, mute, quiet, refusing, sending
from tests.unit.jobs.reader_lab import (
    CONNECTION,
    READER,
    Client,
    Lab,
    assert_stays,
    await_until,
    gaps,
    hanging_up,
    paths,
    stopped,
)

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
    assert client.answers[:-1] == [
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
    assert client.answers[-1] == Subscribed(resumed=False)


@pytest.mark.parametrize("script", [refusing(400), refusing(410), refusing(416)])
def test_a_request_without_a_position_has_none_to_be_refused(lab: Lab, script: Script) -> None:
    class Live(Client):
        def address(self, url: str, resume: bool) -> str:  # noqa: ARG002
            return url

    server = lab.serve(in_turn(*[script] * 5, sending("a")))
    client = lab.read(server, client=Live)
    client.until(lambda: client.texts == ["a"], "the connection")
    assert client.answers[:-1] == [Subscribed(resumed=False)] * 6


@pytest.mark.parametrize(
    "other", [refusing(503), refusing(404), closing(1001), hanging_up, not_speaking_http, hanging_up_on_the_request]
)
def test_another_outcome_of_the_second_request_starts_the_check_over(lab: Lab, other: Script) -> None:
    check = [refusing(400), quiet]
    server = lab.serve(in_turn(*check, other, *check, other, *check, refusing(400), sending("a")))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["a"], "the live frame")
    assert client.answers[:-1] == [Subscribed(resumed=True)] * 6 + [ResumeRejected(), Subscribed(resumed=False)]
    assert paths(server) == [RESUMED, LIVE, RESUMED] * 3 + [LIVE]


@pytest.mark.parametrize("other", [refusing(503), refusing(404), hanging_up_on_the_request, not_speaking_http])
def test_a_request_without_the_position_that_is_not_served_starts_the_check_over(lab: Lab, other: Script) -> None:
    server = lab.serve(in_turn(*[refusing(400), other] * 3, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert client.types == [Subscribed] * 4 + [Frame]
    assert paths(server) == [RESUMED, LIVE] * 3 + [RESUMED]


@pytest.mark.parametrize(
    "script", [refusing(503), refusing(429), refusing(404), not_speaking_http], ids=["503", "429", "404", "not HTTP"]
)
def test_other_answers_are_no_refusal_of_the_position(lab: Lab, script: Script) -> None:
    server = lab.serve(in_turn(*[script] * 4, serving(101)))
    client = lab.read(server, first=100)
    client.until(lambda: client.texts == ["101"], "the connection")
    assert client.answers[:-1] == [Subscribed(resumed=True)] * 5
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
    assert client.answers[:-1] == [Subscribed(resumed=True)] * 6
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


def test_attempts_that_time_out_are_no_connections_that_held(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.OPEN_SECONDS", 0.25)
    server = lab.serve(mute)
    client = lab.read(server, back_off=(0.02, 0.2))
    client.until(lambda: len(gaps(server)) >= 5, "six attempts")
    assert gaps(server)[4] >= 0.24 + 0.2, gaps(server)
