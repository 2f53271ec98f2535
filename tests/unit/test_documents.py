"""The keys of documents, and the length of a window that is read off one."""

import hashlib

import pytest

from jobs.documents import document_key, iso, unix, window_seconds_of

START, END = "2026-11-24T08:00:00Z", "2026-11-24T08:00:20Z"


def test_a_key_is_the_hash_that_the_documentation_describes() -> None:
    assert document_key("tweets", START, END, 3) == hashlib.sha256(f"tweets/{START}/{END}/3".encode()).hexdigest()


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
