"""The keys of documents, and the window length that a key implies."""

import hashlib

import pytest
from bson.int64 import Int64

from jobs.buckets import Bucket
from jobs.counters import Counters
from jobs.documents import document_key, iso, unix, window_documents

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


def test_a_bucket_has_keys_of_its_own_and_a_whole_window_those_without_buckets() -> None:
    text = f"tweets/{START}/{END}/1/4/3"
    assert document_key("tweets", START, END, 3, Bucket(1, 4)) == hashlib.sha256(text.encode()).hexdigest()
    assert document_key("tweets", START, END, 3, Bucket(0, 1)) == document_key("tweets", START, END, 3)
    (document,) = window_documents("tweets", START, END, ["a"], COUNTERS, 1_000, Bucket(1, 4))
    assert document["hash"] == document_key("tweets", START, END, 0, Bucket(1, 4))
    assert list(document) == list(window_documents("tweets", START, END, ["a"], COUNTERS, 1_000)[0])
