"""Quix Streams: the same work in its idiom. See `benchmarks.loops` for the arguments.

The collector is a stateful source, hand-written since there is none for WebSockets. Sources are at least once. The
aggregator is exactly once within Kafka, with upserts into the store. A window belongs to a key, so all posts are first
sent to one key through a topic (`group_by`).
"""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
from quixstreams import Application
from quixstreams.dataframe.windows.aggregations import Collect
from quixstreams.sinks.community.mongodb import MongoDBSink
from quixstreams.sources import StatefulSource
from websockets.sync.client import connect

from benchmarks.loops import GRACE_MS, WINDOW_MS, window_document
from benchmarks.peers import arguments
from jobs.cleaning import clean
from jobs.defaults import DATABASE
from jobs.worldometers import CachedCounters


class Posts(StatefulSource):  # type: ignore[misc]
    """Reads the simulator from the number after the last one that is in its state."""

    def __init__(self, url: str) -> None:
        super().__init__(name="posts")
        self._url = url

    def run(self) -> None:
        since = self.state.get("seq", 0)
        flushed = time.monotonic()
        with connect(self._url.replace("since=0", f"since={since}"), compression=None) as connection:
            for frame in connection:
                post = orjson.loads(frame)
                key = f"simulator-{post['feed']}-{post['seq']}"
                value = {"id": key, "text": clean(post["text"]), "timestamp": post["timestamp"], "source": "simulator"}
                self.produce(key=key, value=orjson.dumps(value))
                if time.monotonic() - flushed > arguments.CHECKPOINT_SECONDS:
                    self.state.set("seq", post["seq"])
                    self.flush()
                    flushed = time.monotonic()


def application(kafka: str, group: str) -> Application:
    return Application(
        broker_address=kafka,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=arguments.CHECKPOINT_SECONDS,
        processing_guarantee="exactly-once",
        state_dir=arguments.state_folder(),
        loglevel="WARNING",
    )


def collect(url: str, kafka: str, topic: str, _: str) -> None:
    app = application(kafka, topic)
    app.add_source(Posts(url), app.topic(topic))
    app.run()


def aggregate(kafka: str, topic: str, _: str, uri: str, collection: str, page: str) -> None:
    app = application(kafka, collection)
    counters = CachedCounters(page)

    def event_time(value: Any, *_: object) -> int:
        return int(value["timestamp"])

    def document(window: dict[str, Any]) -> dict[str, object]:
        return window_document(topic, window["start"] // WINDOW_MS, window["value"], counters)

    store = urlsplit(uri)
    sink = MongoDBSink(
        host=str(store.hostname),
        port=store.port or 27017,
        db=DATABASE,
        collection=collection,
        document_matcher=lambda item: {"_id": item.value["hash"]},
    )
    posts = app.dataframe(app.topic(topic, timestamp_extractor=event_time))
    windows = (
        posts.group_by(lambda _: "all", name=collection)
        .filter(lambda post: post["text"] is not None)
        .tumbling_window(timedelta(milliseconds=WINDOW_MS), grace_ms=timedelta(milliseconds=GRACE_MS))
        .agg(value=Collect("text"))
        .final()
    )
    windows.apply(document).sink(sink)
    app.run()


if __name__ == "__main__":
    side, *rest = sys.argv[1:]
    parts: dict[str, Callable[..., None]] = {"collector": collect, "aggregator": aggregate}
    parts[side](*rest)
