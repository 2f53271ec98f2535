"""The keys of documents, and the window length that a key implies."""

import hashlib

import pytest
from bson.int64 import Int64

from jobs.counters import Counters
from jobs.documents import document_key, iso, unix, window_documents, window_seconds_of

COUNTERS = Counters(*range(8))
START, END = "2026-11-24T08:00:00Z", "2026-11-24T08:00:20Z"


def test_a_key_is_the_hash_that_the_documentation_describes() -> None:
    assert document_key("tweets", START, END, 3) == hashlib.sha256(f"tweets/{START}/{END}/3".encode()).hexdigest()


def test_a_window_is_one_document_with_the_counters_or_with_none() -> None:
    texts = ["b", "a"]
    (document,) = window_documents("tweets", START, END, texts, COUNTERS, 1_000)
    key = document_key("tweets", START, END, 0)
    assert document == {"hash": key, "content": texts, "timestamp": END, **COUNTERS._asdict()}
    assert {type(document[name]) for name in Counters._fields} == {Int64}  # BIGINT, whatever the number
    (document,) = window_documents("tweets", START, END, texts, None, 1_000)
    assert document == {"hash": key, "content": texts, "timestamp": END, **dict.fromkeys(Counters._fields)}


def test_a_window_that_is_too_large_is_several_documents() -> None:
    documents = window_documents("tweets", START, END, ["a" * 20, "b" * 20, "c" * 20], COUNTERS, 80)
    assert [document["hash"] for document in documents] == [document_key("tweets", START, END, n) for n in (0, 1)]
    assert [document["content"] for document in documents] == [["a" * 20, "b" * 20], ["c" * 20]]
    assert all(document["total_cases_count"] == 0 for document in documents)


def test_times_are_iso_8601_in_utc() -> None:
    assert iso(1_795_507_200) == START
    assert unix(START) == 1_795_507_200


@pytest.mark.parametrize("text", ["", "2026-11-24", "2026-11-24T08:00:00", "2026-11-24T08:00:00+00:00", "never"])
def test_no_other_form_of_a_time_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"match|remains"):
        unix(text)


@pytest.mark.parametrize(
    ("start", "seconds"), [(START, 20), ("2026-11-24T08:00:19Z", 1), ("2026-11-24T07:00:20Z", 3_600)]
)
@pytest.mark.parametrize("chunk", [0, 7])
def test_the_length_of_a_window_is_found_by_its_key(start: str, seconds: int, chunk: int) -> None:
    assert window_seconds_of(document_key("tweets", start, END, chunk), "tweets", END) == seconds


@pytest.mark.parametrize("key", [document_key("posts", START, END, 0), document_key("tweets", START, END, 8), "x"])
def test_a_document_of_something_else_has_no_length(key: str) -> None:
    assert window_seconds_of(key, "tweets", END) is None
