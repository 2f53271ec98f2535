"""How a window's texts are split into documents. The driver's own BSON encoder measures the documents."""

import itertools

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.chunks import ELEMENT_BYTES, split

EMPTY_DOCUMENT = len(bson.encode({}))
TEXTS = st.lists(st.text() | st.sampled_from(["same", "x" * 90, "🌍" * 40]))
LIMITS = st.integers(1, 500)


def needed(texts: list[str]) -> int:
    """What the elements of an array need in BSON, where it is a document whose keys are numbers."""
    return len(bson.encode({str(index): text for index, text in enumerate(texts)})) - EMPTY_DOCUMENT


A = 20 + ELEMENT_BYTES  # what the chunks count for a text of 20 bytes
CUTS = {
    "nothing": ([], A, []),
    "one": (["a" * 20], A, [["a" * 20]]),
    "an empty text": ([""], A, [[""]]),
    "all fit, as they came": (["c", "a", "b"], 1_000, [["c", "a", "b"]]),
    "sorted": (["c" * 20, "a" * 20, "b" * 20], 2 * A, [["a" * 20, "b" * 20], ["c" * 20]]),
    "exactly full": (["a" * 20, "b" * 20, "c" * 20], 2 * A, [["a" * 20, "b" * 20], ["c" * 20]]),
    "a byte too much": (["a" * 20, "b" * 20, "c" * 20], 2 * A - 1, [["a" * 20], ["b" * 20], ["c" * 20]]),
    "bytes, not characters": (["é" * 10, "ö" * 10], 2 * A - 1, [["é" * 10], ["ö" * 10]]),
    "the same text twice": (["a", "b", "a"], 1_000, [["a", "b", "a"]]),
    "oversized": (["a" * 99], A, [["a" * 99]]),
    "oversized between others": (["c", "b" * 99, "a"], A, [["a"], ["b" * 99], ["c"]]),
    "two oversized": (["b" * 99, "a" * 99], A, [["a" * 99], ["b" * 99]]),
}


@pytest.mark.parametrize(("texts", "limit", "expected"), CUTS.values(), ids=CUTS)
def test_cuts(texts: list[str], limit: int, expected: list[list[str]]) -> None:
    assert list(split(texts, limit)) == list(enumerate(expected))


@given(TEXTS, LIMITS)
def test_a_chunk_fits_or_is_a_single_text(texts: list[str], limit: int) -> None:
    for _, chunk in split(texts, limit):
        assert needed(chunk) <= limit or len(chunk) == 1


@given(TEXTS, LIMITS)
def test_each_text_is_in_one_chunk_and_chunks_are_numbered(texts: list[str], limit: int) -> None:
    chunks = list(split(texts, limit))
    assert sorted(text for _, chunk in chunks for text in chunk) == sorted(texts)
    assert [number for number, _ in chunks] == list(range(len(chunks)))
    assert all(chunk for _, chunk in chunks)


@given(TEXTS.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))), LIMITS)
def test_the_order_of_the_texts_does_not_matter(orders: tuple[list[str], list[str]], limit: int) -> None:
    one, other = (list(split(texts, limit)) for texts in orders)
    assert one == other or ([len(one), len(other)] == [1, 1] and sorted(one[0][1]) == sorted(other[0][1]))


@given(TEXTS, LIMITS)
def test_no_more_chunks_than_needed(texts: list[str], limit: int) -> None:
    """The first text of a chunk would not have fitted into the one before."""
    chunks = [chunk for _, chunk in split(texts, limit)]
    for chunk, following in itertools.pairwise(chunks):
        assert sum(len(text.encode()) + ELEMENT_BYTES for text in [*chunk, following[0]]) > limit


def test_a_large_window_fits_into_documents() -> None:
    texts = [f"{n:06} " + "é" * (n % 140) for n in range(30_000)]
    chunks = [chunk for _, chunk in split(texts, 1_000_000)]
    assert [text for chunk in chunks for text in chunk] == texts
    sizes = [needed(chunk) for chunk in chunks]
    assert max(sizes) <= 1_000_000
    assert min(sizes[:-1]) > 900_000
