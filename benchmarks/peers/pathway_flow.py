"""Pathway: the same work in its idiom. See `benchmarks.loops` for the arguments.

At least once, with its own snapshots: exactly once needs a paid licence. Its free licence (BSL 1.1) is not an open one.
The source of the WebSocket and the output into the store are hand-written Python connectors.
"""

import sys
from collections.abc import Callable
from typing import Any

import orjson
import pathway as pw
import pymongo
from websockets.sync.client import connect

from benchmarks.loops import GRACE_MS, WINDOW_MS, window_document
from benchmarks.peers import arguments
from jobs.cleaning import clean
from jobs.defaults import DATABASE
from jobs.worldometers import CachedCounters


class Post(pw.Schema):  # type: ignore[misc]
    """What the collector publishes. Pathway has a use of its own for the name `id`."""

    key: str
    text: str
    timestamp: int
    source: str


class Record(pw.Schema):  # type: ignore[misc]
    """What the aggregator reads of a record."""

    text: str | None
    timestamp: int


class Posts(pw.io.python.ConnectorSubject):  # type: ignore[misc]
    """Reads the simulator."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def run(self) -> None:
        with connect(self._url, compression=None) as connection:
            for frame in connection:
                post = orjson.loads(frame)
                self.next(
                    key=f"simulator-{post['feed']}-{post['seq']}",
                    text=clean(post["text"]),
                    timestamp=post["timestamp"],
                    source="simulator",
                )


class Documents(pw.io.python.ConnectorObserver):  # type: ignore[misc]
    """Upserts a document for each window."""

    def __init__(self, topic: str, uri: str, collection: str, page: str) -> None:
        self._documents: Any = pymongo.MongoClient(uri)[DATABASE][collection]
        self._topic, self._counters = topic, CachedCounters(page)

    def on_change(self, key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:  # noqa: ARG002
        if is_addition:
            document = window_document(self._topic, row["start"] // WINDOW_MS, list(row["texts"]), self._counters)
            self._documents.update_one({"_id": document["hash"]}, {"$set": document}, upsert=True)


def collect(url: str, kafka: str, topic: str, _: str) -> None:
    posts = pw.io.python.read(Posts(url), schema=Post, autocommit_duration_ms=100, name="posts")
    pw.io.kafka.write(posts, {"bootstrap.servers": kafka}, topic, format="json", key=posts.key)


def aggregate(kafka: str, topic: str, _: str, uri: str, collection: str, page: str) -> None:
    settings = {"bootstrap.servers": kafka, "group.id": collection, "auto.offset.reset": "earliest"}
    posts = pw.io.kafka.read(
        {**settings, "isolation.level": "read_committed"},
        topic,
        schema=Record,
        format="json",
        autocommit_duration_ms=100,
        name="posts",
    )
    window = pw.temporal.tumbling(duration=WINDOW_MS, origin=0)
    windows = (
        posts.filter(posts.text.is_not_none())
        .windowby(pw.this.timestamp, window=window, behavior=pw.temporal.exactly_once_behavior(GRACE_MS))
        .reduce(start=pw.this._pw_window_start, texts=pw.reducers.tuple(pw.this.text))
    )
    pw.io.python.write(windows, Documents(topic, uri, collection, page))


def main() -> None:
    side, *rest = sys.argv[1:]
    parts: dict[str, Callable[..., None]] = {"collector": collect, "aggregator": aggregate}
    parts[side](*rest)
    snapshots = pw.persistence.Config(
        pw.persistence.Backend.filesystem(arguments.state_folder()),
        snapshot_interval_ms=int(arguments.CHECKPOINT_SECONDS * 1_000),
    )
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=snapshots)


if __name__ == "__main__":
    main()
