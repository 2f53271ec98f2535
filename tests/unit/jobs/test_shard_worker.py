"""One shard: its memory while Flink takes no batch, as without Kafka, and what it says of the feed."""

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.feeds.model import Shard
from jobs.kafka_topic import Partitions
from jobs.records import Batch, FeedState, Record
from jobs.settings import read_collector_settings
from jobs.shard_worker import Result, Results, ShardWorker, size_of
from tests.support.waiting import await_value
from tests.unit.jobs.hostile_server import HostileServer, Peer, Script, closing, in_turn, quiet, refusing, sending

MEBIBYTE = 1_048_576
FIRST = FeedState()
MAX_FRAME = 524_288
# What comes on top of the buffer and of the queue: a batch in the making, and what is on its way at either end.
MARGIN = 32 * MEBIBYTE


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Gives the bytes that Python has allocated since the test began; the server's few are among them."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


class NoMetrics:
    def gauge(self, name: str, value: Callable[[], object]) -> None:
        pass


def start(url: str, progress: FeedState = FIRST, begin_live: bool = False, **environment: str) -> ShardWorker:
    settings = read_collector_settings({"WEBSOCKET_URL": url, **environment})
    partitions = cast(Partitions, SimpleNamespace(count=4, stop=lambda: None))
    return ShardWorker(settings, Shard(), progress, partitions, NoMetrics(), begin_live=begin_live)


def batches(worker: ShardWorker) -> Iterator[list[str]]:
    """The ids of the posts of each batch that comes, without end."""
    while True:
        taken = await_value(worker.next_batch, "the next batch", 10, every=0.01)
        yield [key for key, value in taken[0].posts if json.loads(value)["text"] is not None]


@pytest.mark.parametrize("letter", ["x", "\U0001f602"], ids=["ASCII", "one character of four bytes"])
def test_memory_is_bounded_while_nothing_is_taken_and_nothing_is_lost(letter: str, traced: Callable[[], int]) -> None:
    most, count = 8 * MEBIBYTE, 160
    filling = "x" * (MAX_FRAME - 200) + letter

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(count):
            frame = {"seq": number, "timestamp": int(time.time() * 1000), "text": filling, "feed": "a"}
            await peer.send(json.dumps(frame, ensure_ascii=False))

    with HostileServer(script) as server:
        worker = start(server.url, MAX_FRAME_BYTES=str(MAX_FRAME), BUFFER_BYTES=str(most))
        try:
            await_value(lambda: traced() > 1.5 * most, "the buffer and the queue to be filled", 20, every=0.01)
            await_blocked(server.peers[0], lambda: traced() < 2 * most + MARGIN)
            assert server.peers[0].sent < count
            coming, found = batches(worker), list[str]()
            while len(found) < count:
                batch = next(coming)
                assert len(batch) <= 3, "a batch of more than about a mebibyte of frames"
                found += batch
            assert found == [f"simulator-a-{number}" for number in range(count)]
        finally:
            worker.stop()


def await_blocked(peer: Peer, bounded: Callable[[], bool]) -> None:
    """Wait until the server has sent nothing for half a second, while `bounded` holds."""
    sent, since = peer.sent, time.monotonic()
    while time.monotonic() - since < 0.5:
        assert bounded()
        if peer.sent != sent:
            sent, since = peer.sent, time.monotonic()
        time.sleep(0.01)


def result(size: int) -> Result:
    return Result(Batch(), FeedState(), size)


@pytest.mark.parametrize(("sizes", "fit"), [([1] * 9, 3), ([50] * 9, 2), ([99, 1, 1], 2), ([1_000, 1], 1)])
def test_results_wait_up_to_a_number_and_a_number_of_bytes(sizes: list[int], fit: int) -> None:
    results = Results(3, 100)
    for size in sizes[:fit]:
        assert not results.full()
        results.put_nowait(result(size))
    assert results.full()
    assert [results.get_nowait().size for _ in range(fit)] == sizes[:fit]
    assert results.empty()
    assert not results.full()


FOUR = "\U0001f602"
BATCHES: dict[str, Callable[[], Any]] = {
    "posts": lambda: (Batch(posts=[Record(f"a-{n}", f'{n}"text"'.encode() * 10) for n in range(500)]), FeedState()),
    "long": lambda: (Batch(posts=[Record(f"a-{n}", b"%d" % n * 10_000) for n in range(20)]), FeedState()),
    "emoji": lambda: (
        Batch(posts=[Record(f"a-{n}", (f"{n}" * 10_000 + FOUR).encode()) for n in range(20)]),
        FeedState(),
    ),
    "rejected": lambda: (Batch(rejected=[Record(f"a-{n}", b"%d" % n * 99) for n in range(500)]), FeedState()),
    "ids": lambda: (Batch(), FeedState(recent=tuple((n, "a") for n in range(100_000, 110_000)))),
    "empty": lambda: (Batch(), FeedState()),
}


@pytest.mark.parametrize("make", BATCHES.values(), ids=BATCHES)
def test_the_size_is_about_the_memory_that_is_held(make: Callable[[], Any], traced: Callable[[], int]) -> None:
    make()
    before = traced()
    held = make()
    assert traced() - before <= size_of(*held) < 1.5 * (traced() - before) + 1_000


# What happened to the feed: the records of `tweets.events`, and `stopped`.

NOW = 1_767_225_600_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.websocket_reader.PING_SECONDS", 0.02)


class Observed:
    """A worker, and everything that it has emitted."""

    def __init__(self, worker: ShardWorker) -> None:
        self.worker = worker
        self.batch = Batch()
        self.progress = FeedState()

    def take(self) -> "Observed":
        while (taken := self.worker.next_batch()) is not None:
            self.batch.add(taken[0])
            self.progress = taken[1]
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.take().batch.events]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    def until(self, name: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until so many events have that name; returns all events."""
        await_value(lambda: self.names.count(name) >= times, f"{name} in {self.names}", 10, every=0.01)
        return self.events


@contextlib.contextmanager
def observed(script: Script, state: FeedState = FIRST, **environment: Any) -> Iterator[tuple[Observed, HostileServer]]:
    with HostileServer(script) as server:
        worker = start(server.url, state, **environment)
        try:
            yield Observed(worker), server
        finally:
            worker.stop()


def post(number: int, **fields: object) -> str:
    return json.dumps({"seq": number, "timestamp": NOW, "text": f"post {number}", "feed": "a", **fields})


def test_the_events_of_a_feed_that_begins_and_resumes() -> None:
    script = in_turn(closing(1001, post(1), post(2)), sending(post(3)))
    with observed(script) as (worker, server):
        events = worker.until("resumed")
    assert [event.pop("time") > NOW for event in events] == [True] * 4
    common = {"source": "simulator", "shard": "0/1"}
    shown = f"{server.url}?format=json"
    assert events == [
        {"event": "started", **common, "server": "", "guarantee": "exactly once"},
        {"event": "connected", **common, "server": shown},
        {"event": "disconnected", **common, "server": server.url, "reason": events[2]["reason"]},
        {"event": "resumed", **common, "server": f"{shown}&since=2&feed=a", "position": "a/2"},
    ]
    assert events[2]["reason"].startswith("closed: received 1001")
    assert {record.key for record in worker.batch.events} == {"simulator"}


def test_the_events_of_a_feed_that_lost_something() -> None:
    state = FeedState("simulator", "a", 5, NOW, NOW)
    script = in_turn(closing(1001, post(9, timestamp=NOW + 8_001), post(10)), quiet)
    with observed(script, state) as (worker, _):
        events = worker.until("lost")
    assert (events[0]["event"], events[0]["position"]) == ("started", "a/5")
    (lost,) = [event for event in events if event["event"] == "lost"]
    details = {name: lost[name] for name in ("numbering", "first", "last", "lost", "rejected", "seconds", "why")}
    expected = {"numbering": "a", "first": 6, "last": 8, "lost": 3, "rejected": 0, "seconds": 9}
    assert details == {**expected, "why": "the server no longer has them"}
    assert lost["server"].startswith("ws://127.0.0.1:")
    # The same is in the topic of rejections, for the audit.
    (rejected,) = [json.loads(record.value) for record in worker.batch.rejected]
    assert (rejected["code"], rejected["time"], rejected["server"]) == ("lost", lost["time"], lost["server"])


def test_a_live_start_reports_what_it_skips() -> None:
    state = FeedState("simulator", "a", 5, NOW, NOW)
    with observed(sending(post(9), post(10)), state, begin_live=True) as (worker, server):
        events = worker.until("lost")
    assert [event["event"] for event in events[:2]] == ["started", "connected"]
    assert "position" not in events[0]
    assert server.peers[0].path == "/?format=json"
    assert events[2]["why"] == "the collector began live"


def test_the_event_of_a_silent_server() -> None:
    with observed(sending(post(1)), MAX_SILENCE_SECONDS="1") as (worker, _):
        events = worker.until("silent")
    assert events[2]["reason"] == "no frame for 1 s although it answers pings"


def test_the_event_of_a_refusal() -> None:
    with observed(refusing(401, "who are you?")) as (worker, server):
        events = worker.until("refused")
        await_value(lambda: worker.worker.reader.refused, "the end of the asking", 5, every=0.01)
    assert [event["event"] for event in events] == ["started", "refused"]
    assert (events[1]["server"], events[1]["reason"]) == (server.url, "refused with HTTP 401 who are you?")


def test_the_event_of_stamps_that_were_replaced() -> None:
    ahead = [post(number, timestamp=NOW + 10**11) for number in range(1, 4)]
    with observed(sending(*ahead)) as (worker, _):
        events = worker.until("clamped")
    assert 1 <= events[2]["posts"] <= 3


def rejecting(count: int) -> list[str]:
    return ["{}"] * count


def test_a_worker_that_rejects_nearly_everything_stops_and_says_why() -> None:
    with observed(sending(post(1), *rejecting(1_500))) as (worker, server):
        events = worker.until("stopped")
        await_value(lambda: worker.worker.reader.refused, "the end of the asking", 5, every=0.01)
        assert len(worker.until("refused")) == len(events) + ("refused" not in [each["event"] for each in events])
        assert len(server.peers) == 1
        assert len(worker.take().batch.rejected) >= 1_000
    (stopped,) = [event for event in events if event["event"] == "stopped"]
    assert "MAX_REJECTED_SHARE" in stopped["reason"]
    assert stopped["server"].startswith("ws://127.0.0.1:")


def test_a_worker_stops_when_the_server_has_hung_up_already() -> None:
    with observed(closing(1001, *rejecting(1_000))) as (worker, server):
        worker.until("stopped")
        await_value(lambda: worker.worker.reader.refused, "the end of the asking", 5, every=0.01)
        assert len(server.peers) == 1


@pytest.mark.parametrize("share", ["1", "0.95"])
def test_a_worker_goes_on_below_the_limit(share: str) -> None:
    frames = [frame for number in range(100) for frame in (post(number), *rejecting(15))]
    with observed(sending(*frames, post(1_000, feed="b"), post(1_001, feed="b")), MAX_REJECTED_SHARE=share) as (
        worker,
        _,
    ):
        await_value(lambda: "b/1001" in str(worker.take().batch.posts), "the last post", 10, every=0.01)
        assert "stopped" not in worker.names


MANY = """
name: many
frames: {each: items}
post: {id: "{id}", text: text}
"""


def test_the_parts_of_frames_count_as_frames(tmp_path: Path) -> None:
    """Each frame has a bad part among ten: a tenth is rejected, and not everything."""
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    frames = [
        json.dumps({"items": [{"id": f"{number}-{part}", "text": "x" if part else 7} for part in range(10)]})
        for number in range(1_200)
    ]
    with observed(sending(*frames), FEED=str(path)) as (worker, _):
        await_value(lambda: "1199-9" in str(worker.take().batch.posts[-1:]), "the last post", 20, every=0.05)
        assert "stopped" not in worker.names
        assert len(worker.batch.rejected) == 1_200


def test_the_server_of_a_rejection_is_the_one_that_sent_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(f"{peer.number}")  # in one piece with the handshake
        await peer.close(1001)

    with HostileServer(script) as first, HostileServer(script) as second:
        worker = Observed(start(f"{first.url},{second.url}"))
        try:
            await_value(lambda: len(worker.take().batch.rejected) >= 4, "rejections", 10, every=0.01)
        finally:
            worker.worker.stop()
    servers = [json.loads(record.value)["server"] for record in worker.batch.rejected]
    assert servers[:4] == [f"{server.url}?format=json" for server in (first, second)] * 2


def test_a_feed_that_cannot_resume_knows_until_when_it_was_connected() -> None:
    with observed(in_turn(sending("a")), FEED="text") as (worker, _):
        await_value(lambda: worker.take().batch.posts, "the post", 10, every=0.01)
        seen = worker.progress.seen
        await_value(lambda: worker.take().progress.seen > seen + 500, "a later time", 10, every=0.05)
