"""The collection job on Kafka and Flink, with a WebSocket server that sends invalid frames and HTTP errors."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.frames import Frame, Opcode

from local.stack import Stack
from tests.integration.conftest import RATE
from tests.support.counting import assert_complete, numbers
from tests.support.topics import Topic, topic
from tests.support.waiting import await_value
from tests.unit.jobs.hostile_server import HostileServer, Peer, in_turn, refusing

EPOCH_MS = 1_767_225_600_000
MAX_FRAME_BYTES = 4_096


def post(number: int, text: str | None = None) -> str:
    return json.dumps({"seq": number, "timestamp": EPOCH_MS + number, "text": text or f"post #{number}"})


def text_frame(data: bytes) -> Frame:
    return Frame(Opcode.TEXT, data)


# Frames that are no posts, and the reasons of their rejections. The server sends them between posts 3 and 4. Post 5 is
# larger than MAX_FRAME_BYTES.
INVALID_FRAMES: dict[str, tuple[bytes | str | Frame, str]] = {
    "binary": (b"\x00\x01", "a binary frame"),
    "invalid UTF-8": (text_frame(b'{"seq": \xff\xfe'), "not UTF-8"),
    "no JSON": ("hello", "not JSON"),
    "deep": ("[" * 4_000, "JSON is nested too deeply"),
    "array": ("[1]", "seq is not"),
    "number": ("1", "a JSON object or array is expected"),
    "seq is text": ('{"seq": "4", "timestamp": 1, "text": "x"}', "seq is not"),
    "no timestamp": ('{"seq": 4, "text": "x"}', "timestamp is not"),
    "text is a number": ('{"seq": 4, "timestamp": 1, "text": 7}', "text is not a string"),
}
TOO_LARGE = 5
LAST = 12


async def serve(peer: Peer) -> None:
    """Send posts 1 to 12 from the requested position on, with the invalid frames, and then nothing."""
    since = parse_qs(urlsplit(peer.path).query).get("since", ["0"])[0]
    await peer.accept()
    for number in range(int(since) + 1, LAST + 1):
        if number == TOO_LARGE:
            await peer.send(post(number, "x" * MAX_FRAME_BYTES))
        elif number == 7:
            half = post(number).encode()
            await peer.send(Frame(Opcode.TEXT, half[:10], fin=False), Frame(Opcode.CONT, half[10:]))
        else:
            await peer.send(post(number))
        if number == 3:
            await peer.send(*(frame for frame, _ in INVALID_FRAMES.values()))
        if number == 9:
            await peer.send(post(8), post(9))  # duplicates
        if number == 10:
            await peer.send(post(0, "#RT: https://example.org/only"))  # an old number


@pytest.fixture(scope="module")
def records(stack: Stack) -> Iterator[tuple[Topic, HostileServer]]:
    with HostileServer(serve) as server, topic(stack.settings.kafka, "collected") as records:
        environment = {
            "WEBSOCKET_URL": f"{server.url}?since=0",
            "KAFKA_TOPIC": records.name,
            "KAFKA_REJECTED_TOPIC": records.rejected_name,
            "MAX_FRAME_BYTES": str(MAX_FRAME_BYTES),
        }
        identity = stack.submit("collector_stream", environment)
        yield records, server
        stack.flink.cancel(identity)


def test_every_valid_post_is_published_once(records: tuple[Topic, HostileServer]) -> None:
    published, _ = records
    await_value(lambda: any(post["text"] == f"post {LAST}" for post in published.posts()), "the last post", 60)
    posts = sorted(published.posts(), key=lambda post: post["timestamp"])
    assert [post["id"] for post in posts] == [f"simulator-{n}" for n in range(1, LAST + 1) if n != TOO_LARGE]
    assert [post["text"] for post in posts] == [f"post {n}" for n in range(1, LAST + 1) if n != TOO_LARGE]
    first = {"id": "simulator-1", "text": "post 1", "timestamp": EPOCH_MS + 1, "source": "simulator", "position": "1"}
    assert posts[0] == {**first, "original": "post #1"}


def test_every_invalid_frame_is_rejected_with_its_reason(records: tuple[Topic, HostileServer]) -> None:
    published, _ = records
    reasons = [reason for _, reason in INVALID_FRAMES.values()] + [f"a frame larger than {MAX_FRAME_BYTES} bytes"]
    await_value(lambda: len(published.rejections()) >= len(reasons), "all rejections", 30)
    found = published.rejections()
    assert len(found) == len(reasons)
    for reason in reasons:
        assert any(rejection["reason"].startswith(reason) for rejection in found), reason
    fields = {"code", "reason", "source", "server", "time", "position", "bytes", "record", "frame"}
    assert all(set(rejection) - {"binary"} == fields for rejection in found)
    frames = [base64.b64decode(rejection["frame"]) for rejection in found]
    assert all(frame in frames for frame, _ in INVALID_FRAMES.values() if isinstance(frame, bytes))


def test_a_frame_that_is_too_large_is_skipped_and_not_requested_again(
    records: tuple[Topic, HostileServer],
) -> None:
    _, server = records
    assert [peer.path for peer in server.peers] == [
        "/?since=0&format=json",
        f"/?format=json&since={TOO_LARGE}",
    ]


async def serve_half(peer: Peer) -> None:
    """Send posts 1 to 6, and then only pongs."""
    await peer.accept()
    await peer.send(*(post(number) for number in range(1, LAST // 2 + 1)))


UNAVAILABLE_FOR_A_TIME = in_turn(
    serve_half,
    refusing(503, Retry_After="2"),
    refusing(429, Retry_After="1"),
    refusing(400),  # a gateway without a backend: to every request
    refusing(400),
    serve,
)


def test_no_post_is_lost_while_the_server_sends_nothing_or_is_busy(stack: Stack) -> None:
    with HostileServer(UNAVAILABLE_FOR_A_TIME) as server, topic(stack.settings.kafka, "unavailable") as published:
        environment = {
            "WEBSOCKET_URL": f"{server.url}?since=0",
            "KAFKA_TOPIC": published.name,
            "KAFKA_REJECTED_TOPIC": published.rejected_name,
            "MAX_SILENCE_SECONDS": "3",
        }
        identity = stack.submit("collector_stream", environment)
        try:
            await_value(lambda: any(post["text"] == f"post {LAST}" for post in published.posts()), "the last post", 90)
            await_value(
                lambda: stack.flink.metric(identity, "collector_silences"),
                "the time without messages to be counted",
                30,
            )
            assert stack.flink.metric(identity, "collector_gaps") == 0
        finally:
            stack.flink.cancel(identity)
        assert numbers(published.posts()) == list(range(1, LAST + 1))
        assert published.rejections() == []
    without_messages, busy, limited, *_ = server.peers
    resumed = f"/?format=json&since={LAST // 2}"
    assert [peer.path for peer in server.peers[1:6]] == [resumed, resumed, resumed, "/?since=0&format=json", resumed]
    assert without_messages.ended_at is not None
    assert without_messages.ended_at - without_messages.asked_at > 3
    assert limited.asked_at - busy.asked_at > 2


def test_two_connections_read_each_post_once(stack: Stack) -> None:
    with topic(stack.settings.kafka, "sharded") as published:
        environment = {"KAFKA_TOPIC": published.name, "KAFKA_REJECTED_TOPIC": published.rejected_name}
        identity = stack.submit("collector_stream", environment, parallelism=2)
        try:
            await_value(lambda: len(published.posts()) > 12 * RATE, "twelve seconds of posts", 60)
            found = numbers(published.posts())
        finally:
            stack.flink.cancel(identity)
    # The shards do not begin at the same time. Kafka commits a transaction partition by partition.
    shards = [[number for number in found if number % 2 == shard] for shard in (0, 1)]
    first, last = max(shard[0] for shard in shards), min(shard[-1] for shard in shards) - 4 * int(RATE)
    assert last - first > 3 * RATE
    assert_complete([number for number in found if first <= number <= last], last)
