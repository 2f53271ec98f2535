"""The aggregation job on Kafka, Flink and the document store. The tests publish the records of the topic.

The tests share one job and run in order. Each test uses windows of its own, later than those of the tests before.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import requests

from jobs.counters import Counters
from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.documents import document_key
from local.stack import Stack
from local.store import client
from tests.support.dropped import assert_nothing_was_dropped
from tests.support.stored import documents
from tests.support.topics import Topic, topic
from tests.support.waiting import await_value

WINDOW_MS = 20_000
REFRESH_SECONDS = 1
LATENESS_MS = 2 * WINDOW_MS
DOCUMENT_LIMIT = 16 * 1024 * 1024
IDS = count()


@dataclass
class Aggregator:
    """The running job. window: the number of the window that a test fills."""

    stack: Stack
    topic: Topic
    collection: str
    window: int = field(default_factory=lambda: int(time.time() * 1000) // WINDOW_MS - 1_000)

    def next_window(self) -> None:
        self.window += 10

    def post(self, text: str, offset_ms: int = 0, **fields: Any) -> bytes:
        """A record of the current window."""
        record = {
            "id": f"test-{next(IDS)}",
            "text": text,
            "timestamp": self.window * WINDOW_MS + offset_ms,
            "source": "test",
        }
        return json.dumps(record | fields).encode()

    def close_window(self, windows_later: float = 3) -> None:
        """Advance the event time of every partition beyond the end of the window."""
        for partition in range(TWEETS_PARTITIONS):
            self.advance(partition, windows_later)

    def advance(self, partition: int, windows: float) -> None:
        """Advance the event time of a partition to so many windows after the start of the current one."""
        timestamp = int((self.window + windows) * WINDOW_MS)
        heartbeat = {"id": "heartbeat-x", "text": None, "timestamp": timestamp, "source": "test"}
        self.topic.publish([json.dumps(heartbeat).encode()], partition)

    def documents(self) -> list[dict[str, Any]]:
        return documents(self.stack.settings.store_uri, DATABASE, self.collection).get(self.end, [])

    def await_document(self, seconds: float = 40) -> dict[str, Any]:
        return await_value(self.documents, f"the document of the window that ends at {self.end}", seconds)[0]

    @property
    def end(self) -> str:
        return iso((self.window + 1) * WINDOW_MS)

    def key(self, chunk: int) -> str:
        return document_key(self.topic.name, iso(self.window * WINDOW_MS), self.end, chunk)

    def run(self, savepoint: str | None = None, parallelism: int = 1, **settings: object) -> None:
        """Submit the job, after the end of one that still runs. These settings override the usual ones."""
        if self.is_running:
            self.cancel()
        variables = environment(self) | {name: str(value) for name, value in settings.items()}
        self.stack.submit("aggregator_stream", variables, parallelism, savepoint)

    @property
    def is_running(self) -> bool:
        """Whether the job of the last submission runs, for example because the test before this one has failed."""
        job = self.stack.jobs.get("aggregator_stream")
        return job is not None and self.stack.flink.state(job) == "RUNNING"

    def cancel(self) -> None:
        job = self.stack.jobs["aggregator_stream"]
        self.stack.flink.cancel(job)
        # FINISHED: it was stopped with a savepoint just before.
        await_value(lambda: self.stack.flink.state(job) in ("CANCELED", "FINISHED"), "the job to be cancelled", 60)

    def stop(self) -> str:
        """Stop the job; returns its savepoint."""
        return self.stack.flink.stop_with_savepoint(self.stack.jobs["aggregator_stream"])

    def kill_taskmanager(self) -> None:
        """Kill it after a checkpoint that includes all published records, and wait until the job runs again."""
        stack, job = self.stack, self.stack.jobs["aggregator_stream"]
        self.await_checkpoint()
        stack.flink.taskmanager.kill()
        await_value(lambda: not stack.flink.all_running(job), "Flink to notice the loss", 60)
        stack.flink.taskmanager.start()
        await_value(lambda: stack.flink.all_running(job), "the job to run again", 90)

    def await_checkpoint(self) -> None:
        """Wait for two more checkpoints. The first one may have begun before the call."""
        stack, job = self.stack, self.stack.jobs["aggregator_stream"]

        def completed() -> int:
            return int(stack.flink.checkpoints(job).get("counts", {}).get("completed", 0))

        before = completed()
        await_value(lambda: completed() >= before + 2, "two checkpoints", 60)

    def contents(self) -> dict[str, list[str]]:
        """The sorted texts of each document by its key."""
        found = documents(self.stack.settings.store_uri, DATABASE, self.collection)
        return {chunk["hash"]: sorted(chunk["content"]) for chunks in found.values() for chunk in chunks}


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_fault(stack: Stack, fault: str) -> None:
    """Set the fault of the Worldometers stub."""
    url = f"http://127.0.0.1:{stack.settings.ports.worldometers}/fault"
    requests.put(url, data=fault, timeout=5).raise_for_status()


def switch_page(stack: Stack, fault: str) -> None:
    """Set the fault of the stub, and wait until the job's counters are so old that it fetches the page again."""
    set_fault(stack, fault)
    stale_at = time.monotonic() + REFRESH_SECONDS
    await_value(
        lambda: time.monotonic() > stale_at, "the age at which the job fetches the page again", REFRESH_SECONDS + 1
    )


@pytest.fixture(scope="module")
def aggregator(stack: Stack) -> Iterator[Aggregator]:
    set_fault(stack, "error")
    with topic(stack.settings.kafka, "aggregated") as records:
        running = Aggregator(stack, records, "aggregated")
        running.run()
        yield running
        if running.is_running:
            running.cancel()
        set_fault(stack, "none")


def environment(aggregator: Aggregator) -> dict[str, str]:
    return {
        "KAFKA_TOPIC": aggregator.topic.name,
        "KAFKA_REJECTED_TOPIC": aggregator.topic.rejected_name,
        "MONGODB_COLLECTION": aggregator.collection,
        "WINDOW_SECONDS": str(WINDOW_MS // 1000),
        "WORLDOMETERS_REFRESH_SECONDS": str(REFRESH_SECONDS),
        "CHECKPOINT_SECONDS": "1",
        "ALLOWED_LATENESS_SECONDS": str(LATENESS_MS // 1000),
    }


def values_of(document: dict[str, Any]) -> list[int | None]:
    return [document[name] for name in Counters._fields]


def test_without_any_valid_page_documents_have_no_counters(aggregator: Aggregator) -> None:
    aggregator.next_window()
    aggregator.topic.publish([aggregator.post("unenriched")])
    aggregator.close_window()
    document = aggregator.await_document()
    assert document["content"] == ["unenriched"]
    assert values_of(document) == [None] * 8


def test_a_window_is_one_document_with_the_columns_of_the_table(aggregator: Aggregator) -> None:
    switch_page(aggregator.stack, "none")
    aggregator.next_window()
    for partition in range(TWEETS_PARTITIONS):
        aggregator.topic.publish([aggregator.post(f"text {partition}", 0), aggregator.post("end", 19_999)], partition)
    aggregator.topic.publish([aggregator.post("the next window's", 20_000)])
    aggregator.close_window()
    document = aggregator.await_document()
    assert set(document) == {"_id", "hash", "content", "timestamp", *Counters._fields}
    assert sorted(document["content"]) == sorted(["end"] * 4 + [f"text {n}" for n in range(4)])
    assert document["hash"] == document["_id"] == aggregator.key(0)
    assert document["timestamp"] == aggregator.end
    assert all(isinstance(value, int) for value in values_of(document))
    assert (document["total_cases_count"] or 0) > 100_000_000
    aggregator.window += 1
    assert aggregator.await_document()["content"] == ["the next window's"]


@pytest.mark.parametrize("fault", ["layout", "garbage", "error", "slow"])
def test_the_last_valid_counters_are_used_while_the_page_is_invalid(aggregator: Aggregator, fault: str) -> None:
    aggregator.next_window()
    switch_page(aggregator.stack, fault)
    try:
        aggregator.topic.publish([aggregator.post(fault)])
        aggregator.close_window()
        document = aggregator.await_document()
    finally:
        set_fault(aggregator.stack, "none")
    assert document["content"] == [fault]
    assert all(isinstance(value, int) for value in values_of(document))


MALFORMED: dict[str, tuple[bytes | None, str]] = {
    "no JSON": (b"hello", "not a JSON object"),
    "empty": (b"", "not a JSON object"),
    "tombstone": (None, "not a JSON object"),
    "cut": (b'{"id": "x", "text": "cu', "not a JSON object"),
    "not UTF-8": (b"\xff\xfe{", "not a JSON object"),
    "text is not UTF-8": (b'{"id": "x", "text": "y\xff", "timestamp": 1, "source": "s"}', "not a JSON object"),
    "like the collector's, not UTF-8": (
        b'{"id":"x","text":"y\xff","timestamp":1,"source":"s","position":"1"}',
        "not a JSON object",
    ),
    # Flink ignores what follows the object. These are posts of 1970.
    "two objects": (b'{"id": "x", "text": "y", "timestamp": 1, "source": "s"} {}', "late"),
    "a word after the object": (b'{"id":"x","text":"y","timestamp":1,"source":"s","position":"1"}x', "late"),
    "number": (b"42", "not a JSON object"),
    "array": (b'["id"]', "not a JSON object"),
    "array of posts": (b'[{"id": "x", "text": "y", "timestamp": 1, "source": "z"}]', "not a JSON object"),
    "deep and open": (b'{"a":' * 50_000, "not a JSON object"),
    "deep": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "no id"),
    "no id": (b'{"text": "x", "timestamp": 1, "source": "s"}', "no id"),
    "no text": (b'{"id": "x", "timestamp": 1, "source": "s"}', "no text"),
    "no timestamp": (b'{"id": "x", "text": "y", "source": "s"}', "no timestamp"),
    "no source": (b'{"id": "x", "text": "y", "timestamp": 1}', "no source"),
    "timestamp is text": (b'{"id": "x", "text": "y", "timestamp": "soon", "source": "s"}', "no timestamp"),
    "timestamp is an array": (b'{"id": "x", "text": "y", "timestamp": [], "source": "s"}', "timestamp is an array"),
    # Flink's JSON format reads nothing behind the inner object.
    "timestamp is an object": (b'{"id": "x", "text": "y", "timestamp": {}, "source": "s"}', "no source"),
    "deep arrays": (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "no id"),
    "negative time": (
        b'{"id": "x", "text": "y", "timestamp": -1, "source": "s"}',
        "timestamp negative or ahead of the clock",
    ),
    "far future": (
        b'{"id": "x", "text": "y", "timestamp": 253402300799999, "source": "s"}',
        "timestamp negative or ahead of the clock",
    ),
}


def test_a_malformed_record_is_rejected_with_its_reason_and_no_other_record_is_lost(aggregator: Aggregator) -> None:
    aggregator.next_window()
    before = len(aggregator.topic.rejections())
    # No JSON, but Flink reads it: a post, and so no rejection.
    with_control_characters = aggregator.post("-").replace(b'"-"', b'"\ttab, \x01"')
    # Both characters are searched for, since records of other kinds have them.
    unusual = "\N{REPLACEMENT CHARACTER} [1]"
    with_unusual_characters = aggregator.post("-").replace(b'"-"', f'"{unusual}"'.encode())
    with_mark = b"\xef\xbb\xbf" + aggregator.post("byte order mark")
    posts = [aggregator.post("before"), with_control_characters, with_unusual_characters, with_mark]
    aggregator.topic.publish([*posts, *(value for value, _ in MALFORMED.values())])
    aggregator.topic.publish([aggregator.post("after")])
    aggregator.close_window()
    texts = ["\ttab, \x01", "after", "before", "byte order mark", unusual]
    assert sorted(aggregator.await_document()["content"]) == texts
    expected = sorted(reason for _, reason in MALFORMED.values())
    await_value(lambda: len(aggregator.topic.rejections()) >= before + len(expected), "all rejections", 30)
    found = aggregator.topic.rejections()[before:]
    assert sorted(rejection["reason"] for rejection in found) == expected
    assert all(set(rejection) == {"reason", "source", "record", "bytes"} for rejection in found)
    assert "hello" in [rejection["record"] for rejection in found]


def stored_texts(aggregator: Aggregator) -> list[str]:
    """All texts of the current window, sorted."""
    return sorted(text for chunk in aggregator.documents() for text in chunk["content"])


def test_a_window_too_large_for_one_document_becomes_several(aggregator: Aggregator) -> None:
    aggregator.next_window()
    texts = [f"{number:06d}" + "x" * 994 for number in range(20_000)]
    for partition in range(TWEETS_PARTITIONS):
        aggregator.topic.publish((aggregator.post(text) for text in texts[partition::TWEETS_PARTITIONS]), partition)
    aggregator.close_window()
    await_value(lambda: stored_texts(aggregator) == texts, "all texts in documents", 60)
    chunks = aggregator.documents()
    assert len(chunks) >= 2
    assert {chunk["hash"] for chunk in chunks} == {aggregator.key(number) for number in range(len(chunks))}
    assert all(sum(map(len, chunk["content"])) < DOCUMENT_LIMIT for chunk in chunks)
    assert len({tuple(values_of(chunk)) for chunk in chunks}) == 1


def late_posts(aggregator: Aggregator) -> list[str]:
    """The texts of the posts that were rejected as late, sorted."""
    found = [each["record"] for each in aggregator.topic.rejections() if each["reason"] == "late"]
    return sorted(json.loads(record)["text"] for record in found)


def assert_late_posts_are_kept_or_rejected(aggregator: Aggregator, name: str, event: Callable[[], None]) -> None:
    """Assert that a late post gets into its document, and that a post after the allowed lateness is rejected.

    Both arrive after `event`, each in a partition without other records. So the job must still have the event time of
    before `event`.
    """
    aggregator.next_window()
    aggregator.topic.publish([aggregator.post(f"{name} too late")])
    old = (aggregator.window, aggregator.post(f"{name} far too late"))
    aggregator.close_window(4)
    assert aggregator.await_document()["content"] == [f"{name} too late"]
    aggregator.window += 5
    aggregator.topic.publish([aggregator.post(f"{name} in time")], partition=1)
    aggregator.close_window(2)
    aggregator.await_document()
    late = aggregator.post(f"{name} late")
    event()
    aggregator.topic.publish([old[1]], partition=2)
    aggregator.topic.publish([late], partition=3)
    expected = [f"{name} in time", f"{name} late"]
    await_value(lambda: sorted(aggregator.await_document()["content"]) == expected, "the late post in its document", 60)
    await_value(lambda: f"{name} far too late" in late_posts(aggregator), "the rejection", 60)
    assert len(aggregator.documents()) == 1
    aggregator.window = old[0]
    assert aggregator.await_document()["content"] == [f"{name} too late"]
    assert f"{name} late" not in late_posts(aggregator)
    aggregator.window += 10


def test_a_late_post_is_in_its_document_and_after_the_allowed_lateness_it_is_rejected(aggregator: Aggregator) -> None:
    assert_late_posts_are_kept_or_rejected(aggregator, "running", lambda: None)


def test_a_late_post_is_not_lost_after_a_restart(aggregator: Aggregator) -> None:
    assert_late_posts_are_kept_or_rejected(aggregator, "restarted", aggregator.kill_taskmanager)


def test_a_late_post_is_not_lost_after_a_restore_with_another_parallelism(aggregator: Aggregator) -> None:
    def rescale() -> None:
        aggregator.run(aggregator.stop(), parallelism=2)

    assert_late_posts_are_kept_or_rejected(aggregator, "rescaled", rescale)


def test_the_window_operator_dropped_no_post(aggregator: Aggregator) -> None:
    assert_nothing_was_dropped(aggregator.stack)


def test_a_replay_replaces_the_documents_and_adds_none(aggregator: Aggregator) -> None:
    uri = aggregator.stack.settings.store_uri
    aggregator.cancel()
    before = aggregator.contents()
    with client(uri) as connection:
        # The replay has to replace this value. So the test can wait for it.
        connection[DATABASE][aggregator.collection].update_many({}, {"$set": {"total_cases_count": -1}})
    aggregator.run(REPLAY_FROM="earliest")

    def marked() -> int:
        with client(uri) as connection:
            return connection[DATABASE][aggregator.collection].count_documents({"total_cases_count": -1})

    await_value(lambda: not marked(), "every document to be replaced", 90)
    assert aggregator.contents() == before


def test_a_replay_with_fewer_chunks_deletes_the_others(aggregator: Aggregator) -> None:
    def sizes() -> list[int]:
        """How many posts each chunk of the large window has."""
        return sorted(len(texts) for texts in aggregator.contents().values() if len(texts) > 100)

    before = sizes()
    aggregator.cancel()
    aggregator.run(REPLAY_FROM="earliest", MAX_DOCUMENT_BYTES=DOCUMENT_LIMIT // 8)
    await_value(lambda: len(sizes()) >= 10 and sum(sizes()) == sum(before), "more chunks", 90)
    aggregator.cancel()
    aggregator.run(REPLAY_FROM="earliest")
    await_value(lambda: sizes() == before, "only the chunks of before", 90)
    aggregator.cancel()
    aggregator.run()


def test_without_state_it_resumes_after_the_newest_document_and_keeps_late_posts(aggregator: Aggregator) -> None:
    aggregator.next_window()
    aggregator.topic.publish([aggregator.post(f"before {number}") for number in range(5)])
    aggregator.close_window(1.5)
    aggregator.await_document()
    aggregator.cancel()
    before = aggregator.contents()
    aggregator.topic.publish([aggregator.post("late, while no job runs")])
    aggregator.run()
    await_value(lambda: len(aggregator.await_document()["content"]) == 6, "the late post in its document", 60)
    changed = {key for key, texts in aggregator.contents().items() if before.get(key) != texts}
    assert changed == {aggregator.key(0)}


def test_no_document_is_replaced_by_one_with_fewer_posts(aggregator: Aggregator) -> None:
    """Retention deletes the first half of a partition, and so posts of many windows."""
    aggregator.next_window()
    for _ in range(10):
        aggregator.window += 1
        for partition in range(TWEETS_PARTITIONS):
            aggregator.topic.publish([aggregator.post(f"{partition}/{n}", n) for n in range(10)], partition)
    aggregator.close_window()
    aggregator.await_document()
    aggregator.cancel()
    before = aggregator.contents()
    aggregator.topic.delete_first_half(0)
    aggregator.run(REPLAY_FROM="earliest")
    aggregator.window += 10
    aggregator.topic.publish([aggregator.post("after the replay")])
    aggregator.close_window()
    aggregator.await_document(90)
    assert aggregator.contents() == {**before, aggregator.key(0): ["after the replay"]}
    aggregator.cancel()


@pytest.mark.parametrize("by", ["savepoint", "nothing"])
def test_another_window_length_loses_no_post_and_replaces_no_document(aggregator: Aggregator, by: str) -> None:
    aggregator.run()
    aggregator.window = aggregator.window // 6 * 6 + 12  # also the start of a window of 120 s
    aggregator.topic.publish([aggregator.post(f"{by} closed")])
    aggregator.advance(0, 1)
    aggregator.topic.publish([aggregator.post(f"{by} open", WINDOW_MS + 5_000)])
    for partition in range(TWEETS_PARTITIONS):
        aggregator.advance(partition, 1.5)
    aggregator.await_document()
    before = aggregator.contents()
    if by == "savepoint":
        aggregator.run(aggregator.stop(), WINDOW_SECONDS=120)
    else:
        aggregator.cancel()
        aggregator.run(WINDOW_SECONDS=120)
    aggregator.topic.publish([aggregator.post(f"{by} new", 2 * WINDOW_MS + 5_000)])
    for partition in range(TWEETS_PARTITIONS):
        aggregator.advance(partition, 12)

    def texts() -> list[str]:
        return sorted(text for content in aggregator.contents().values() for text in content if text.startswith(by))

    await_value(lambda: len(texts()) >= 3, "all posts in documents", 60)
    assert texts() == [f"{by} closed", f"{by} new", f"{by} open"]
    assert before.items() <= aggregator.contents().items()
    aggregator.window += 12
    aggregator.cancel()
