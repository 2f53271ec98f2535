"""What a feed needs besides frames: opening messages, answers, ping messages, planned ends, refusals, certificates."""

import asyncio
import itertools
import json
import logging
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from jobs.feed_processor import Batch, FeedProcessor, FeedState
from jobs.feeds.definition import check
from jobs.feeds.feed import Feed
from jobs.feeds.model import Shard
from jobs.feeds.request import Request
from jobs.records import Frame
from jobs.settings import read_secret_file
from jobs.shard_worker import protocol_of
from jobs.websocket_connection import TooOld
from jobs.websocket_events import Connected, Disconnected, Protocol, ResumeRejected, Subscribed
from tests.support.certificates import self_signed
from tests.unit.jobs.hostile_server import HostileServer, Peer, Script, closing, in_turn, quiet, refusing, sending
from tests.unit.jobs.reader_lab import (
    READER,
    Client,
    Lab,
    assert_stays,
    await_until,
    hanging_up,
    paths,
)


class OfFeed(Client):
    """A client of a feed with a definition. Its position is the number of the last frame."""

    def __init__(self, urls: Sequence[str], *, mapping: dict[str, Any], **options: Any) -> None:
        self.feed = Feed(check({"name": "mine", "post": {"text": "text"}, **mapping}), str)
        self.processor = FeedProcessor(self.feed, Shard(), str, FeedState())
        self.batch = Batch()
        super().__init__(urls, **{"protocol": protocol_of(self.feed), **options})

    def request(self, url: str, resume: bool) -> Request:
        position = self.processor.resume_from if resume else None
        return self.feed.request(url, position, Shard(), lambda path: read_secret_file("${file:...}", path))

    def consume(self, most: int = 1_000, most_bytes: int = 2**30) -> None:
        """Process the events as the worker does."""
        before = len(self.events)
        self.take(most, most_bytes)
        for event in self.events[before:]:
            if isinstance(event, Subscribed):
                self.processor.on_subscribed(event.resumed)
            elif isinstance(event, ResumeRejected):
                self.processor.on_resume_rejected()
            elif isinstance(event, Frame):
                batch = self.processor.process([event])
                self.batch.add(batch)
                for means, reason in batch.failures:
                    self.reader.fail(means, f"the server reports an error: {reason}")
        self.reader.ack()

    @property
    def posts(self) -> list[str]:
        return [text for record in self.batch.posts if (text := json.loads(record.value)["text"]) is not None]


def read(lab: Lab, mapping: dict[str, Any], *servers: HostileServer | str, **options: Any) -> OfFeed:
    client = lab.read(*servers, client=OfFeed, mapping=mapping, **options)
    assert isinstance(client, OfFeed)
    return client


def post(text: str, number: int = 0) -> str:
    return json.dumps({"text": text, "n": number})


RESUMED = {"position": {"path": "n"}, "resume": {"query": {"since": "${position}"}}}


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == READER and record.levelno == level]


def ends(client: Client) -> list[tuple[str, str]]:
    return [(event.what, event.reason) for event in client.connections if isinstance(event, Disconnected)]


# Opening


def answering(*answers: str) -> Script:
    """Accepts, waits for a message, and answers."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        while not peer.messages:
            await asyncio.sleep(0.001)
        await peer.send(*answers)

    return script


def test_the_opening_messages_are_sent_in_order_with_headers_and_subprotocols(lab: Lab, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    mapping = {
        "connect": {"headers": {"X-Token": f"Bearer ${{file:{token}}}"}, "subprotocols": ["v2.json", "v1.json"]},
        "open": {"send": ["one", f'{{"key": "${{file:{token}}}"}}', "three"]},
    }
    server = lab.serve(answering(post("a")))
    client = read(lab, mapping, server)
    client.until(lambda: client.posts == ["a"] and len(server.peers[0].messages) == 3, "the post")
    assert server.peers[0].messages == ["one", '{"key": "s3cret"}', "three"]
    assert server.peers[0].headers["X-Token"] == "Bearer s3cret"
    assert server.peers[0].headers["Sec-WebSocket-Protocol"] == "v2.json, v1.json"


def test_the_message_that_resumes_replaces_the_opening_ones(lab: Lab) -> None:
    mapping = {**RESUMED, "open": {"send": ["live"]}, "resume": {"send": ["from ${position}", "go"]}}

    async def first(peer: Peer) -> None:
        await answering(post("a", 7))(peer)
        await peer.close(1001)

    server = lab.serve(in_turn(first, sending(post("b", 8))))
    client = read(lab, mapping, server)
    client.until(lambda: client.posts == ["a", "b"], "both posts")
    await_until(lambda: server.peers[1].messages == ["from 7", "go"], 5, "the messages")
    assert server.peers[0].messages == ["live"]
    assert client.answers[0] == Subscribed(resumed=False)
    assert Subscribed(resumed=True) in client.answers


EXPECT = {"open": {"send": ["hello"], "expect": {"path": "type", "equals": "ok"}, "within": 0.3}}


@pytest.mark.parametrize("answer", ['{"type": "ok"}', '{"type": "ok", "more": [1]}'])
def test_the_expected_answer_is_no_post(lab: Lab, answer: str) -> None:
    server = lab.serve(answering(post("early"), answer, post("late")))
    client = read(lab, EXPECT, server)
    client.until(lambda: client.posts == ["early", "late"], "both posts")
    assert_stays(lambda: client.reader.connected and len(server.peers) == 1, 0.5, "the connection")
    assert client.batch.rejected == []
    assert client.processor.counts.control == 1


def test_the_answer_may_come_with_the_handshake(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept('{"type": "ok"}', post("a"))

    server = lab.serve(script)
    client = read(lab, EXPECT, server)
    client.until(lambda: client.posts == ["a"], "the post")
    assert_stays(lambda: client.reader.connected and len(server.peers) == 1, 0.5, "the connection")
    assert client.events[:2] == [Subscribed(resumed=False), client.connections[0]]


@pytest.mark.parametrize("script", [quiet, answering('{"type": "no"}'), answering("ok")], ids=["none", "other", "text"])
def test_without_the_expected_answer_the_next_server_is_asked(
    lab: Lab, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = lab.serve(script), lab.serve(answering('{"type": "ok"}', post("a")))
    client = read(lab, EXPECT, first, second)
    client.until(lambda: client.posts == ["a"], "the other server's post")
    assert "the expected answer did not come within 0.3 s; the next attempt" in caplog.text
    assert ends(client)[0] == ("disconnected", "the expected answer did not come within 0.3 s")
    assert second.peers[0].asked_at - first.peers[0].asked_at >= 0.3


def test_the_answer_is_not_waited_for_when_the_server_closes(lab: Lab) -> None:
    mapping = {**EXPECT, "open": {**EXPECT["open"], "within": 60}}
    server = lab.serve(in_turn(closing(1001), hanging_up, answering('{"type": "ok"}', post("a"))))
    client = read(lab, mapping, server)
    client.until(lambda: client.posts == ["a"], "the post")


# Keeping alive


def test_a_ping_message_is_sent_regularly_and_its_reply_is_no_post(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(post("a"))
        for number in itertools.count(1):
            while len(peer.messages) < number:
                await asyncio.sleep(0.001)
            await peer.send("PONG")

    mapping = {"keepalive": {"pings": False, "send": "PING", "every": 1, "reply": {"frame": "PONG"}}}
    server = lab.serve(script)
    protocol = Protocol(pings=False, every=0.05)
    client = read(lab, mapping, server, protocol=protocol, max_silence=0.5)
    client.until(lambda: client.processor.counts.control >= 5, "replies")
    assert set(server.peers[0].messages) == {"PING"}
    assert server.peers[0].pinged_at == []
    assert (client.posts, client.batch.rejected, len(server.peers)) == (["a"], [], 1)


def test_a_server_that_does_not_answer_ping_messages_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.3)
    first, second = lab.serve(sending("a")), lab.serve(sending("b"))
    mapping = {"frames": {"format": "text"}, "post": {}, "keepalive": {"pings": False, "send": "PING"}}
    client = read(lab, mapping, first, second, protocol=Protocol(pings=False, every=0.1))
    client.until(lambda: client.posts[:2] == ["a", "b"], "the other server")
    assert second.peers[0].asked_at - first.peers[0].asked_at >= 0.4
    assert ends(client)[0] == ("disconnected", "no answer to a ping message within 0.3 s")


def test_without_pings_none_is_sent_and_frames_alone_show_life(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept("a")
        await asyncio.sleep(0.3)
        await peer.send("b")
        await asyncio.Event().wait()

    server, other = lab.serve(script), lab.serve(sending("c"))
    mapping = {"frames": {"format": "text"}, "post": {}, "keepalive": {"pings": False}}
    client = read(lab, mapping, server, other, max_silence=0.8)
    client.until(lambda: client.posts == ["a"], "the first frame")
    caught_up = client.reader.caught_up_at
    client.until(lambda: client.posts == ["a", "b"] and client.reader.caught_up_at > caught_up, "the second frame")
    client.until(lambda: client.posts[:3] == ["a", "b", "c"], "the next server")
    assert server.peers[0].pinged_at == []
    assert ends(client)[0] == ("silent", "no frame for 0.8 s")
    assert client.reader.silences >= 1


def test_a_planned_end_comes_before_the_servers_own_and_loses_nothing(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """The server sends numbers all the time, and from the position when it is asked for one."""
    made = time.monotonic()

    async def script(peer: Peer) -> None:
        await peer.accept()
        number = int(peer.path.partition("since=")[2] or 0)
        while True:
            while number < (time.monotonic() - made) * 500:
                number += 1
                await peer.send(json.dumps({"seq": number, "timestamp": 1, "text": f"{number}"}))
            await asyncio.sleep(0.001)

    mapping = {
        "post": {"text": "text"},
        "position": {"path": "seq", "dense": True},
        "resume": {"query": {"since": "${position}"}},
    }
    server = lab.serve(script)
    client = read(lab, mapping, server, protocol=Protocol(max_age=0.2), back_off=(60, 60))
    client.until(lambda: len(server.peers) >= 4 and len(client.posts) > 300, "the fourth connection", most=50)
    assert client.posts == [str(number) for number in range(1, len(client.posts) + 1)]
    assert (client.batch.rejected, client.processor.counts.gaps) == ([], 0)
    assert ("disconnected", "planned: the connection is 0.2 s old") in ends(client)
    assert "the next attempt comes in 0.0 s and resumes from the position" in caplog.text
    assert server.peers[0].close_code == 1000


# Positions that are too old


def depending(with_position: Script, without: Script) -> Script:
    async def script(peer: Peer) -> None:
        await (with_position if "since=" in peer.path else without)(peer)

    return script


def test_an_answer_that_says_too_old_is_believed_at_once(lab: Lab) -> None:
    rules = (TooOld(400, "CursorTooOld"), TooOld(410))
    server = lab.serve(depending(refusing(400, '{"error": "CursorTooOld"}'), sending("200")))
    client = lab.read(server, first=100, protocol=Protocol(too_old=rules))
    client.until(lambda: client.texts == ["200"], "the live frame")
    assert client.answers[:-1] == [Subscribed(resumed=True), ResumeRejected(), Subscribed(resumed=False)]
    assert paths(server) == ["/?since=100", "/"]


def test_another_answer_with_that_status_is_tested(lab: Lab) -> None:
    rules = (TooOld(400, "CursorTooOld"),)
    server = lab.serve(in_turn(refusing(400, "BadGateway"), quiet, sending("101")))
    client = lab.read(server, first=100, protocol=Protocol(too_old=rules))
    client.until(lambda: client.texts == ["101"], "the frame")
    assert ResumeRejected not in client.types
    assert paths(server) == ["/?since=100", "/", "/?since=100"]


def test_a_live_request_is_never_too_old(lab: Lab) -> None:
    class Live(Client):
        def address(self, url: str, resume: bool) -> str:  # noqa: ARG002
            return url

    server = lab.serve(in_turn(refusing(400, "CursorTooOld"), sending("a")))
    client = lab.read(server, client=Live, protocol=Protocol(too_old=(TooOld(400, "CursorTooOld"),)))
    client.until(lambda: client.texts == ["a"], "the frame")
    assert ResumeRejected not in client.types


# Frames with which the server reports an error


ERRORS = {
    "frames": {
        "error": [
            {"path": "error", "equals": "auth", "means": "fatal"},
            {"path": "error", "equals": "old", "means": "too_old"},
            {"path": "error"},
        ]
    }
}


def erring(error: str, *, closes: bool) -> Script:
    async def script(peer: Peer) -> None:
        await peer.accept(json.dumps({"error": error}))
        if closes:
            peer.hang_up()
        else:
            await asyncio.Event().wait()

    return script


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
@pytest.mark.parametrize("expects", [False, True], ids=["no answer", "an answer"])
def test_a_fatal_error_ends_the_asking(lab: Lab, caplog: pytest.LogCaptureFixture, closes: bool, expects: bool) -> None:
    server = lab.serve(erring("auth", closes=closes))
    client = read(lab, {**ERRORS, **(EXPECT if expects else {})}, server)
    client.until(lambda: client.reader.refused, "the end of the asking")
    assert_stays(lambda: len(server.peers) == 1, 0.3, "no other request")
    assert ends(client) == [("refused", 'the server reports an error: {"error":"auth"}')]
    (line,) = lines(caplog, logging.ERROR)
    assert line == f'feed {server.url}: the server reports an error: {{"error":"auth"}}; no further request is made'
    assert client.reader.alive()


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
def test_an_error_that_says_too_old_leads_to_a_live_start(lab: Lab, closes: bool) -> None:
    server = lab.serve(
        in_turn(closing(1001, post("a", 5)), erring("old", closes=closes), sending(post("b", 90), post("c", 91)))
    )
    client = read(lab, {**RESUMED, **ERRORS}, server)
    client.until(lambda: client.posts == ["a", "b", "c"], "the live posts")
    assert client.types.count(ResumeRejected) == 1
    assert paths(server) == ["/", "/?since=5", "/"]
    (gap,) = [json.loads(json.loads(record.value)["record"]) for record in client.batch.rejected]
    assert (gap["first"], gap["last"], gap["lost"]) == (6, None, None)


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
def test_another_error_leads_to_the_next_attempt(lab: Lab, closes: bool, caplog: pytest.LogCaptureFixture) -> None:
    server = lab.serve(in_turn(erring("busy", closes=closes), sending(post("a", 1))))
    client = read(lab, {**RESUMED, **ERRORS}, server)
    client.until(lambda: client.posts == ["a"], "the post")
    assert ends(client)[0] == ("disconnected", 'the server reports an error: {"error":"busy"}')
    assert 'the server reports an error: {"error":"busy"}; the next attempt' in caplog.text


def test_an_error_while_the_consumer_is_behind_is_heeded(lab: Lab) -> None:
    server = lab.serve(erring("auth", closes=True))
    client = read(lab, ERRORS, server)
    await_until(lambda: client.reader.connects == 1, 5, "the end of the connection")
    assert_stays(lambda: len(server.peers) == 1, 0.2, "the frame is not processed")
    client.until(lambda: client.reader.refused, "the end of the asking")
    assert_stays(lambda: len(server.peers) == 1, 0.2, "no other request")


# Servers that refuse for good


class WithFile(Client):
    """Sends what is in a file as a header."""

    file: Path

    def request(self, url: str, resume: bool) -> Request:
        token = self.file.read_text()
        return Request(self.address(url, resume), (("X-Token", token),), secrets=(token,))


def with_file(folder: Path) -> type[WithFile]:
    (folder / "token").write_text("s3cret-1")
    return type("WithThisFile", (WithFile,), {"file": folder / "token"})


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_for_good_is_named_once_a_minute_and_not_asked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, status: int
) -> None:
    monkeypatch.setattr(f"{READER}.REFUSED_SECONDS", 0.2)
    server = lab.serve(refusing(status, "bad token s3cret-1", Retry_After="0"))
    client = lab.read(server, client=with_file(tmp_path))
    client.until(lambda: len(lines(caplog, logging.ERROR)) == 3, "the third line")
    assert len(server.peers) == 1
    assert client.reader.refused
    expected = f"feed {server.url}: refused with HTTP {status} bad token ***; no further request is made"
    assert set(lines(caplog, logging.ERROR)) == {expected}
    assert ends(client) == [("refused", f"refused with HTTP {status} bad token ***")]
    assert "s3cret" not in caplog.text


def test_a_changed_secret_is_tried(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(f"{READER}.REFUSED_SECONDS", 0.1)

    async def script(peer: Peer) -> None:
        if peer.headers["X-Token"] != "s3cret-2":
            await peer.refuse(401)
        else:
            await peer.accept("a")

    server = lab.serve(script)
    client = lab.read(server, client=with_file(tmp_path))
    client.until(lambda: client.reader.refused, "the refusal")
    assert_stays(lambda: len(server.peers) == 1, 0.3, "no other request")
    (tmp_path / "token").write_text("s3cret-2")
    client.until(lambda: client.texts == ["a"], "the frame")
    assert not client.reader.refused
    assert len(server.peers) == 2


def test_the_other_servers_are_asked_while_one_refuses(lab: Lab, tmp_path: Path) -> None:
    bad, good = lab.serve(refusing(403)), lab.serve(in_turn(closing(1001, "a"), closing(1001, "b"), sending("c")))
    client = lab.read(bad, good, client=with_file(tmp_path))
    client.until(lambda: client.texts == ["a", "b", "c"], "the good server")
    assert len(bad.peers) == 1
    assert not client.reader.refused


def test_a_server_that_refused_is_asked_with_another_secret_while_others_serve(lab: Lab, tmp_path: Path) -> None:
    bad = lab.serve(in_turn(refusing(403), sending("new")))
    good = lab.serve(in_turn(closing(1001, "a"), closing(1001, "b"), sending("c")))
    client = lab.read(bad, good, client=with_file(tmp_path), back_off=(0.1, 0.1))
    client.until(lambda: client.texts[:1] == ["a"], "the good server")
    (tmp_path / "token").write_text("s3cret-2")
    client.until(lambda: "new" in client.texts, "the server that refused")


def test_all_servers_may_refuse(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(f"{READER}.REFUSED_SECONDS", 0.1)
    first, second = lab.serve(in_turn(refusing(401), sending("a"))), lab.serve(refusing(403))
    client = lab.read(first, second, client=with_file(tmp_path))
    client.until(lambda: client.reader.refused, "both refusals")
    assert_stays(lambda: (len(first.peers), len(second.peers)) == (1, 1), 0.3, "no other request")
    (tmp_path / "token").write_text("s3cret-2")
    client.until(lambda: client.texts == ["a"], "the first server")


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "between two connections"])
def test_the_asking_can_be_stopped(lab: Lab, caplog: pytest.LogCaptureFixture, connected: bool) -> None:
    server = lab.serve(sending("a") if connected else closing(1001, "a"))
    client = lab.read(server)
    if connected:
        client.until(lambda: client.texts == ["a"], "the frame")
    else:
        await_until(lambda: client.reader.connects == 1, 5, "the end of the connection")
    client.reader.stop_asking("enough")
    client.until(lambda: client.reader.refused, "the end of the asking")
    assert_stays(lambda: len(server.peers) == 1, 0.3, "no other request")
    assert ends(client) == [("refused", "enough")]
    assert lines(caplog, logging.ERROR) == [f"feed {server.url}: enough; no further request is made"]


def test_stop_while_nothing_is_asked(lab: Lab) -> None:
    client = lab.read(lab.serve(refusing(401)))
    client.until(lambda: client.reader.refused, "the refusal")
    start = time.monotonic()
    client.reader.stop()
    assert time.monotonic() - start < 2
    assert not client.reader.alive()


# What is reported


def test_connections_are_reported_before_their_frames_and_their_ends_behind_them(lab: Lab) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept("a", "b")  # in one piece with the handshake
        await peer.close(1001)

    server = lab.serve(in_turn(script, quiet))
    client = lab.read(server, clock=lambda: 1_790_000_000.5)
    client.until(lambda: client.reader.connected and len(server.peers) == 2, "the second connection")
    at = 1_790_000_000_500
    assert [type(event) for event in client.events[:4]] == [Subscribed, Connected, Frame, Frame]
    assert client.connections == [
        Connected(f"{server.url}?since=0", at),
        Disconnected("disconnected", server.url, "closed: received 1001 (going away); then sent 1001 (going away)", at),
        Connected(f"{server.url}?since=2", at),
    ]


def test_attempts_that_fail_in_the_same_way_are_reported_once(lab: Lab) -> None:
    server = lab.serve(in_turn(*[refusing(503)] * 4, *[refusing(500)] * 3, sending("a")))
    client = lab.read(server)
    client.until(lambda: client.texts == ["a"], "the connection")
    assert ends(client) == [("refused", "refused with HTTP 503 no"), ("refused", "refused with HTTP 500 no")]


def test_the_content_of_a_file_is_in_no_log_and_no_event(
    lab: Lab, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, logger=READER)
    token = tmp_path / "token"
    token.write_text("s3cret/+ token\n")
    secret = f"${{file:{token}}}"
    mapping = {
        **ERRORS,
        "connect": {"headers": {"Authorization": f"Bearer {secret}"}, "query": {"format": secret, "key": secret}},
        "open": {"send": [f'{{"token": "{secret}"}}']},
        "keepalive": {"send": secret},
    }

    async def quoting(peer: Peer) -> None:
        await peer.refuse(503, f"no {peer.headers['Authorization']} may ask for {peer.path}\n")

    async def echoing(peer: Peer) -> None:
        await peer.accept()
        while not peer.messages:
            await asyncio.sleep(0.001)
        await peer.send(json.dumps({"error": "busy", "request": peer.messages[0], "path": peer.path}))

    server = lab.serve(in_turn(quoting, echoing, refusing(403, "no s3cret/+ token")))
    client = read(lab, mapping, server)
    client.until(lambda: client.reader.refused, "the last answer")
    assert server.peers[0].path == "/?format=s3cret/%2B+token&key=s3cret/%2B+token"
    records = [*client.batch.posts, *client.batch.rejected, *client.batch.events, *client.batch.errors]
    shown = [caplog.text, repr(client.connections), repr(records), repr(client.feed.definition)]
    assert [text for text in shown if "s3cret" in text] == []
    assert [reason for _, reason in ends(client)] == [
        "refused with HTTP 503 no Bearer *** may ask for /?format=***&key=***",
        'the server reports an error: {"error":"busy","request":"{\\"token\\": \\"***\\"}",'
        '"path":"/?format=***&key=***"}',
        "refused with HTTP 403 no ***",
    ]


# Certificates


@pytest.fixture
def demanding_server(tmp_path: Path) -> Iterator[tuple[str, Path, Path]]:
    """(URL, CA file, client certificate with key) of a server that asks for a client certificate, and sends "a"."""
    key, ca = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    client = tmp_path / "client.pem"
    client.write_text(ca.read_text() + key.read_text())

    def send(connection: ServerConnection) -> None:
        connection.send("a")
        connection.recv()

    with serve(send, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"wss://127.0.0.1:{server.socket.getsockname()[1]}", ca, client
        server.shutdown()
    thread.join()


def test_the_client_shows_its_certificate(lab: Lab, demanding_server: tuple[str, Path, Path]) -> None:
    url, ca, certificate = demanding_server
    client = lab.read(url, ca_file=str(ca), protocol=Protocol(client_certificate=str(certificate)))
    client.until(lambda: client.texts == ["a"], "the frame")


def test_without_the_certificate_nothing_comes(
    lab: Lab, demanding_server: tuple[str, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    url, ca, certificate = demanding_server
    client = lab.read(url, ca_file=str(ca))
    client.until(lambda: client.reader.connects >= 1, "the end of the attempt")
    missing = lab.read(url, ca_file=str(ca), protocol=Protocol(client_certificate=str(certificate.parent / "none")))
    missing.until(lambda: "FileNotFoundError" in caplog.text, "the reason")
    assert client.texts == missing.texts == []
