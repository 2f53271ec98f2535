"""Which windows StoredDocuments writes into the document store, and what follows a write that fails halfway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from jobs.aggregator_stream import stored_documents
from jobs.audit.__main__ import open_collection
from jobs.audit.kafka_reader import UnreachableError
from jobs.defaults import DATABASE
from jobs.documents import document_key, window_documents
from jobs.settings import read_aggregator_settings
from jobs.stored_documents import StoredDocuments, Window
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


def test_the_newest_window_has_its_length(store: Store) -> None:
    run = store.run()
    assert run.newest_window() is None
    write(run, TEXTS)
    run.write(LATER_START, LATER_END, window_documents(TOPIC, LATER_START, LATER_END, TEXTS, None, ONE_DOCUMENT))
    assert run.newest_window() == Window(LATER_END, 60)


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
        assert stored.newest_window() is None
        stored.write(START, END, window_documents(settings.topic, START, END, TEXTS, None, ONE_DOCUMENT))
        assert stored.newest_window() == Window(END, 60)
        stored.close()
        without_ca_file = stored_documents(read_aggregator_settings({"MONGODB_URI": uri}))
        with pytest.raises(PyMongoError, match="CERTIFICATE_VERIFY_FAILED"):
            without_ca_file.newest_window()
        without_ca_file.close()
    finally:
        store.stop()
