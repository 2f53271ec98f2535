"""Which windows StoredDocuments writes into the document store, and what follows a write that fails halfway."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from jobs.aggregator_stream import stored_documents
from jobs.audit.__main__ import open_collection
from jobs.audit.kafka_reader import UnreachableError
from jobs.buckets import Bucket, buckets
from jobs.defaults import DATABASE
from jobs.documents import document_key, iso, unix, window_documents
from jobs.layouts import Layout, Newest, Window
from jobs.settings import read_aggregator_settings
from jobs.stored_documents import StoredDocuments
from local.process import Program, wait_until
from local.stack import Stack
from local.store import client, store_command
from tests.integration.conftest import free_ports
from tests.support.certificates import self_signed
from tests.support.stored import documents

TOPIC, COLLECTION = "stored", "stored_documents"
START, END, LATER_START, LATER_END = (f"2026-11-24T08:0{minute}:00Z" for minute in range(4))
TEXTS = [f"{number}" * 20 for number in range(6)]
ONE_DOCUMENT, SIX_DOCUMENTS = 10_000, 40


class Store:
    """The collection of the tests. Each `run` is like a run of the job."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def run(self, *, rewrite: bool = False) -> StoredDocuments:
        return StoredDocuments(self.uri, DATABASE, COLLECTION, TOPIC, rewrite=rewrite)

    def contents(self) -> list[list[str]]:
        """The texts of the window's documents, in the order of the chunks."""
        found = documents(self.uri, DATABASE, COLLECTION).get(END, [])
        keys = [document_key(TOPIC, START, END, chunk) for chunk in range(10)]
        return [document["content"] for document in sorted(found, key=lambda each: keys.index(each["hash"]))]


@pytest.fixture
def store(stack: Stack) -> Iterator[Store]:
    store = Store(stack.settings.store_uri)
    yield store
    with client(store.uri) as connection:
        connection[DATABASE][COLLECTION].drop()


def write(stored: StoredDocuments, texts: list[str], max_bytes: int = ONE_DOCUMENT) -> bool:
    """Write the texts as the documents of the window; returns whether StoredDocuments allows it."""
    if not stored.may_write(START, END, len(texts)):
        return False
    stored.write(START, END, window_documents(TOPIC, START, END, texts, None, max_bytes))
    return True


def test_a_window_is_replaced_by_one_with_more_posts_and_never_by_one_with_fewer(store: Store) -> None:
    assert write(store.run(), TEXTS[:3])
    for run, texts, written in [
        (store.run(), TEXTS[:2], False),
        (store.run(), TEXTS[:3], False),
        (store.run(rewrite=True), TEXTS[:2], False),
        (store.run(rewrite=True), TEXTS[3:], True),
        (store.run(), TEXTS[:4], True),
    ]:
        assert write(run, texts) is written
        assert (run.written, run.kept) == (int(written), int(not written))
        assert store.contents() == [texts] or not written
    assert store.contents() == [TEXTS[:4]]


def test_a_date_of_something_else_does_not_make_a_window_new(store: Store) -> None:
    """The store sorts it above all texts."""
    assert write(store.run(), TEXTS)
    with client(store.uri) as connection:
        connection[DATABASE][COLLECTION].insert_one({"_id": "date", "timestamp": datetime(2020, 1, 1, tzinfo=UTC)})
    run = store.run()
    assert not write(run, TEXTS[:3])
    assert run.kept == 1
    assert store.contents() == [TEXTS]


def test_in_one_run_a_window_that_fires_again_replaces_its_document(store: Store) -> None:
    run = store.run()
    assert write(run, TEXTS[:3])
    assert write(run, TEXTS)
    assert store.contents() == [TEXTS]


def test_a_window_with_fewer_chunks_than_before_deletes_the_others(store: Store) -> None:
    assert write(store.run(), TEXTS, SIX_DOCUMENTS)
    assert store.contents() == [[text] for text in TEXTS]
    assert write(store.run(rewrite=True), TEXTS)
    assert store.contents() == [TEXTS]


class FailingDocuments(list[dict[str, Any]]):
    """Documents whose write fails after the first `written` ones."""

    def __init__(self, documents: list[dict[str, Any]], written: int) -> None:
        super().__init__(documents)
        self._written = written

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, document in enumerate(super().__iter__()):
            if number == self._written:
                raise PyMongoError
            yield document


# Texts and limit of the run before, texts and limit of the run that fails halfway, and what is stored at the end.
LONG = ["0" * 100, *(str(number) for number in range(1, 6))]
CHUNKINGS = {
    "fewer chunks and more posts": (TEXTS[:5], SIX_DOCUMENTS, TEXTS, 80, [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]),
    "fewer chunks": (TEXTS, SIX_DOCUMENTS, TEXTS, 80, [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]),
    "more chunks": (TEXTS, 80, TEXTS, SIX_DOCUMENTS, [[text] for text in TEXTS]),
    "as many, the last one smaller": (LONG, 120, LONG, 140, [LONG[:2], LONG[2:]]),
}


@pytest.mark.parametrize("written_first", range(6))
@pytest.mark.parametrize(("old", "old_limit", "new", "new_limit", "expected"), CHUNKINGS.values(), ids=CHUNKINGS)
def test_a_write_that_fails_halfway_is_repeated(
    store: Store,
    old: list[str],
    old_limit: int,
    new: list[str],
    new_limit: int,
    expected: list[list[str]],
    written_first: int,
) -> None:
    """The run before has split the window at other posts. If it had as many posts, only a replay writes it again."""
    rewrite = len(old) == len(new)
    assert write(store.run(), old, old_limit)
    documents = window_documents(TOPIC, START, END, new, None, new_limit)
    assert len(documents) == len(expected)
    run = store.run(rewrite=rewrite)
    assert run.may_write(START, END, len(new))
    if written_first < len(documents):
        with pytest.raises(PyMongoError):
            run.write(START, END, FailingDocuments(documents, written_first))
        assert write(store.run(rewrite=rewrite), new, new_limit)
    else:
        run.write(START, END, documents)
    assert store.contents() == expected


def test_buckets_of_a_window_are_replaced_and_kept_each_by_itself(store: Store) -> None:
    first, second = buckets(2)

    def write_bucket(stored: StoredDocuments, bucket: Bucket, texts: list[str], max_bytes: int = ONE_DOCUMENT) -> bool:
        if not stored.may_write(START, END, len(texts), bucket):
            return False
        stored.write(START, END, window_documents(TOPIC, START, END, texts, None, max_bytes, bucket), bucket)
        return True

    def contents() -> list[list[str]]:
        return sorted(each["content"] for each in documents(store.uri, DATABASE, COLLECTION).get(END, []))

    run = store.run()
    assert write_bucket(run, first, TEXTS[:3], SIX_DOCUMENTS)
    assert write_bucket(run, second, TEXTS[3:5])
    restarted = store.run()
    assert not write_bucket(restarted, first, TEXTS[:2])
    assert not write_bucket(restarted, second, TEXTS[3:5])
    assert write_bucket(restarted, second, TEXTS[3:])
    assert contents() == [[text] for text in TEXTS[:3]] + [TEXTS[3:]]
    assert write_bucket(store.run(rewrite=True), first, TEXTS[:3])
    assert contents() == [TEXTS[:3], TEXTS[3:]]


def window(age: int, seconds: int = 60) -> tuple[str, str]:
    """Start and end of a window before the one that ends at LATER_END."""
    end = unix(LATER_END) - age * seconds
    return iso(end - seconds), iso(end)


def write_windows(run: StoredDocuments, layout: Layout, *written: tuple[int, int]) -> None:
    """Write windows of so many ages and numbers of buckets, as `layout` says."""
    for age, number in written:
        start, end = window(age, layout.seconds)
        bucket = Bucket(number, layout.buckets)
        run.write(start, end, window_documents(TOPIC, start, end, TEXTS, None, ONE_DOCUMENT, bucket), bucket)


@pytest.mark.parametrize("now", [Layout(60), Layout(60, 4), Layout(20, 2), Layout(7)])
@pytest.mark.parametrize("then", [Layout(60), Layout(60, 4)])
def test_the_newest_window_has_its_layout_whatever_it_is_now(store: Store, now: Layout, then: Layout) -> None:
    run = store.run()
    assert run.newest_window(now) is None
    write_windows(run, then, (1, 0), (0, 0))
    found = run.newest_window(now)
    assert found is not None
    assert (found.end, found.layout) == (LATER_END, then)


@pytest.mark.parametrize("then", [Layout(60, 4), Layout(60, 6)])
def test_a_layout_of_which_both_numbers_have_changed_is_found(store: Store, then: Layout) -> None:
    write_windows(store.run(), then, (1, 0), (0, 0), (0, 1))
    run = store.run()
    assert run.newest_window(Layout(20, 2)) == Newest(LATER_END, then, window(1)[1])
    assert run.other_layout(Layout(20, 2), "") == Window(LATER_END, then)


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], 1),
        ([(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)], 2),
        ([(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0)], 4),
        ([(0, 0)], 0),
        ([(0, 0), (1, 0), (5, 0)], 5),
    ],
)
def test_every_task_has_written_what_ends_before_the_window_that_is_reached(
    store: Store, written: list[tuple[int, int]], reached: int
) -> None:
    """Of two buckets, each written by one task for even and one for odd windows."""
    write_windows(store.run(), Layout(60, 2), *written)
    found = store.run().newest_window(Layout(60, 2))
    assert found == Newest(LATER_END, Layout(60, 2), window(reached)[1])


def test_windows_of_another_layout_are_found_where_a_replay_begins(store: Store) -> None:
    run = store.run()
    write_windows(run, Layout(60), (5, 0))
    write_windows(run, Layout(60, 2), (4, 0), (4, 1), (3, 1))
    with client(store.uri) as connection:
        connection[DATABASE][COLLECTION].insert_many([{"timestamp": window(4)[1]}, {"timestamp": "never"}, {}])
    assert run.other_layout(Layout(60, 2), window(5)[1]) is None
    assert run.other_layout(Layout(60, 2), window(6)[1]) == Window(window(5)[1], Layout(60))
    assert run.other_layout(Layout(60), window(5)[1]) == Window(window(3)[1], Layout(60, 2))
    assert run.other_layout(Layout(20), "") == Window(window(3)[1], Layout(60, 2))


def test_a_store_with_tls_is_trusted_only_with_its_ca_file(stack: Stack, tmp_path: Path) -> None:
    """The job and the audit trust it. The test uses SecantusDB, since mongod has other options for TLS."""
    port = free_ports().mongodb
    key, ca = self_signed(tmp_path)
    _, command = store_command(tmp_path / "data", port, None)
    command += ["--tls-cert-file", str(ca), "--tls-key-file", str(key)]
    store = Program("a store with TLS", command, tmp_path / "store.log", owner=stack.settings.state)
    uri = f"mongodb://127.0.0.1:{port}/?tls=true&serverSelectionTimeoutMS=2000"
    settings = read_aggregator_settings({"MONGODB_URI": uri, "MONGODB_CA_FILE": str(ca)})

    def answers() -> bool:
        try:
            with open_collection(settings):
                return True
        except UnreachableError:
            return False

    store.start()
    try:
        wait_until(answers, "the store with TLS to answer", 60, program=store)
        stored = stored_documents(settings)
        assert stored.newest_window(Layout(60)) is None
        stored.write(START, END, window_documents(settings.topic, START, END, TEXTS, None, ONE_DOCUMENT))
        assert stored.newest_window(Layout(60)) == Newest(END, Layout(60), END)
        stored.close()
        without_ca_file = stored_documents(read_aggregator_settings({"MONGODB_URI": uri}))
        with pytest.raises(PyMongoError, match="CERTIFICATE_VERIFY_FAILED"):
            without_ca_file.newest_window(Layout(60))
        without_ca_file.close()
    finally:
        store.stop()
