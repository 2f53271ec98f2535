"""The aggregation job on real Kafka, Flink and the document store; the tests publish the topic's records themselves.

They share one job and run in order: each uses windows of its own, later than those before it.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import requests

from jobs.names import DATABASE, TWEETS_PARTITIONS
from jobs.worldometers import Counters
from local.stack import Stack
from local.store import client
from tests.local.counting import documents
from tests.local.topics import Topic, topic
from tests.waiting import await_value

WINDOW_MS = 20_000
REFRESH_SECONDS = 1
DOCUMENT_LIMIT = 16 * 1024 * 1024
IDS = count()


@dataclass
class Aggregator:
    """The running job. `window` is the number of the window that a test fills."""

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

    def close_window(self) -> None:
        """Move event time of every partition past the window's end."""
        for partition in range(TWEETS_PARTITIONS):
            beat = {"id": "heartbeat-x", "text": None, "timestamp": (self.window + 3) * WINDOW_MS, "source": "test"}
            self.topic.publish([json.dumps(beat).encode()], partition)

    def documents(self) -> list[dict[str, Any]]:
        return documents(self.stack.settings.store_uri, DATABASE, self.collection).get(self.end, [])

    def await_document(self, seconds: float = 40) -> dict[str, Any]:
        return await_value(self.documents, f"the document of the window that ends at {self.end}", seconds)[0]

    @property
    def end(self) -> str:
        return iso((self.window + 1) * WINDOW_MS)

    def key(self, chunk: int) -> str:
        """The key as the README tells it."""
        return hashlib.sha256(f"{self.topic.name}/{iso(self.window * WINDOW_MS)}/{chunk}".encode()).hexdigest()


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_fault(stack: Stack, fault: str) -> None:
    """Switch what the Worldometers stand-in does."""
    url = f"http://127.0.0.1:{stack.settings.ports.worldometers}/fault"
    requests.put(url, data=fault, timeout=5).raise_for_status()


def show_page(stack: Stack, fault: str) -> None:
    """Switch the page, and let the counters that the job has grow so old that it asks again."""
    set_fault(stack, fault)
    stale_at = time.monotonic() + REFRESH_SECONDS
    await_value(lambda: time.monotonic() > stale_at, "the age at which the page is asked again", REFRESH_SECONDS + 1)


@pytest.fixture(scope="module")
def aggregator(stack: Stack) -> Iterator[Aggregator]:
    set_fault(stack, "error")
    with topic(stack.settings.kafka, "aggregated") as records:
        running = Aggregator(stack, records, "aggregated")
        stack.submit("aggregator_stream", environment(running))
        yield running
        stack.flink.cancel(stack.jobs["aggregator_stream"])
        set_fault(stack, "none")


def environment(aggregator: Aggregator) -> dict[str, str]:
    return {
        "KAFKA_TOPIC": aggregator.topic.name,
        "KAFKA_REJECTED_TOPIC": aggregator.topic.rejected_name,
        "MONGODB_COLLECTION": aggregator.collection,
        "WINDOW_SECONDS": str(WINDOW_MS // 1000),
        "WORLDOMETERS_REFRESH_SECONDS": str(REFRESH_SECONDS),
    }


def values_of(document: dict[str, Any]) -> list[int | None]:
    return [document[name] for name in Counters._fields]


def test_a_page_that_was_never_good_gives_no_counters_and_holds_no_window(aggregator: Aggregator) -> None:
    aggregator.next_window()
    aggregator.topic.publish([aggregator.post("unenriched")])
    aggregator.close_window()
    document = aggregator.await_document()
    assert document["content"] == ["unenriched"]
    assert values_of(document) == [None] * 8


def test_a_window_is_one_document_with_the_columns_of_the_table(aggregator: Aggregator) -> None:
    show_page(aggregator.stack, "none")
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
def test_the_last_good_counters_are_used_while_the_page_is_broken(aggregator: Aggregator, fault: str) -> None:
    aggregator.next_window()
    show_page(aggregator.stack, fault)
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
    "negative time": (
        b'{"id": "x", "text": "y", "timestamp": -1, "source": "s"}',
        "timestamp negative or ahead of the clock",
    ),
    "far future": (
        b'{"id": "x", "text": "y", "timestamp": 253402300799999, "source": "s"}',
        "timestamp negative or ahead of the clock",
    ),
}


def test_a_malformed_record_is_rejected_with_its_reason_and_harms_no_other(aggregator: Aggregator) -> None:
    aggregator.next_window()
    before = len(aggregator.topic.rejections())
    aggregator.topic.publish([aggregator.post("before"), *(value for value, _ in MALFORMED.values())])
    aggregator.topic.publish([aggregator.post("behind")])
    aggregator.close_window()
    assert sorted(aggregator.await_document()["content"]) == ["before", "behind"]
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


def test_a_replay_replaces_the_documents_and_makes_no_others(aggregator: Aggregator) -> None:
    stack = aggregator.stack
    uri = stack.settings.store_uri
    stack.flink.cancel(stack.jobs["aggregator_stream"])

    def contents() -> dict[str, list[str]]:
        found = documents(uri, DATABASE, aggregator.collection)
        return {chunk["hash"]: sorted(chunk["content"]) for chunks in found.values() for chunk in chunks}

    before = contents()
    with client(uri) as connection:
        # A mark that the replay has to replace, so that the test sees that it came.
        connection[DATABASE][aggregator.collection].update_many({}, {"$set": {"content": ["old"]}})
    stack.submit("aggregator_stream", environment(aggregator))
    await_value(lambda: ["old"] not in contents().values(), "every document to be replaced", 90)
    assert contents() == before


def test_a_late_post_is_rejected_and_its_document_stays_as_it_is(aggregator: Aggregator) -> None:
    aggregator.next_window()
    aggregator.topic.publish([aggregator.post("in time")])
    aggregator.close_window()
    document = aggregator.await_document()
    before = len(aggregator.topic.rejections())
    aggregator.topic.publish([aggregator.post("too late")])
    rejection = await_value(lambda: aggregator.topic.rejections()[before:], "the rejection", 30)[0]
    assert rejection["reason"] == "late"
    assert json.loads(rejection["record"])["text"] == "too late"
    assert aggregator.documents() == [document]
