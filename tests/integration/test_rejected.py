"""`make rejected` on a broker: each post once, also when a run is killed, or when two run at the same time."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer

from jobs.audit.kafka_reader import UnreachableError
from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.partitioning import partition_of
from jobs.records import is_marker
from jobs.rejected import __main__ as command
from jobs.rejected import kafka_broker, work
from local.settings import REPOSITORY
from local.stack import JOBS, Stack
from tests.support.stored import documents
from tests.support.topics import Topic, topic
from tests.support.waiting import await_value
from tests.unit.jobs.hostile_server import HostileServer, Peer

COUNT = 40
RATE = 50
SECONDS = 30
STARTED_MS = int(time.time() * 1000)
EXPECTED = sorted(f"post {number}" for number in range(COUNT))


@pytest.fixture
def published(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Topic]:
    """A topic with a heartbeat in each partition and COUNT rejections, which the simulator's mapping takes today."""
    name = f"rejected-{request.node.name.replace('_', '-')}"
    with topic(stack.settings.kafka, name) as published:
        for partition in range(TWEETS_PARTITIONS):
            published.publish([heartbeat(partition)], partition)
        with contextlib.closing(KafkaProducer(bootstrap_servers=stack.settings.kafka)) as producer:
            for number in range(COUNT):
                producer.send(published.rejected_name, rejection(number), b"simulator")
            producer.flush(timeout=60)
        yield published


def heartbeat(partition: int) -> bytes:
    value = {"id": f"heartbeat-{partition}", "text": None, "timestamp": STARTED_MS - 10_000 - partition}
    return json.dumps({**value, "source": "simulator", "position": "f/900", "shard": "0/1"}).encode()


def rejection(number: int, code: str = "bad_text") -> bytes:
    post = {"seq": number, "feed": "f", "text": f"post {number}", "timestamp": STARTED_MS - 60_000}
    frame = json.dumps(post).encode()
    value = {"code": code, "reason": "text is not a string", "source": "simulator", "server": "ws://a", "bytes": 9}
    value |= {"time": STARTED_MS, "position": None, "record": frame.decode(), "frame": b64encode(frame).decode()}
    return json.dumps(value).encode()


def environment(published: Topic, **asked: str) -> dict[str, str]:
    topics = {"KAFKA_TOPIC": published.name, "KAFKA_REJECTED_TOPIC": published.rejected_name}
    return {"KAFKA_BOOTSTRAP_SERVERS": published.bootstrap, **topics, **asked}


def run(published: Topic, **asked: str) -> list[str]:
    return list(command.run(environment(published, **asked)))


def start(published: Topic, **asked: str) -> "subprocess.Popen[str]":
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.rejected"],
        cwd=REPOSITORY,
        env={**os.environ, **environment(published, **asked)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def texts(published: Topic) -> list[str]:
    return sorted(each["text"] for each in published.posts())


def test_a_replay_writes_each_post_once(published: Topic, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(published)
    assert lines[0].startswith(f"topic {published.rejected_name}: {COUNT} rejections are neither")
    assert "  replay: make rejected REPLAY=bad_text" in lines
    assert lines[-2] == "to see one completely: make rejected SHOW=0/0"
    assert run(published, SHOW="0/3")[-1] == json.loads(rejection(3))["record"]
    assert run(published, REPLAY="not_json") == ["nothing to do"]
    assert run(published, REPLAY="bad_text") == [f"{COUNT} rejections were replayed as {COUNT} posts"]
    assert run(published, REPLAY="all") == ["nothing to do"]
    assert texts(published) == EXPECTED
    for post in published.posts():
        partition = partition_of(post["id"], TWEETS_PARTITIONS)
        # The event time is the newest of the partition: it neither is late nor closes a window.
        assert post["timestamp"] == STARTED_MS - 10_000 - partition
        assert post["stamp"] == STARTED_MS - 60_000
        assert "position" not in post
    assert run(published)[0].endswith(f"{COUNT} were replayed as {COUNT} posts, 0 were discarded")
    assert command.main(environment(published, SHOW="0/100000")) == 2
    assert "holds no rejection there" in capsys.readouterr().err


def test_discarded_rejections_are_not_replayed(published: Topic) -> None:
    assert run(published, DISCARD="bad_text") == [f"{COUNT} rejections were discarded"]
    assert run(published, DISCARD="all") == run(published, REPLAY="all") == ["nothing to do"]
    assert texts(published) == []
    markers = [each for each in published.rejections() if is_marker(each)]
    assert [(each["code"], len(each["of"])) for each in markers] == [("discarded", COUNT)]


def test_a_killed_run_leaves_both_halves_or_none(published: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "BATCH_REJECTIONS", 10)

    class Killed(BaseException):
        """The end of the process: nothing is cleaned up, so the transaction stays open."""

    commits = 0

    def commit(producer: KafkaProducer) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            raise Killed
        original(producer)

    original = KafkaProducer.commit_transaction
    monkeypatch.setattr(KafkaProducer, "commit_transaction", commit)
    with pytest.raises(Killed):
        run(published, REPLAY="all")
    # The third transaction is open: its posts are in the log, and no reader of committed records sees them.
    assert len(texts(published)) == 20
    began = time.monotonic()
    assert run(published, REPLAY="all") == ["20 rejections were replayed as 20 posts"]
    assert time.monotonic() - began < kafka_broker.TRANSACTION_TIMEOUT_MS / 1000, "it did not wait for a timeout"
    assert texts(published) == EXPECTED


def test_a_process_that_is_killed_at_any_time(published: Topic) -> None:
    for seconds in (1.0, 1.5, 2.0, 2.5):
        process = start(published, REPLAY="all")
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=SECONDS)
    run(published, REPLAY="all")
    assert texts(published) == EXPECTED


def test_runs_at_the_same_time_write_each_post_once(published: Topic) -> None:
    processes = [start(published, REPLAY="all") for _ in range(3)]
    outputs = [process.communicate(timeout=4 * SECONDS) for process in processes]
    statuses = [process.returncode for process in processes]
    assert set(statuses) <= {0, 2}, outputs
    assert 0 in statuses, outputs
    for status, (_, errors) in zip(statuses, outputs, strict=True):
        assert status == 0 or "another run of this command has begun" in errors, errors
    assert texts(published) == EXPECTED


def test_a_run_that_another_one_overtakes_commits_nothing(published: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    overtaking: list[list[str]] = []

    def commit(producer: KafkaProducer) -> None:
        if not overtaking:
            overtaking.append([])
            overtaking[0] = run(published, REPLAY="all")
        original(producer)

    original = KafkaProducer.commit_transaction
    monkeypatch.setattr(KafkaProducer, "commit_transaction", commit)
    with pytest.raises(UnreachableError, match="another run of this command has begun"):
        run(published, REPLAY="all")
    assert overtaking == [[f"{COUNT} rejections were replayed as {COUNT} posts"]]
    assert texts(published) == EXPECTED


def test_markers_behind_an_open_transaction_are_seen(published: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector nearly always has a transaction open, and readers of committed records see nothing behind it."""
    collector = Producer({"bootstrap.servers": published.bootstrap, "transactional.id": f"{published.name}-collector"})
    collector.init_transactions(SECONDS)
    collector.begin_transaction()
    collector.produce(published.rejected_name, rejection(COUNT), partition=0)
    collector.produce(published.name, rejection_as_post(1), partition=0)
    assert collector.flush(SECONDS) == 0
    monkeypatch.setattr(kafka_broker, "SETTLE_SECONDS", 1)
    with pytest.raises(UnreachableError, match="has a transaction that stays open"):
        run(published, REPLAY="all")
    monkeypatch.setattr(kafka_broker, "SETTLE_SECONDS", 60)
    process = start(published, REPLAY="all")
    await_value(lambda: process.poll() is None or None, "the run to begin", SECONDS)
    time.sleep(3)
    collector.commit_transaction(SECONDS)
    output, errors = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 0, errors
    # It also sees the post in that transaction.
    assert output.splitlines() == [
        f"{COUNT + 1} rejections were replayed as {COUNT} posts",
        "  1 more posts were in the topic already: the feed had sent them again",
    ]
    assert sorted(set(texts(published))) == texts(published)
    assert len(texts(published)) == COUNT + 1


def rejection_as_post(number: int) -> bytes:
    post = {"id": f"simulator-f-{number}", "text": f"post {number}", "timestamp": STARTED_MS, "source": "simulator"}
    return json.dumps(post).encode()


def test_ctrl_c_ends_the_transaction(published: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: KafkaProducer) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KafkaProducer, "commit_transaction", interrupted)
        assert command.main(environment(published, REPLAY="all")) == 130
    # Nothing is open: a record behind is visible at once.
    published.publish([rejection_as_post(1_000)])
    assert texts(published) == ["post 1000"]
    assert all(not is_marker(each) for each in published.rejections())


class Feed:
    """Sends numbered posts, RATE a second. The text of every tenth one is malformed for the preset `simulator`."""

    def __init__(self) -> None:
        self.ended = False
        self.frames: list[str] = []
        self._began = time.time()

    def create_due_posts(self) -> None:
        while not self.ended and len(self.frames) < (time.time() - self._began) * RATE:
            number = len(self.frames) + 1
            text: object = 7 if number % 10 == 0 else f"post {number}"
            frame = {"feed": "f", "seq": number, "timestamp": int(time.time() * 1000), "text": text}
            self.frames.append(json.dumps({**frame, "body": f"post {number}"}))

    async def serve(self, peer: Peer) -> None:
        sent = int(parse_qs(urlsplit(peer.path).query).get("since", ["0"])[0])
        await peer.accept()
        while True:
            self.create_due_posts()
            while sent < len(self.frames):
                await peer.send(self.frames[sent])
                sent += 1
            await asyncio.sleep(0.02)


def test_the_audit_balances_before_between_and_after_replays(stack: Stack, tmp_path: Path) -> None:
    kafka, name, corrected = stack.settings.kafka, "rejected-pipeline", tmp_path / "feed.yaml"
    preset = (REPOSITORY / "jobs" / "feeds" / "presets" / "simulator.yaml").read_text()
    corrected.write_text(preset.replace("text: text", "text: body"))
    feed = Feed()
    with HostileServer(feed.serve) as server, topic(kafka, name) as published, topic(kafka, f"{name}-events") as events:
        settings = {
            **environment(published),
            "WEBSOCKET_URL": server.url,
            "KAFKA_EVENTS_TOPIC": events.name,
            "MONGODB_COLLECTION": name,
        }

        def audited() -> str:
            """The output of the audit, which must balance."""
            result = subprocess.run(
                [sys.executable, "-m", "jobs.audit"],
                cwd=REPOSITORY,
                env={**os.environ, **stack.job_environment(), **settings},
                capture_output=True,
                text=True,
                check=False,
                timeout=180,
            )
            assert result.returncode == 0, result.stdout + result.stderr
            return result.stdout

        def rejected() -> list[str]:
            return [each["code"] for each in published.rejections()]

        for job in JOBS:
            stack.submit(job, settings)
        try:
            await_value(lambda: rejected().count("bad_text") >= 20, "rejections", 90)
            assert "discarded" not in audited()
            run(published, REPLAY="all", FEED=str(corrected))
            assert "replayed as" in audited()
            replayed = [each for each in published.posts() if "replayed" in each]
            assert len(replayed) >= 20
            # A collector without state resumes behind the replayed posts as if they were not there.
            identity = stack.jobs["collector_stream"]
            stack.flink.cancel(identity)
            await_value(lambda: stack.flink.state(identity) == "CANCELED", "the collector to be cancelled", 60)
            before = len(feed.frames)
            stack.submit("collector_stream", {**settings, "FEED": str(corrected)})
            await_value(lambda: len(published.posts()) > before, "posts of the corrected mapping", 60)
            feed.ended = True
            expected = sorted(f"post {number}" for number in range(1, len(feed.frames) + 1))
            still_open = rejected().count("bad_text") - len(replayed)
            await_value(lambda: len(published.posts()) >= len(expected) - still_open, "the last posts", 60)
            run(published, REPLAY="all", FEED=str(corrected))
            assert texts(published) == expected
            run(published, DISCARD="all", FEED=str(corrected))
            await_value(lambda: stored(stack, name) == expected, "each post in a document", 90)
            output = audited()
            assert "LOST" not in output
            # The collector without state reads again what follows the last post: a rejected one is collected now.
            collected = {each["text"] for each in published.posts() if "replayed" not in each}
            bad = [json.loads(each["record"])["body"] for each in published.rejections() if each["code"] == "bad_text"]
            assert f"{sum(text not in collected for text in bad)} rejected + 0 lost" in output
            assert run(published)[0].split(": ")[1].startswith("0 rejections")
        finally:
            for job in JOBS:
                stack.flink.cancel(stack.jobs[job])


def stored(stack: Stack, collection: str) -> list[str]:
    found = documents(stack.settings.store_uri, DATABASE, collection)
    return sorted(text for chunks in found.values() for chunk in chunks for text in chunk["content"])
