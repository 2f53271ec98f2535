"""In which documents the newest window and other layouts are searched. The integration tests write into a store."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs import aggregator_stream, stored_documents
from jobs.buckets import Bucket
from jobs.documents import document_key, iso, unix
from jobs.layouts import Layout, Newest, Window
from jobs.settings import SettingError, read_aggregator_settings
from jobs.starting_point import StartingPoint
from jobs.stored_documents import RECENT, StoredDocuments

TOPIC = "tweets"
END = "2026-11-24T08:00:00Z"
THEN, NOW = Layout(20, 6), Layout(30)  # both differ, and 6 is no usual number of buckets
Found = list[dict[str, Any]]


class Documents:
    """The part of a collection that StoredDocuments reads. A timestamp is a text, a date or missing."""

    def __init__(self, documents: Found) -> None:
        self.documents = documents
        self.database = self
        self.client = self

    def __getitem__(self, _: str) -> "Documents":
        return self

    def close(self) -> None: ...

    def create_index(self, name: str) -> None:
        assert name == "timestamp"

    def find(self, query: dict[str, dict[str, str]], fields: dict[str, int]) -> "Cursor":
        """`$gt` with a text finds only texts, as in MongoDB."""
        assert fields == {"timestamp": 1}
        found = self.documents
        if query:
            since = query["timestamp"]["$gt"]
            found = [each for each in found if isinstance(each.get("timestamp"), str) and each["timestamp"] > since]
        return Cursor(found)

    def aggregate(self, stages: Sequence[dict[str, Any]]) -> Found:
        keys = stages[0]["$match"]["_id"]["$in"]
        return [{"_id": each["_id"], "posts": each["posts"]} for each in self.documents if each["_id"] in keys]


class Cursor:
    """Found documents. Like MongoDB it sorts dates after texts, and documents without a timestamp before them."""

    def __init__(self, documents: Found) -> None:
        self._documents = documents

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._documents)

    def sort(self, field: str, direction: int) -> "Cursor":
        def order(document: dict[str, Any]) -> tuple[int, str]:
            value = document.get(field, "")
            return isinstance(value, datetime), str(value)

        return Cursor(sorted(self._documents, key=order, reverse=direction < 0))

    def limit(self, number: int) -> "Cursor":
        return Cursor(self._documents[:number])


def end(age: int, seconds: int = 20) -> str:
    """The end of a window before the one that ends at END."""
    return iso(unix(END) - age * seconds)


def written(ends: Iterable[str], layout: Layout, topic: str = TOPIC, bucket: int = 0) -> Found:
    """A document of each of these windows."""

    def key(end: str) -> str:
        return document_key(topic, iso(unix(end) - layout.seconds), end, 0, Bucket(bucket, layout.buckets))

    return [{"_id": key(each), "timestamp": each, "posts": 3} for each in ends]


def foreign(timestamps: Iterable[object]) -> Found:
    return [{"_id": number, "timestamp": each} for number, each in enumerate(timestamps)]


class Client:
    """Stands for `pymongo.MongoClient[...]`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def __getitem__(self, _: object) -> "Client":
        return self

    def __call__(self, _: str, **__: object) -> dict[str, Documents]:
        return {read_aggregator_settings({}).database: self._documents}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    def serve(*documents: Found) -> StoredDocuments:
        """A run of the job on a collection with these documents."""
        collection = Documents([each for found in documents for each in found])
        monkeypatch.setattr("pymongo.MongoClient", Client(collection))
        return aggregator_stream.stored_documents(read_aggregator_settings({}))

    return serve


@pytest.mark.parametrize("bucket", range(6))
def test_documents_of_any_layout_are_found(serve: Any, bucket: int, caplog: pytest.LogCaptureFixture) -> None:
    """A bucket without posts has no document, so every bucket is tried."""
    caplog.set_level(logging.INFO, "jobs.stored_documents")
    stored = serve(written([END], THEN, bucket=bucket))
    assert stored.newest_window(NOW) == Newest(END, THEN, END)
    assert caplog.messages == ["searching documents of topic tweets of any WINDOW_SECONDS and WINDOW_BUCKETS"]
    assert stored.other_layout(NOW, "") == Window(END, THEN)


def test_a_likely_layout_is_found_without_a_search_of_all(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jobs.stored_documents")
    stored = serve(written([END], Layout(20, 6)))
    assert stored.newest_window(Layout(20)) == Newest(END, Layout(20, 6), END)
    assert stored.other_layout(Layout(20), "") == Window(END, Layout(20, 6))
    assert caplog.messages == []


def test_a_job_with_any_other_layout_stores_no_post_twice(serve: Any) -> None:
    serve(written([end(1), END], THEN))
    settings = read_aggregator_settings({"WINDOW_SECONDS": "30"})
    start = aggregator_stream.where_to_start(settings, restored=False)
    assert start.begin_ms == unix(END) * 1000
    replay = read_aggregator_settings({"WINDOW_SECONDS": "30", "REPLAY_FROM": "earliest"})
    with pytest.raises(SettingError, match="was written with WINDOW_SECONDS=20 and WINDOW_BUCKETS=6"):
        aggregator_stream.where_to_start(replay, restored=False)


@pytest.mark.parametrize(("others", "then"), [(2, THEN), (8, Layout(20)), (8, Layout(60))])
def test_documents_that_are_older_than_those_of_another_topic_are_found(
    serve: Any, others: int, then: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of any layout among the newest ends, and those of a likely one among more of them."""
    monkeypatch.setattr(stored_documents, "NEWEST", 3)
    monkeypatch.setattr(stored_documents, "RECENT", 9)
    newest = end(9)
    stored = serve(written(map(end, range(others)), Layout(20), "posts"), written([newest], then))
    assert stored.newest_window(Layout(20)) == Newest(newest, then, newest)
    assert stored.newest_window(NOW) == Newest(newest, then, newest)
    assert stored.other_layout(NOW, "") == Window(newest, then)


def test_only_the_newest_windows_are_searched(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_documents, "NEWEST", 3)
    monkeypatch.setattr(stored_documents, "RECENT", 9)
    of_another_topic = written(map(end, range(9)), Layout(20), "posts")
    assert serve(of_another_topic, written([end(9)], Layout(20))).newest_window(Layout(20)) is None
    assert serve(of_another_topic[:3], written([end(9)], THEN)).newest_window(NOW) is None


def test_the_layout_of_the_newest_window_is_tried_among_more_windows(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_documents, "NEWEST", 1)
    stored = serve(written(map(end, range(9)), Layout(20), "posts"), written([end(9)], THEN))
    assert stored.other_layout(NOW, "") is None
    assert stored.other_layout(NOW, "", THEN) == Window(end(9), THEN)


def test_the_newest_of_several_layouts_counts(serve: Any) -> None:
    stored = serve(written([END], THEN), written([end(1, 30)], NOW))
    assert stored.newest_window(NOW) == Newest(END, THEN, END)
    assert stored.other_layout(THEN, "") == Window(end(1, 30), NOW)


@pytest.mark.parametrize(
    "timestamp", ["never {}", "2026-11-24T09:00:00.{}Z", "2026-11-25", datetime(2027, 1, 1, tzinfo=UTC)]
)
def test_timestamps_of_something_else_do_not_count(serve: Any, timestamp: object) -> None:
    several = (timestamp.format(n) if isinstance(timestamp, str) else timestamp for n in range(1_000, 1_001 + RECENT))
    stored = serve(written([END], Layout(20)), foreign(several))
    assert stored.newest_window(Layout(20)) == Newest(END, Layout(20), END)
    assert stored.other_layout(Layout(60), "") == Window(END, Layout(20))


def test_a_collection_of_something_else_has_no_window(serve: Any) -> None:
    stored = serve(foreign([END, "never", datetime(2027, 1, 1, tzinfo=UTC)]), [{"_id": "x"}])
    assert stored.newest_window(Layout(20)) is None
    assert stored.other_layout(Layout(20), "") is None


@pytest.mark.parametrize("date", [datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)])
def test_a_date_of_something_else_does_not_make_windows_new(serve: Any, date: datetime) -> None:
    """It is sorted above all texts."""
    stored = serve(written([END], Layout(20)), foreign([date]))
    assert not stored.may_write(end(1), END, 2)
    assert stored.may_write(end(1), END, 4)
    assert stored.may_write(END, end(-1), 1)
    assert stored.kept == 1


def test_without_documents_every_window_is_new(serve: Any) -> None:
    assert serve(foreign([datetime(2030, 1, 1, tzinfo=UTC)])).may_write(end(1), END, 1)
    assert aggregator_stream.where_to_start(read_aggregator_settings({}), restored=False) == StartingPoint(
        {"scan.startup.mode": "earliest-offset"}
    )
