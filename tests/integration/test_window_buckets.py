"""Windows of several buckets on Kafka, Flink and the document store: each post is in one document, whatever changes.

The tests share a topic and run in order.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from jobs.audit.__main__ import run as audit
from jobs.buckets import Bucket, buckets
from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.documents import document_key
from local.process import StackError
from local.stack import Stack
from local.store import client
from tests.integration.test_aggregator_stream import WINDOW_MS, Aggregator, environment, iso
from tests.support.topics import topic
from tests.support.waiting import await_value

POSTS = 40


class Buckets(Aggregator):
    """The running job, whose windows have several buckets."""

    def publish(self, name: str, window: int = 0) -> list[str]:
        """Publish posts of the current window, or of one after it, over all partitions. Returns their texts, sorted."""
        texts = [f"{name} {number:02d}" for number in range(POSTS)]
        for partition in range(TWEETS_PARTITIONS):
            values = [self.post(text, window * WINDOW_MS) for text in texts[partition::TWEETS_PARTITIONS]]
            self.topic.publish(values, partition)
        return texts

    def texts(self) -> list[str]:
        """All texts in documents of the current window, sorted."""
        return sorted(text for document in self.documents() for text in document["content"])

    def await_texts(self, texts: list[str]) -> None:
        await_value(lambda: self.texts() == texts, f"each post once in documents of the window to {self.end}", 60)

    def written(self) -> set[Bucket]:
        """The buckets of the current window that have a document."""
        every = [bucket for size in range(1, 65) for bucket in buckets(size)]
        keys = {document_key(self.topic.name, iso(self.window * WINDOW_MS), self.end, 0, each): each for each in every}
        return {keys[document["hash"]] for document in self.documents()}


@pytest.fixture(scope="module")
def aggregator(stack: Stack) -> Iterator[Buckets]:
    with topic(stack.settings.kafka, "buckets") as records:
        running = Buckets(stack, records, "buckets")
        yield running
        if stack.flink.state(stack.jobs["aggregator_stream"]) == "RUNNING":
            running.cancel()


def test_a_savepoint_of_whole_windows_fits_a_job_with_buckets_and_two_tasks(aggregator: Buckets) -> None:
    aggregator.run()
    before = aggregator.publish("before")
    aggregator.close_window(0.5)
    aggregator.await_checkpoint()
    aggregator.run(aggregator.stop(), parallelism=2, WINDOW_BUCKETS=4)
    after = aggregator.publish("after")
    new = aggregator.publish("new", window=1)
    aggregator.close_window(2.5)
    aggregator.await_texts(sorted(before + after))
    assert aggregator.written() == {Bucket(), *buckets(4)}
    aggregator.window += 1
    aggregator.await_texts(new)
    assert aggregator.written() == set(buckets(4))


def test_a_late_post_changes_the_document_of_its_bucket_only(aggregator: Buckets) -> None:
    before = aggregator.contents()
    aggregator.topic.publish([aggregator.post("new late")])
    await_value(lambda: aggregator.texts()[-1] == "new late", "the late post in its document", 60)
    assert len(aggregator.texts()) == POSTS + 1
    after = aggregator.contents()
    assert [len(texts) - len(before[key]) for key, texts in after.items() if texts != before[key]] == [1]


def test_a_bucket_that_was_not_written_is_written_by_a_job_without_state(aggregator: Buckets) -> None:
    """As after a crash between two tasks, where Flink's state is lost too."""
    before = aggregator.contents()
    aggregator.cancel()
    lost = document_key(aggregator.topic.name, iso(aggregator.window * WINDOW_MS), aggregator.end, 0, Bucket(1, 4))
    with client(aggregator.stack.settings.store_uri) as connection:
        connection[DATABASE][aggregator.collection].delete_one({"_id": lost})
    assert aggregator.contents() != before
    aggregator.run(parallelism=2, WINDOW_BUCKETS=4)
    await_value(lambda: aggregator.contents() == before, "the document of the bucket", 60)


def test_a_replay_replaces_the_documents_and_one_with_other_buckets_is_refused(aggregator: Buckets) -> None:
    aggregator.cancel()
    with pytest.raises(StackError, match="was written with WINDOW_SECONDS=20 and WINDOW_BUCKETS=4"):
        aggregator.run(WINDOW_BUCKETS=2, REPLAY_FROM="earliest")


def test_a_job_without_state_and_with_other_buckets_keeps_what_is_stored(aggregator: Buckets) -> None:
    before = aggregator.contents()
    aggregator.run(parallelism=2, WINDOW_BUCKETS=2)
    aggregator.window += 3
    texts = aggregator.publish("other")
    aggregator.close_window()
    aggregator.await_texts(texts)
    assert aggregator.written() == set(buckets(2))
    assert before.items() <= aggregator.contents().items()


def test_the_audit_finds_each_post_in_one_document(aggregator: Buckets) -> None:
    settings = aggregator.stack.settings
    variables = environment(aggregator) | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka,
        "MONGODB_URI": settings.store_uri,
        "WINDOW_BUCKETS": "2",
    }
    report = audit(variables)
    assert report.balanced, report.lines
    stored = Counter(text for texts in aggregator.contents().values() for text in texts)
    assert len(stored) == 4 * POSTS + 1
    assert set(stored.values()) == {1}
