"""The audit on generated topics: complete ones balance, and every missing or duplicate item is found."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.errors import TopicAuthorizationFailedError
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from jobs.audit import __main__ as run_audit
from jobs.audit import kafka_reader
from jobs.audit.numbers import NumberSet
from jobs.audit.reader import Document, OffsetRange, PartitionRange, Record
from jobs.audit.reconciliation import DAY_MS, MAX_AUDIT_MS, AuditSettings, audit
from jobs.audit.report import Report
from jobs.buckets import WHOLE, Bucket, buckets
from jobs.documents import document_key, iso, unix
from jobs.settings import read_aggregator_settings
from tests.support.examples import examples

WINDOW = 20
START = 1_767_225_600_000  # the begin of a window, ms
TOPIC, REJECTED = "tweets", "tweets.rejected"
FEED = "1a2b3c4d"
PARTITIONS = 4
NOW = START + 3_600_000


@dataclass(frozen=True)
class InMemoryReader:
    """A Reader of lists.

    begins: the first offset that a partition still holds, by topic and partition; 0 if it is not there.
    """

    topics: Mapping[str, Sequence[Record]]
    stored: Sequence[Document]
    begins: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def offset_ranges(self, topic: str) -> Mapping[int, OffsetRange]:
        begins = self.begins.get(topic, {})
        ends = dict(begins)
        for record in self.topics[topic]:
            ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
        return {number: OffsetRange(begins.get(number, 0), end) for number, end in ends.items()}

    def records(self, topic: str, ranges: Sequence[PartitionRange]) -> Iterable[Record]:
        for part in ranges:
            for record in self.topics[topic]:
                if record.partition == part.partition and part.begin <= record.offset < part.end:
                    yield record

    def keys(self, after: str) -> Iterable[tuple[str, str]]:
        return [(each.hash, each.timestamp) for each in self.stored if each.timestamp > after]

    def documents(self, after: str, until: str) -> Iterable[Document]:
        return [each for each in self.stored if after < each.timestamp <= until]


@dataclass
class History:
    """A topic, its rejections and its documents, as a correct pipeline writes them.

    A post each second, numbered from 101, in the partitions in turn; a heartbeat of each partition ends it.
    """

    topic: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    begins: dict[str, dict[int, int]] = field(default_factory=dict)
    next_offset: dict[int, int] = field(default_factory=dict)
    window: int = WINDOW

    def append(self, value: object, partition: int = 0) -> Record:
        offset = self.next_offset.get(partition, 0)
        self.next_offset[partition] = offset + 2  # as if a transaction ended behind each record
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        record = Record(partition, offset, None, data, START)
        self.topic.append(record)
        return record

    def post(self, number: int, seconds: float, text: str | None = None, numbering: str = FEED) -> Record:
        value = {
            "id": f"simulator-{numbering}-{number}",
            "text": f"post {number}" if text is None else text,
            "timestamp": START + int(seconds * 1000),
            "source": "simulator",
            "position": f"{numbering}/{number}",
        }
        return self.append(value, number % PARTITIONS)

    def heartbeat(self, number: int, seconds: float, shard: str = "0/1", partitions: int = PARTITIONS) -> None:
        for partition in range(partitions):
            value = {"id": f"heartbeat-{partition}", "text": None, "timestamp": START + int(seconds * 1000)}
            self.append(value | {"source": "simulator", "position": f"{FEED}/{number}", "shard": shard}, partition)

    def reject_frame(
        self, reason: str, record: object = "", position: str | None = None, source: str = "simulator"
    ) -> None:
        value = {"reason": reason, "source": source, "record": json.dumps(record), "bytes": 0, "position": position}
        self.rejected.append(Record(0, 2 * len(self.rejected), source.encode(), json.dumps(value).encode()))

    def reject_parts(self, reason: str, positions: Sequence[str]) -> None:
        value = {"reason": reason, "source": "simulator", "record": "", "bytes": 0, "position": None}
        value |= {"items": list(range(len(positions))), "positions": positions}
        self.rejected.append(Record(0, 2 * len(self.rejected), b"simulator", json.dumps(value).encode()))

    def report_gap(
        self, first: int, last: int | None, lost: int | None, rejected: int = 0, numbering: str = FEED
    ) -> None:
        gap = {"numbering": numbering, "first": first, "last": last, "lost": lost, "rejected": rejected}
        self.reject_frame("lost: the server no longer has them" if lost != 0 else "rejected frames", gap)

    def reject(self, record: Record, reason: str = "late") -> None:
        """As the aggregator does."""
        value = {"reason": reason, "source": TOPIC, "record": "", "bytes": 0}
        key = f"{TOPIC}/{record.partition}/{record.offset}".encode()
        self.rejected.append(Record(0, 2 * len(self.rejected), key, json.dumps(value).encode()))

    def aggregate(self, until: float = 1e9, chunk: int = 10_000) -> None:
        """The documents of the windows that end up to `until` seconds."""
        keys = {record.key for record in self.rejected}
        contents: dict[int, list[str]] = {}
        for record in self.topic:
            value = loaded(record)
            is_kept = f"{TOPIC}/{record.partition}/{record.offset}".encode() not in keys
            if value and value.get("text") is not None and is_kept:
                start = value["timestamp"] // 1000 // self.window * self.window
                contents.setdefault(start, []).append(value["text"])
        for start, texts in contents.items():
            if start + self.window <= START // 1000 + until:
                parts = [texts[at : at + chunk] for at in range(0, len(texts), chunk)]
                self.documents += [document(start, part, number, self.window) for number, part in enumerate(parts)]

    def reader(self) -> InMemoryReader:
        return InMemoryReader({TOPIC: self.topic, REJECTED: self.rejected}, self.documents, self.begins)


def loaded(record: Record) -> dict[str, Any]:
    try:
        value = json.loads(record.value or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def document(
    start: int,
    texts: Sequence[str],
    chunk: int = 0,
    window: int = WINDOW,
    topic: str = TOPIC,
    bucket: Bucket = WHOLE,
) -> Document:
    """start: seconds since 1970."""
    end = iso(start + window)
    return Document(document_key(topic, iso(start), end, chunk, bucket), end, list(texts))


def in_buckets(documents: Sequence[Document], size: int, chunk: int = 10_000) -> list[Document]:
    """The same windows, spread over buckets, with so many texts at most in each chunk."""
    return [
        document(unix(each.timestamp) - WINDOW, part, number, bucket=bucket)
        for each in documents
        for bucket in buckets(size)
        for texts in [each.content[bucket.number :: size]]
        for number, part in enumerate(texts[at : at + chunk] for at in range(0, len(texts), chunk))
    ]


def history(posts: int = 100, chunk: int = 10_000) -> History:
    """`posts` posts, the last of them 20 seconds before the last heartbeat."""
    made = History()
    for number in range(posts):
        made.post(101 + number, number)
    made.heartbeat(100 + posts, posts + 30)
    made.aggregate(posts + 25, chunk)
    return made


def audit_settings(**changes: Any) -> AuditSettings:
    return dataclasses.replace(AuditSettings(TOPIC, REJECTED, WINDOW, 1_000, NOW, wait_seconds=10), **changes)


class Clock:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def report_of(made: "History | InMemoryReader | Changing", **changes: Any) -> Report:
    clock = Clock()
    reader = made.reader() if isinstance(made, History) else made
    return audit(reader, audit_settings(**changes), clock=clock, sleep=clock.sleep)


def mismatches(report: Report) -> str:
    assert not report.balanced
    assert report.lines[-1].startswith("NOT BALANCED: ")
    return " / ".join(f"{each.end}: {'; '.join(each.reasons)}" for each in report.topic.mismatches)


def test_a_complete_history_balances() -> None:
    report = report_of(history())
    assert report.balanced
    (numbers,) = report.numbers
    assert (numbers.source, numbers.numbering, numbers.first, numbers.last, numbers.posts) == (
        *("simulator", FEED, 101, 200),
        100,
    )
    assert (report.topic.windows, report.topic.posts, report.topic.in_documents) == (5, 100, 100)
    assert report.lines == [
        f"simulator {FEED}: numbers 101..200 = 100: 100 posts + 0 emptied + 0 rejected + 0 lost",
        "  balanced",
        "topic tweets: 100 posts in 5 closed windows = 100 in documents + 0 rejected",
        "balanced",
    ]


def test_a_record_of_another_producer_with_a_byte_order_mark_is_a_post() -> None:
    made = history()
    mark = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
    value = {"id": "x", "text": "marked", "timestamp": START + 6_000, "source": "other"}
    made.append(mark + json.dumps(value).encode())
    made.documents[0] = document(START // 1000, [*made.documents[0].content, "marked"])
    assert report_of(made).balanced


def test_each_rejected_part_of_a_shared_record_counts() -> None:
    made = history()
    made.reject_parts("empty after cleaning", [f"{FEED}/{number}" for number in range(201, 211)])
    made.reject_parts("the text is no string", [f"{FEED}/{number}" for number in range(211, 216)])
    made.heartbeat(215, 140)
    report = report_of(made)
    (numbers,) = report.numbers
    assert report.balanced, report.lines
    assert (numbers.numbers, numbers.posts, numbers.emptied, numbers.rejected) == (115, 100, 10, 5)


def test_all_kinds_of_records_together_balance() -> None:
    made = history(0)
    made.topic.clear()
    made.post(1, 0)
    made.reject_frame("empty after cleaning", "frame", f"{FEED}/2")
    made.reject_frame("a frame larger than 9 bytes", "frame", f"{FEED}/3")
    made.reject_frame("not JSON", "frame")
    made.report_gap(4, 10, 6, 1)
    made.report_gap(11, 11, 0, 1)
    made.post(12, 5)
    made.append({"id": "x", "text": "from another producer", "timestamp": START + 6_000, "source": "other"})
    late = made.post(13, 7)
    made.reject(late)
    made.reject(late)
    broken = made.append(b"no JSON")
    made.reject(broken, "not a JSON object")
    far = made.append({"id": "y", "text": "far", "timestamp": NOW + 86_400_000, "source": "other"})
    made.reject(far, "timestamp negative or ahead of the clock")
    made.heartbeat(13, 60)
    made.aggregate(40)
    report = report_of(made)
    assert report.balanced, report.lines
    (numbers,) = report.numbers
    assert (numbers.numbers, numbers.posts, numbers.emptied, numbers.rejected, numbers.lost) == (13, 3, 1, 3, 6)
    topic = report.topic
    assert (topic.posts, topic.others, topic.in_documents, topic.rejected) == (4, 2, 3, 3)
    assert "  LOST: 6 in 4..10: the server no longer has them" in report.lines
    assert [(each.source, each.posts, each.rejected) for each in report.sources] == [
        ("other", 1, 0),
        ("simulator", 0, 1),
    ]


def test_open_windows_are_in_flight() -> None:
    made = history()
    for number in range(10):
        made.post(201 + number, 130 + number)
    report = report_of(made)
    assert report.balanced
    assert (report.topic.in_flight, report.topic.in_flight_from) == (10, iso(START // 1000 + 140))
    assert "10 posts in flight" in report.lines[2]


def test_a_partition_without_records_closes_no_window_unless_it_may_be_idle() -> None:
    made = history()
    made.begins[TOPIC] = {4: 0}
    made.documents.clear()
    waiting = report_of(made)
    assert (waiting.balanced, waiting.topic.windows, waiting.topic.empty_partitions) == (True, 0, (4,))
    assert not report_of(made, idle_ms=60_000).balanced


def without(documents: list[Document], index: int, text: str) -> None:
    changed = [each for each in documents[index].content if each != text]
    documents[index] = documents[index]._replace(content=changed)


def test_a_post_that_its_document_lacks() -> None:
    made = history()
    without(made.documents, 1, "post 125")
    report = report_of(made)
    assert mismatches(report) == f'2026-01-01T00:00:40Z: 1 missing in documents: simulator-{FEED}-125 "post 125"'
    assert (report.topic.mismatches[0].missing, report.topic.mismatches[0].extra) == (1, 0)
    assert "100 posts in 5 closed windows is not 99 in documents + 0 rejected" in report.lines[2]


def test_a_window_without_its_document() -> None:
    made = history()
    del made.documents[1]
    assert mismatches(report_of(made)).startswith("2026-01-01T00:00:40Z: no document; 20 missing in documents: ")


def test_a_text_that_a_document_has_twice() -> None:
    made = history()
    made.documents[1] = made.documents[1]._replace(content=[*made.documents[1].content, "post 125"])
    assert '1 too many in documents: "post 125" (stored more than once)' in mismatches(report_of(made))


def test_a_text_that_no_post_has() -> None:
    made = history()
    made.documents[1] = made.documents[1]._replace(content=[*made.documents[1].content, "\x1b[2J" + "x" * 90])
    output = mismatches(report_of(made))
    assert f'1 too many in documents: "\\x1b[2J{"x" * 56}\\u2026"' in output


def test_a_post_in_another_windows_document() -> None:
    made = history()
    without(made.documents, 1, "post 125")
    made.documents[2] = made.documents[2]._replace(content=[*made.documents[2].content, "post 125"])
    report = report_of(made)
    assert '"post 125" (of the window 2026-01-01T00:00:40Z)' in mismatches(report)
    assert len(report.topic.mismatches) == 2
    assert report.topic.in_documents == report.topic.posts  # the sums alone do not show it


def test_a_post_in_a_document_and_rejected() -> None:
    made = history()
    made.reject(made.topic[24])
    assert '1 too many in documents: "post 125" (also rejected)' in mismatches(report_of(made))


def test_a_document_of_a_window_without_posts() -> None:
    made = history()
    made.documents.append(document(START // 1000 + 100, ["nobody's"]))
    assert '1 too many in documents: "nobody\'s"' in mismatches(report_of(made))


def test_windows_of_several_chunks() -> None:
    made = history(chunk=6)
    assert len(made.documents) == 20
    assert report_of(made).balanced
    del made.documents[1]
    assert "no chunk 1; 6 missing in documents" in mismatches(report_of(made))


def test_a_lost_rejection() -> None:
    made = history()
    late = made.post(201, 30)
    made.reject(late)
    broken = made.append(b"[1]")
    made.reject(broken)
    assert report_of(made).balanced
    both = made.rejected
    made.rejected = both[1:]
    assert 'missing in documents: simulator-1a2b3c4d-201 "post 201"' in mismatches(report_of(made))
    made.rejected = both[:1]
    report = report_of(made)
    assert (report.balanced, report.topic.missing_rejections, report.topic.missing_rejection_samples) == (
        False,
        1,
        (f"{TOPIC}/0/{broken.offset}",),
    )


@pytest.mark.parametrize("key", ["tweets/0/1", "tweets/9/0", "tweets", "other/0/0"])
def test_a_rejection_without_a_record(key: str) -> None:
    made = history()
    value = json.dumps({"reason": "late", "source": TOPIC, "record": "", "bytes": 0}).encode()
    made.rejected.append(Record(0, 0, key.encode(), value))
    report = report_of(made)
    assert (report.balanced, report.topic.orphaned_rejections, report.topic.orphaned_rejection_samples) == (
        False,
        1,
        (key,),
    )


def test_a_gap_that_is_not_reported() -> None:
    made = history()
    made.post(204, 101)
    made.post(206, 102)
    made.heartbeat(206, 160)
    made.documents.clear()
    made.aggregate()
    report = report_of(made)
    assert report.numbers[0].missing_samples == ((201, 203), (205, 205))
    assert "  4 numbers are missing: 201..203, 205, ..." in report.lines
    assert report.lines[-1] == "NOT BALANCED: 4 missing numbers"
    made.report_gap(201, 203, 3)
    made.report_gap(205, 205, 0, 1)
    assert report_of(made).balanced


def test_a_number_twice() -> None:
    made = history()
    made.post(150, 49, "another text")
    made.documents.clear()
    made.aggregate()
    report = report_of(made)
    assert (report.numbers[0].duplicates, report.numbers[0].duplicate_samples) == (1, (150,))
    assert not report.balanced


@pytest.mark.parametrize("fault", ["posted and emptied", "posted and lost", "lost twice", "emptied twice"])
def test_a_number_that_is_accounted_for_twice(fault: str) -> None:
    made = history()
    made.report_gap(201, 205, 5)
    made.reject_frame("empty after cleaning", "", f"{FEED}/206")
    assert report_of(made).balanced
    if fault == "posted and emptied":
        made.reject_frame("empty after cleaning", "", f"{FEED}/150")
    elif fault == "posted and lost":
        made.report_gap(150, 150, 1)
    elif fault == "lost twice":
        made.report_gap(205, 205, 1)
    else:
        made.reject_frame("empty after cleaning", "", f"{FEED}/206")
    report = report_of(made)
    assert (report.balanced, report.numbers[0].duplicates) == (False, 1)


def test_a_gap_of_unknown_size_reaches_to_the_next_number() -> None:
    made = history()
    made.report_gap(201, None, None)
    assert "  LOST: from 201 on: the server no longer has them" in report_of(made).lines
    made.post(500, 101)
    made.heartbeat(500, 160)
    made.documents.clear()
    made.aggregate()
    report = report_of(made)
    assert (report.balanced, report.numbers[0].lost) == (True, 299)


def test_numberings_are_counted_apart() -> None:
    made = history()
    made.report_gap(201, None, None)
    made.post(7, 110, "new", numbering="ffff0000")
    made.post(9, 111, "new", numbering="ffff0000")
    made.heartbeat(200, 170)
    made.documents.clear()
    made.aggregate()
    assert [(each.numbering, each.missing) for each in report_of(made).numbers] == [(FEED, 0), ("ffff0000", 1)]


def sharded(second_begins_at: int = 102) -> History:
    """Two shards. The connection of the second one got its first post later, and is far behind."""
    made = History()
    made.heartbeat(101, 0, "1/2")
    for number in range(101, 160):
        if number % 2 or second_begins_at <= number <= 140:
            made.post(number, number - 100)
    made.heartbeat(159, 120, "1/2")
    made.heartbeat(140, 120, "0/2")
    made.aggregate(100)
    return made


def test_a_shard_that_is_behind_and_began_later() -> None:
    report = report_of(sharded(110))
    assert report.balanced, report.lines
    (numbers,) = report.numbers
    assert (numbers.first, numbers.last, numbers.later) == (110, 140, 10)


def test_gaps_of_shards() -> None:
    made = sharded()
    gone = {120, 122, 124, 121, 123}
    made.topic = [each for each in made.topic if loaded(each).get("position") not in {f"{FEED}/{n}" for n in gone}]
    made.documents.clear()
    made.aggregate(100)
    made.report_gap(119, 125, 3)
    assert report_of(made).numbers[0].missing == 2
    made.report_gap(120, 124, 2)
    report = report_of(made)
    assert (report.balanced, report.numbers[0].lost) == (True, 5)
    made.report_gap(120, 124, 2)
    assert report_of(made).numbers[0].duplicates == 2


def test_a_feed_without_contiguous_numbers_has_no_first_sum() -> None:
    made = History()
    for number in range(5):
        text = {"id": f"at://{number}", "text": "skeet", "timestamp": START + number, "source": "jetstream"}
        made.append(text | {"position": str(number * 1_000)})
    made.report_gap(4_000, 9_000, 5_000)
    gap = made.rejected[0]
    made.rejected = [gap._replace(value=(gap.value or b"").replace(b"simulator", b"jetstream"))]
    made.heartbeat(1, 60, partitions=1)
    made.aggregate(40)
    report = report_of(made)
    assert report.balanced
    assert report.lines[0] == (
        "jetstream: 5 posts, 0 emptied, 0 rejected without a number: their first sum cannot be computed"
    )
    assert report.lines[1] == "  LOST: 5000 in 4000..9000: the server no longer has them"


@pytest.mark.parametrize("length", [5, 60])
def test_documents_of_another_window_length(length: int) -> None:
    made = history(120)
    posts = dict.fromkeys(range(120), "")
    made.documents = made.documents[:3]
    for start in range(60, 120, length):
        texts = [f"post {101 + number}" for number in posts if start <= number < start + length]
        made.documents.append(document(START // 1000 + start, texts, window=length))
    assert report_of(made).balanced
    without(made.documents, -1, "post 220")
    assert 'missing in documents: simulator-1a2b3c4d-220 "post 220"' in mismatches(report_of(made))


@pytest.mark.parametrize("now", [1, 4, 8])
def test_a_window_balances_with_all_of_its_buckets_whatever_their_number_is_now(now: int) -> None:
    made = history()
    whole, spread = made.documents[:1], made.documents[1:]
    made.documents = whole + in_buckets(spread, 4, chunk=2)
    report = report_of(made, window_buckets=now)
    assert report.balanced, report.lines
    assert (report.topic.windows, report.topic.in_documents) == (5, 100)


def test_a_window_of_which_a_bucket_is_missing_does_not_balance() -> None:
    made = history()
    made.documents = in_buckets(made.documents, 4)
    lost = made.documents.pop(1)
    assert f"{len(lost.content)} missing in documents" in mismatches(report_of(made, window_buckets=4))


def test_a_window_that_is_stored_whole_and_in_buckets_has_too_many_texts() -> None:
    made = history()
    made.documents += in_buckets(made.documents[:1], 4)
    assert "20 too many in documents" in mismatches(report_of(made))


def test_a_missing_chunk_is_named_with_its_bucket() -> None:
    made = history()
    made.documents = in_buckets(made.documents, 2, chunk=5)
    del made.documents[2]
    assert "no chunk 0 of bucket 1 of 2" in mismatches(report_of(made, window_buckets=2))


def test_windows_of_two_lengths_that_overlap_are_compared_together() -> None:
    made = history()
    # The length was 5 up to second 47, when a window of 5 was open.
    made.documents = [document(START // 1000 + at, texts(at, at + 5), window=5) for at in range(0, 45, 5)]
    made.documents.append(document(START // 1000 + 45, texts(45, 47), window=5))
    made.documents.append(document(START // 1000 + 40, texts(47, 60)))
    made.documents += [document(START // 1000 + at, texts(at, at + 20)) for at in (60, 80)]
    assert report_of(made).balanced
    made.documents[9] = document(START // 1000 + 45, texts(45, 48), window=5)
    report = report_of(made)
    assert "documents of overlapping windows since 2026-01-01T00:00:40Z" in mismatches(report)
    assert report.topic.mismatches[0].extra == 1


def texts(begin: int, end: int) -> list[str]:
    return [f"post {101 + number}" for number in range(begin, end)]


def test_a_post_that_no_window_of_the_other_length_holds() -> None:
    made = history(40)
    made.documents = [document(START // 1000 + at, texts(at, at + 5), window=5) for at in (0, 5, 15, 20, 25, 30, 35)]
    report = report_of(made)
    assert mismatches(report).startswith("2026-01-01T00:00:20Z: no document; 5 missing")


def test_a_hash_that_matches_nothing() -> None:
    made = history()
    made.documents[1] = made.documents[1]._replace(hash=document_key("other", "a", "b", 0))
    output = mismatches(report_of(made))
    assert "matches no window of this topic" in output
    assert "2026-01-01T00:00:40Z: no document; 20 missing" in output


@pytest.mark.parametrize(
    "wrong",
    [
        {"timestamp": "yesterday"},
        {"timestamp": "9"},
        {"content": None},
        {"content": "text"},
        {"content": [1]},
    ],
)
def test_a_document_that_cannot_be_read(wrong: dict[str, Any]) -> None:
    made = history()
    made.documents.append(made.documents[1]._replace(**wrong))
    assert "no readable timestamp or content" in mismatches(report_of(made))


def test_older_documents_are_not_checked() -> None:
    made = history()
    made.documents.append(document(START // 1000 - 20, ["of an earlier topic"]))
    assert report_of(made).balanced


def delete_before(made: History, partition: int, offset: int) -> None:
    """Retention drops a partition's records before `offset`."""
    made.topic = [each for each in made.topic if each.partition != partition or each.offset >= offset]
    made.begins.setdefault(TOPIC, {})[partition] = offset


def test_retention_may_have_deleted_posts_of_the_oldest_windows() -> None:
    made = history()
    delete_before(made, 1, 22)  # posts 101, 105, ... 141; the first that is left is 145, of second 44
    report = report_of(made)
    assert report.balanced, report.lines
    assert (report.topic.partial, report.numbers[0].first, report.numbers[0].earlier) == (5, 146, 34)
    without(made.documents, 0, "post 102")
    assert "1 missing in documents" in mismatches(report_of(made))


def test_retention_takes_whole_windows_out_of_the_sums() -> None:
    made = History()
    for number in range(2_000):
        made.post(101 + number, number)
    made.heartbeat(2_100, 2_100)
    made.aggregate(2_000)
    for partition in range(PARTITIONS):
        delete_before(made, partition, 600)  # 300 posts of each: the first 1,200
    report = report_of(made)
    assert report.balanced, report.lines
    assert report.topic.old_documents in (0, 1)
    assert 1 <= report.topic.partial < 25
    assert report.numbers[0].first == 1_305
    without(made.documents, 99, "post 2082")
    assert "post 2082" in mismatches(report_of(made))


def test_retention_of_the_rejections_leaves_out_the_numbers_before_them() -> None:
    made = History()
    for number in [*range(101, 120), *range(121, 150), *range(151, 160)]:
        made.post(number, number - 101)
    made.heartbeat(159, 120)
    made.aggregate(100)
    made.reject_frame("empty after cleaning", "", f"{FEED}/150")
    report = report_of(made)
    assert (report.balanced, report.numbers[0].missing_samples) == (False, ((120, 120),))
    made.begins[REJECTED] = {0: 0}
    assert not report_of(made).balanced
    made.rejected = [made.rejected[0]._replace(offset=4)]
    made.begins[REJECTED] = {0: 4}  # that of 120 was dropped
    report = report_of(made)
    assert (report.balanced, report.numbers[0].first, report.numbers[0].earlier) == (True, 150, 48)


def test_numbers_that_retention_may_have_deleted_are_not_checked() -> None:
    made = history()
    made.report_gap(201, None, None)
    made.post(5, 105, numbering="ffff0000")
    made.documents.clear()
    made.aggregate(110)
    partition = loaded(made.topic[-1])["id"] and made.topic[-1].partition
    delete_before(made, partition, made.topic[-1].offset)
    report = report_of(made)
    assert [each.numbering for each in report.numbers] == []
    assert f"simulator {FEED}: 75 posts, 0 emptied, 0 rejected besides those that retention deleted" in report.lines[0]
    assert "  LOST: from 201 on: the server no longer has them" in report.lines


def test_a_rejection_in_a_new_partition() -> None:
    made = history()

    def grow() -> None:
        late = made.append({"id": "x", "text": "late", "timestamp": START + 1_000, "source": "other"}, 4)
        made.reject(late)

    report = report_of(Changing(made, f"offset_ranges {REJECTED}", [grow]))
    assert report.balanced, report.lines
    assert report.topic.rejected == 1


class Changing:
    """A Reader of a history that changes: the n-th change comes before the n-th reading of `what`."""

    def __init__(self, made: History, what: str, changes: Sequence[Any]) -> None:
        self._made = made
        self._what = what
        self._changes = list(changes)

    def _before(self, what: str) -> InMemoryReader:
        if what == self._what and self._changes and (change := self._changes.pop(0)):
            change()
        return self._made.reader()

    def offset_ranges(self, topic: str) -> Mapping[int, OffsetRange]:
        return self._before(f"offset_ranges {topic}").offset_ranges(topic)

    def records(self, topic: str, ranges: Sequence[PartitionRange]) -> Iterable[Record]:
        return self._before(f"records {topic}").records(topic, ranges)

    def keys(self, after: str) -> Iterable[tuple[str, str]]:
        return self._before("keys").keys(after)

    def documents(self, after: str, until: str) -> Iterable[Document]:
        return self._before("documents").documents(after, until)


def test_a_late_post_that_comes_between_the_readings() -> None:
    made = history()

    def late() -> None:
        made.post(201, 30, "late")
        made.documents[1] = made.documents[1]._replace(content=[*made.documents[1].content, "late"])

    assert report_of(Changing(made, "documents", [late])).balanced


def test_documents_and_rejections_that_come_later_are_awaited() -> None:
    made = history()
    late, broken = made.post(201, 30), made.append(b"x")
    whole, made.documents = made.documents, made.documents[:-1]
    lines: list[str] = []
    clock = Clock()

    def complete() -> None:
        made.documents = whole
        made.reject(late)
        made.reject(broken)

    reader = Changing(made, f"offset_ranges {TOPIC}", [None, None, None, complete])
    report = audit(reader, audit_settings(), clock=clock, sleep=clock.sleep, notify=lines.append)
    assert report.balanced
    assert lines[0].startswith(
        "reading again: 2 windows lack posts, the first ends at 2026-01-01T00:00:40Z; 1 records are not rejected yet"
    )
    assert clock.now < 10


def test_the_audit_waits_for_a_limited_time() -> None:
    made = history()
    del made.documents[1]
    clock = Clock()
    report = audit(made.reader(), audit_settings(wait_seconds=30), clock=clock, sleep=clock.sleep)
    assert not report.balanced
    assert 30 <= clock.now < 35


def test_documents_of_a_new_length_that_come_between_the_readings() -> None:
    made = history(40)
    later = [document(START // 1000 + at, texts(at, at + 5), window=5) for at in range(0, 40, 5)]
    made.documents.clear()
    assert report_of(Changing(made, "documents", [lambda: made.documents.extend(later)])).balanced


def test_of_many_unbalanced_windows_only_the_texts_of_the_first_are_compared() -> None:
    made = history(20 * 60)
    made.documents.clear()
    report = report_of(made, wait_seconds=0)
    assert len(report.topic.mismatches) == 60
    assert [each.missing for each in report.topic.mismatches] == [20] * 50 + [None] * 10


TEXTS = st.sampled_from(["a", "b", "c", "é", "same"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["post", "post", "post", "emptied", "refused", "lost", "late", "other", "broken", "heartbeat"]),
        st.integers(0, 15),
        TEXTS,
    ),
    min_size=1,
    max_size=60,
)


def random_history(steps: Sequence[tuple[str, int, str]], chunk: int) -> History:
    made, number, seconds = History(), 100, 0
    made.post(number, seconds, "first")
    made.heartbeat(number, seconds)
    for what, size, text in steps:
        seconds += size
        if what == "lost":
            made.report_gap(number + 1, number + 1 + size, 1 + size)
            number += 1 + size
        elif what == "other":
            value = {"id": "x", "text": text, "timestamp": START + seconds * 1000, "source": "other"}
            made.append(value, size % PARTITIONS)
        elif what == "broken":
            made.reject(made.append(b"{" + text.encode(), size % PARTITIONS), "not a JSON object")
        elif what == "heartbeat":
            made.heartbeat(number, seconds)
        else:
            number += 1
            if what in ("emptied", "refused"):
                made.reject_frame("empty after cleaning" if what == "emptied" else "broken", text, f"{FEED}/{number}")
            elif what == "late":
                made.reject(made.post(number, max(0, seconds - 30), text))
            else:
                made.post(number, seconds, text)
    made.heartbeat(number, seconds + 60)
    made.aggregate(seconds + 50, chunk)
    return made


@settings(deadline=None, max_examples=examples(150))
@given(STEPS, st.integers(1, 5))
def test_random_histories_balance(steps: Sequence[tuple[str, int, str]], chunk: int) -> None:
    report = report_of(random_history(steps, chunk))
    assert report.balanced, report.lines
    topic = report.topic
    assert topic.posts + topic.others == topic.in_documents + topic.rejected
    for numbers in report.numbers:
        assert numbers.numbers == numbers.posts + numbers.emptied + numbers.rejected + numbers.lost


def variants(made: History) -> Iterator[History]:
    """The history with one item less, or with one of its items twice."""
    for name in ("topic", "rejected", "documents"):
        items: list[Any] = getattr(made, name)
        for index, item in enumerate(items):
            if name == "topic" and loaded(item).get("text", "") is None:
                continue  # a heartbeat: nothing is lost with it
            yield changed(made, name, [*items[:index], *items[index + 1 :]])
            if name == "rejected" and item.key.startswith(b"tweets/"):
                continue  # a rejection of the aggregator's may come twice
            twice = item._replace(offset=1_000_001) if isinstance(item, Record) else item
            yield changed(made, name, [*items, twice])
    for index, each in enumerate(made.documents):
        for text in set(each.content):
            fewer = list(each.content)
            fewer.remove(text)
            for content in (fewer, [*each.content, text]):
                other = each._replace(content=content)
                yield changed(made, "documents", [*made.documents[:index], other, *made.documents[index + 1 :]])


def changed(made: History, name: str, items: list[Any]) -> History:
    changes: dict[str, Any] = {name: items}
    return dataclasses.replace(made, **changes)


@settings(deadline=None, max_examples=examples(40))
@given(STEPS, st.integers(1, 5))
def test_one_item_less_or_twice_never_balances(steps: Sequence[tuple[str, int, str]], chunk: int) -> None:
    for other in variants(random_history(steps, chunk)):
        assert not report_of(other, wait_seconds=0).balanced


@given(st.sets(st.integers(0, 200_000)), st.integers(0, 200_000), st.integers(0, 200_000))
def test_numbers_are_a_set(wanted: set[int], first: int, last: int) -> None:
    numbers = NumberSet()
    assert all(numbers.add(number) for number in wanted)
    assert not any(numbers.add(number) for number in wanted)
    inside = {number for number in wanted if first <= number <= last}
    assert numbers.count(first, last) == len(inside)
    assert {n for low, high in numbers.runs(first, last) for n in range(low, high + 1)} == inside
    missing = sum(high - low + 1 for low, high in numbers.missing_runs(first, last))
    assert missing == max(0, last - first + 1) - len(inside)
    assert numbers.last == max(wanted, default=None)


def test_a_very_large_gap_takes_no_memory() -> None:
    made = history()
    made.report_gap(201, 10**17 - 1, 10**17 - 201)
    made.post(10**17, 101)
    made.heartbeat(10**17, 160)
    made.documents.clear()
    made.aggregate()
    assert report_of(made).balanced


class Broker:
    """The part of KafkaConsumer that the audit uses, on the topics of a history.

    It returns three records at a time, and skips offsets without a record, as Kafka skips transaction markers.
    """

    def __init__(self, made: History, stalls: bool = False) -> None:
        self.made = made
        self.stalls = stalls
        self.options: dict[str, Any] = {}
        self.closed = False
        self._positions: dict[Any, int] = {}
        self._paused: set[Any] = set()

    def __call__(self, **options: Any) -> "Broker":
        self.options = options
        return self

    def _records(self, partition: Any) -> list[Record]:
        topics = self.made.reader().topics[partition.topic]
        return sorted(record for record in topics if record.partition == partition.partition)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {record.partition for record in self.made.reader().topics.get(topic, ())} or None

    def beginning_offsets(self, partitions: Sequence[Any]) -> dict[Any, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Sequence[Any]) -> dict[Any, int]:
        return {partition: self._records(partition)[-1].offset + 2 for partition in partitions}

    def assign(self, partitions: Sequence[Any]) -> None:
        self._positions = dict.fromkeys(partitions, 0)  # a paused partition stays paused

    def seek(self, partition: Any, offset: int) -> None:
        self._positions[partition] = offset

    def position(self, partition: Any) -> int:
        return self._positions[partition]

    def pause(self, *partitions: Any) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: Any) -> None:
        self._paused.difference_update(partitions)

    def poll(self, timeout_ms: int, max_records: int) -> dict[Any, list[SimpleNamespace]]:
        assert timeout_ms < 5_000 < 3 * max_records
        polled = {}
        for partition in self._positions.keys() - self._paused if not self.stalls else ():
            found = [record for record in self._records(partition) if record.offset >= self._positions[partition]][:3]
            end = self.end_offsets([partition])[partition]
            self._positions[partition] = found[-1].offset + 1 if len(found) == 3 else end
            polled[partition] = [
                SimpleNamespace(**(record._asdict() | {"timestamp": record.timestamp})) for record in found
            ]
        return polled

    def close(self) -> None:
        self.closed = True


class Store:
    """The part of MongoClient that the audit uses."""

    def __init__(self, made: History, error: Exception | None = None) -> None:
        self.made = made
        self.error = error
        self.admin = self

    def __call__(self, uri: str, **_: int) -> "Store":
        assert uri == URI
        return self

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __getitem__(self, database: str) -> "Store":
        assert database == "twitter_db"
        return self

    def command(self, _: str) -> None:
        if self.error:
            raise self.error

    def get_collection(self, name: str, codec_options: object) -> "Store":
        assert name == "twitter_collection"
        assert codec_options
        return self

    def find(self, query: dict[str, dict[str, str]], fields: dict[str, int]) -> Iterator[dict[str, Any]]:
        limits = query["timestamp"]
        for each in self.made.documents:
            if limits["$gt"] < each.timestamp <= limits.get("$lte", "~"):
                yield {"_id": each.hash} | {name: getattr(each, name) for name in fields}


URI = "mongodb://user:secret@database"
ENVIRONMENT = {"MONGODB_URI": URI, "AUDIT_WAIT_SECONDS": "0"}


def serve(
    monkeypatch: pytest.MonkeyPatch, made: History, *, stalls: bool = False, error: Exception | None = None
) -> Broker:
    made.reject_frame("not JSON")
    broker = Broker(made, stalls)
    monkeypatch.setattr(kafka_reader, "KafkaConsumer", broker)
    monkeypatch.setattr(run_audit, "MongoClient", Store(made, error))
    monkeypatch.setattr("time.sleep", lambda _: None)
    return broker


def test_the_command_reads_kafka_and_mongodb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = history()
    broker = serve(monkeypatch, made)
    assert run_audit.main(ENVIRONMENT) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "balanced"
    assert (broker.options["isolation_level"], broker.closed) == ("read_committed", True)
    del made.documents[0]
    assert run_audit.main(ENVIRONMENT) == 1
    assert "NOT BALANCED: 1 windows or documents" in capsys.readouterr().out


def test_ranges_are_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made = history()
    serve(monkeypatch, made)
    lines: list[str] = []
    monkeypatch.setattr(kafka_reader, "PROGRESS_SECONDS", 0)
    ranges = [PartitionRange(1, 10, 14), PartitionRange(0, 4, 9), PartitionRange(1, 0, 3)]
    with run_audit.open_reader(read_aggregator_settings(ENVIRONMENT), lines.append) as reader:
        found = sorted((each.partition, each.offset) for each in reader.records(TOPIC, ranges))
    assert found == [(0, 4), (0, 6), (0, 8), (1, 0), (1, 2), (1, 10), (1, 12)]
    assert lines[-1] == "reading topic tweets, records: 7 of at most 12"


@pytest.mark.parametrize(
    ("error", "output"),
    [
        (ServerSelectionTimeoutError("user:secret@database"), "no MongoDB answers at MONGODB_URI (not shown)"),
        (OperationFailure("x", details={"errmsg": "not allowed"}), "MongoDB refuses to be read: not allowed"),
    ],
)
def test_a_database_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, output: str
) -> None:
    serve(monkeypatch, history(), error=error)
    assert run_audit.main(ENVIRONMENT) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {output}")
    assert "secret" not in printed.err + printed.out
    assert printed.err.count("\n") == 1


def test_a_kafka_that_sends_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serve(monkeypatch, history(), stalls=True)
    monkeypatch.setattr(kafka_reader, "STALLED_SECONDS", 0)
    assert run_audit.main(ENVIRONMENT) == 2
    assert capsys.readouterr().err == "error: Kafka sent nothing of topic 'tweets' for 0 s\n"


def test_a_kafka_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kafka_reader, "TIMEOUT_MS", 200)
    assert run_audit.main({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}) == 2
    assert capsys.readouterr().err.startswith("error: no Kafka answers at KAFKA_BOOTSTRAP_SERVERS='127.0.0.1:1'")


def test_a_topic_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serve(monkeypatch, History())
    assert run_audit.main(ENVIRONMENT) == 2
    assert "Kafka has no topic 'tweets'" in capsys.readouterr().err


def test_a_topic_that_may_not_be_read() -> None:
    with pytest.raises(kafka_reader.UnreachableError, match="needs the ACL Read"), kafka_reader.kafka_errors(REJECTED):
        raise TopicAuthorizationFailedError(REJECTED)


def test_windows_whose_documents_are_deleted_for_their_age_are_not_missing() -> None:
    made = history()
    del made.documents[0]
    now = START + DAY_MS + 20_000 - MAX_AUDIT_MS
    assert not report_of(made, now_ms=now).balanced
    kept = report_of(made, now_ms=now, retention_days=1)
    assert kept.balanced, kept.lines
    assert (kept.topic.expired, kept.topic.windows, kept.topic.posts, kept.topic.in_documents) == (1, 4, 80, 80)
    assert "  1 windows are older than MONGODB_RETENTION_DAYS and are not checked" in kept.lines
    assert not report_of(made, now_ms=now - 20_000, retention_days=1).balanced
    assert not report_of(made, now_ms=now, retention_days=2).balanced


def test_a_window_that_has_not_expired_is_still_missing() -> None:
    made = history()
    del made.documents[1]
    report = report_of(made, now_ms=START + DAY_MS + 20_000 - MAX_AUDIT_MS, retention_days=1)
    assert mismatches(report).startswith("2026-01-01T00:00:40Z: no document")


def test_chunks_of_an_expired_window_may_go_one_by_one() -> None:
    made = history(chunk=7)
    del made.documents[1]
    report = report_of(made, now_ms=START + DAY_MS + 20_000 - MAX_AUDIT_MS, retention_days=1)
    assert (report.balanced, report.topic.expired) == (True, 1)


def test_the_age_is_a_setting_of_the_audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = history()
    made.documents.clear()
    serve(monkeypatch, made)
    assert run_audit.main(ENVIRONMENT) == 1
    capsys.readouterr()
    assert run_audit.main(ENVIRONMENT | {"MONGODB_RETENTION_DAYS": "1"}) == 0
    assert "5 windows are older than MONGODB_RETENTION_DAYS" in capsys.readouterr().out
    assert run_audit.main(ENVIRONMENT | {"MONGODB_RETENTION_DAYS": "-1"}) == 2
    assert "MONGODB_RETENTION_DAYS='-1'" in capsys.readouterr().err


def test_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_audit.main({"AUDIT_WAIT_SECONDS": "soon"}) == 2
    assert "AUDIT_WAIT_SECONDS='soon'" in capsys.readouterr().err


def test_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_audit, "run", interrupt)
    assert run_audit.main(ENVIRONMENT) == 130
    assert capsys.readouterr().err == "stopped\n"
