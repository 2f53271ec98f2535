"""The MongoDB documents of a window, and their keys. No I/O."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64

from jobs import chunks
from jobs.buckets import WHOLE, Bucket
from jobs.counters import Counters


def iso(seconds: float) -> str:
    """Seconds since 1970 UTC as ISO 8601 in whole seconds, the format of the documents: `2026-11-24T08:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix(timestamp: str) -> int:
    """Seconds since 1970 UTC of a timestamp in the format of `iso`. Raises ValueError."""
    return int(datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def document_key(topic: str, start: str, end: str, chunk: int, bucket: Bucket = WHOLE) -> str:
    """The `hash` of a document: SHA-256 in hex of topic, window, bucket and chunk. start, end: of the window, ISO 8601.

    A window of one bucket has no bucket in its hash.
    """
    within = f"{chunk}" if bucket == WHOLE else f"{bucket.number}/{bucket.of}/{chunk}"
    return hashlib.sha256(f"{topic}/{start}/{end}/{within}".encode()).hexdigest()


def window_documents(
    topic: str,
    start: str,
    end: str,
    texts: Sequence[str],
    counters: Counters | None,
    max_bytes: int,
    bucket: Bucket = WHOLE,
) -> list[dict[str, Any]]:
    """The documents of one bucket of a window, with the columns of twitter_table.sql.

    One document, or several chunks if the texts need more than `max_bytes`. start, end: of the window, ISO 8601.
    Without counters, their columns are NULL.
    """
    values = counters or Counters(*[None] * len(Counters._fields))
    columns = {name: None if value is None else Int64(value) for name, value in values._asdict().items()}
    return [
        {"hash": document_key(topic, start, end, number, bucket), "content": content, "timestamp": end, **columns}
        for number, content in chunks.split(texts, max_bytes)
    ]
