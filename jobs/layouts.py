"""Finds out how a stored window was written: tries layouts until the key of a document fits. No I/O."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from jobs.buckets import MAX_BUCKETS, Bucket, buckets
from jobs.documents import document_key, iso, unix

MAX_WINDOW_SECONDS = 3_600
LENGTHS = range(1, MAX_WINDOW_SECONDS + 1)
SIZES = range(1, MAX_BUCKETS + 1)


class Layout(NamedTuple):
    """How posts become documents. seconds: the length of a window; buckets: over how many it is spread."""

    seconds: int
    buckets: int = 1


class Place(NamedTuple):
    """Which document of which window it is. seconds: the length of the window."""

    seconds: int
    bucket: Bucket
    chunk: int

    @property
    def layout(self) -> Layout:
        return Layout(self.seconds, self.bucket.of)


class Window(NamedTuple):
    """A window that has a document. end: ISO 8601."""

    end: str
    layout: Layout


class Newest(NamedTuple):
    """The newest window that has a document.

    reached: the end of a window, ISO 8601: each task has written all that it had of windows before. Tasks write at a
        speed of their own, so the newest window, and others before it, can lack documents.
    """

    end: str
    layout: Layout
    reached: str


def likely(layout: Layout) -> Iterator[Layout]:
    """This layout, those with other buckets, and those with another length and as many buckets or one."""
    yield layout
    yield from (Layout(layout.seconds, size) for size in SIZES)
    yield from (Layout(seconds) for seconds in LENGTHS)
    if layout.buckets > 1:
        yield from (Layout(seconds, layout.buckets) for seconds in LENGTHS)


def every(end: str) -> Iterator[Layout]:
    """Every layout that a window with this end can have. For a window of 20 seconds these are about 60,000 keys."""
    seconds = unix(end)
    return (Layout(length, size) for length in LENGTHS if seconds % length == 0 for size in SIZES)


def can_end(end: str) -> bool:
    """Whether a window can end then: it is a time after 1970-01-01T00:00:00Z, in the format of `iso`."""
    try:
        seconds = unix(end)
    except ValueError:
        return False
    return seconds > 0 and iso(seconds) == end


def find(keys: Collection[str], topic: str, end: str, layouts: Iterable[Layout], chunks: Iterable[int]) -> Place | None:
    """The place of the first document that has one of these keys; None if no layout and chunk gives such a key.

    A window ends at a multiple of its length, counted from 1970 UTC (Flink's TUMBLE). Other lengths are not tried.
    end: of the window, ISO 8601. Raises ValueError if it is not in the format of `iso`.
    """
    end_seconds, numbers = unix(end), tuple(chunks)
    for layout in layouts:
        if end_seconds % layout.seconds:
            continue
        start = iso(max(0, end_seconds - layout.seconds))
        for chunk in numbers:
            for bucket in buckets(layout.buckets):
                if document_key(topic, start, end, chunk, bucket) in keys:
                    return Place(layout.seconds, bucket, chunk)
    return None
