"""Which windows are written into the real document store, and what a write that stops halfway leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from jobs.aggregator_stream import stored_documents
from jobs.audit.__main__ import UnreachableError, open_collection
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
    """A run of the job is a new StoredDocuments."""

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
    """Write the texts as the window's documents, if that may be."""
    if not stored.may_write(START, END, len(texts)):
        return False
    stored.write(START, END, window_documents(TOPIC, START, END, texts, None, max_bytes))
    return True


def test_a_window_is_replaced_by_more_posts_and_never_by_fewer(store: Store) -> None:
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


def test_a_window_that_needs_fewer_chunks_leaves_none_behind(store: Store) -> None:
    assert write(store.run(), TEXTS, SIX_DOCUMENTS)
    assert store.contents() == [[text] for text in TEXTS]
    assert write(store.run(rewrite=True), TEXTS)
    assert store.contents() == [TEXTS]


class Dying(list[dict[str, Any]]):
    """Documents of which only the first `alive` are written before the write fails."""

    def __init__(self, documents: list[dict[str, Any]], alive: int) -> None:
        super().__init__(documents)
        self._alive = alive

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, document in enumerate(super().__iter__()):
            if number == self._alive:
                raise PyMongoError
            yield document


# Texts and limit of the run before, texts and limit of the one that stops halfway, and what is stored at last.
LONG = ["0" * 100, *(str(number) for number in range(1, 6))]
CUTS = {
    "fewer chunks and more posts": (TEXTS[:5], SIX_DOCUMENTS, TEXTS, 80, [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]),
    "fewer chunks": (TEXTS, SIX_DOCUMENTS, TEXTS, 80, [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]),
    "more chunks": (TEXTS, 80, TEXTS, SIX_DOCUMENTS, [[text] for text in TEXTS]),
    "as many, the last one smaller": (LONG, 120, LONG, 140, [LONG[:2], LONG[2:]]),
}


@pytest.mark.parametrize("before_it_dies", range(6))
@pytest.mark.parametrize(("old", "old_limit", "new", "new_limit", "expected"), CUTS.values(), ids=CUTS)
def test_a_write_that_stops_halfway_is_done_again(
    store: Store,
    old: list[str],
    old_limit: int,
    new: list[str],
    new_limit: int,
    expected: list[list[str]],
    before_it_dies: int,
) -> None:
    """The run before has cut the window at other places. Where it had as many posts, a replay writes it again."""
    rewrite = len(old) == len(new)
    assert write(store.run(), old, old_limit)
    documents = window_documents(TOPIC, START, END, new, None, new_limit)
    assert len(documents) == len(expected)
    run = store.run(rewrite=rewrite)
    assert run.may_write(START, END, len(new))
    if before_it_dies < len(documents):
        with pytest.raises(PyMongoError):
            run.write(START, END, Dying(documents, before_it_dies))
        assert write(store.run(rewrite=rewrite), new, new_limit)
    else:
        run.write(START, END, documents)
    assert store.contents() == expected


def test_the_newest_window_is_told_with_its_length(store: Store) -> None:
    run = store.run()
    assert run.newest_window() is None
    write(run, TEXTS)
    run.write(LATER_START, LATER_END, window_documents(TOPIC, LATER_START, LATER_END, TEXTS, None, ONE_DOCUMENT))
    assert run.newest_window() == Window(LATER_END, 60)


def test_a_store_that_speaks_tls_is_trusted_for_whom_the_ca_file_names(stack: Stack, tmp_path: Path) -> None:
    """By the job and by the audit. SecantusDB here, since an installed mongod takes other options."""
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
        strange = stored_documents(read_aggregator_settings({"MONGODB_URI": uri}))
        with pytest.raises(PyMongoError, match="CERTIFICATE_VERIFY_FAILED"):
            strange.newest_window()
        strange.close()
    finally:
        store.stop()
