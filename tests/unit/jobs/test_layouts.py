"""The layout that the key of a document implies."""

import pytest

from jobs.buckets import Bucket
from jobs.documents import document_key
from jobs.layouts import Layout, Place, can_end, every, find, likely

START, END = "2026-11-24T07:59:40Z", "2026-11-24T08:00:00Z"
STARTS = {1: "2026-11-24T07:59:59Z", 20: START, 3_600: "2026-11-24T07:00:00Z"}
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


def test_another_length_with_other_buckets_is_not_likely() -> None:
    key = document_key("tweets", STARTS[1], END, 0, Bucket(1, 3))
    assert find([key], "tweets", END, likely(NOW), [0]) is None
    assert find([key], "tweets", END, every(END), [0]) == Place(1, Bucket(1, 3), 0)


@pytest.mark.parametrize("seconds", STARTS)
@pytest.mark.parametrize("bucket", [Bucket(), Bucket(4, 6), Bucket(63, 64)])
def test_every_layout_of_a_window_is_found(seconds: int, bucket: Bucket) -> None:
    key = document_key("tweets", STARTS[seconds], END, 0, bucket)
    assert find([key], "tweets", END, every(END), [0]) == Place(seconds, bucket, 0)


def test_a_window_ends_at_a_multiple_of_its_length() -> None:
    end = "2026-11-24T08:00:10Z"
    assert {layout.seconds for layout in every(end)} >= {1, 2, 5, 10}
    assert not {layout.seconds for layout in every(end)} & {20, 60, 3_600}
    assert len(list(every(end))) == 64 * len(set(every(end)) & {Layout(seconds) for seconds in range(1, 3_601)})
    assert find([document_key("tweets", "2026-11-24T07:59:50Z", end, 0)], "tweets", end, [Layout(20)], [0]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (END, True),
        ("1970-01-01T00:00:01Z", True),
        ("1970-01-01T00:00:00Z", False),
        ("1969-12-31T23:59:59Z", False),
        ("2026-11-24T8:00:00Z", False),
        ("2026-11-24T08:00:00.000Z", False),
        ("0001-01-01T00:00:00Z", False),
        ("never", False),
        ("", False),
    ],
)
def test_a_window_ends_at_a_time_in_the_format_of_the_documents(text: str, expected: bool) -> None:
    assert can_end(text) is expected


@pytest.mark.parametrize("key", [document_key("posts", START, END, 0), document_key("tweets", START, END, 8), "x"])
def test_a_document_of_something_else_has_no_place(key: str) -> None:
    assert find([key], "tweets", END, likely(Layout(20)), range(8)) is None


def test_an_end_that_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="match"):
        find(["x"], "tweets", "never", likely(NOW), [0])
