"""The layout that the key of a document implies."""

import pytest

from jobs.buckets import Bucket
from jobs.documents import document_key
from jobs.layouts import Layout, Place, find, likely, usual

START, END = "2026-11-24T08:00:00Z", "2026-11-24T08:00:20Z"
STARTS = {1: "2026-11-24T08:00:19Z", 20: START, 3_600: "2026-11-24T07:00:20Z"}
NOW = Layout(20, 8)


@pytest.mark.parametrize("seconds", STARTS)
@pytest.mark.parametrize("bucket", [Bucket(), Bucket(7, 8)])
@pytest.mark.parametrize("chunk", [0, 2])
def test_a_likely_layout_is_found(seconds: int, bucket: Bucket, chunk: int) -> None:
    key = document_key("tweets", STARTS[seconds], END, chunk, bucket)
    place = find({key, "another"}, "tweets", END, likely(NOW), range(3))
    assert place == Place(seconds, bucket, chunk)
    assert place.layout == Layout(seconds, bucket.of)


@pytest.mark.parametrize("bucket", [Bucket(2, 3), Bucket(63, 64)])
def test_other_buckets_of_the_same_window_are_found(bucket: Bucket) -> None:
    key = document_key("tweets", START, END, 0, bucket)
    assert find([key], "tweets", END, likely(NOW), [0]) == Place(20, bucket, 0)


def test_another_length_with_other_buckets_is_found_if_their_number_is_usual() -> None:
    key, odd = (document_key("tweets", STARTS[1], END, 0, Bucket(1, size)) for size in (2, 3))
    assert find([key], "tweets", END, likely(NOW), [0]) is None
    assert find([key], "tweets", END, usual(), [0]) == Place(1, Bucket(1, 2), 0)
    assert find([odd], "tweets", END, usual(), [0]) is None


@pytest.mark.parametrize("key", [document_key("posts", START, END, 0), document_key("tweets", START, END, 8), "x"])
def test_a_document_of_something_else_has_no_place(key: str) -> None:
    assert find([key], "tweets", END, likely(Layout(20)), range(8)) is None


def test_an_end_that_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="match"):
        find(["x"], "tweets", "never", likely(NOW), [0])
