"""Reads the newest documents."""

import json
import time
from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from console.observations import Document, Documents
from jobs.settings import AggregatorSettings

NEWEST = 8
SHOWN_POSTS = 3  # of a document's content in its raw form
MAX_TEXT = 280
TIMEOUT_MS = 4_000
# Documents hold thousands of posts: MongoDB counts them, and sends only what is shown. So often it is asked again,
# because late posts replace documents; a new document is read at once.
AGAIN_SECONDS = 5.0
SHORTENED: list[dict[str, Any]] = [
    {"$sort": {"timestamp": -1}},
    {"$limit": NEWEST},
    {
        "$addFields": {
            "posts": {"$cond": [{"$isArray": "$content"}, {"$size": "$content"}, 0]},
            "content": {"$cond": [{"$isArray": "$content"}, {"$slice": ["$content", SHOWN_POSTS]}, []]},
        }
    },
]


class MongoDocuments:
    """The documents of the aggregator's collection. `read` raises PyMongoError, whose text may hold the address."""

    def __init__(self, settings: AggregatorSettings) -> None:
        self._settings = settings
        self._client: pymongo.MongoClient[dict[str, Any]] | None = None
        self._newest: Any = None
        self._documents: tuple[Document, ...] = ()
        self._read_at = -AGAIN_SECONDS

    def read(self) -> Documents:
        try:
            return self._read(self._client or self._connect())
        except OperationFailure:
            self.close()  # a client keeps its first password; the next one reads the file again
            raise

    def _connect(self) -> pymongo.MongoClient[dict[str, Any]]:
        settings = self._settings
        self._client = pymongo.MongoClient(
            settings.mongodb_uri.read(),
            serverSelectionTimeoutMS=TIMEOUT_MS,
            connectTimeoutMS=TIMEOUT_MS,
            **settings.mongodb_options,
        )
        return self._client

    def _read(self, client: pymongo.MongoClient[dict[str, Any]]) -> Documents:
        settings = self._settings
        collection = client[settings.database][settings.collection]
        began = time.monotonic()
        newest = list(collection.find({}, {"_id": 0, "timestamp": 1}).sort("timestamp", -1).limit(1))  # in the index
        answered_in = time.monotonic() - began
        if newest != self._newest or began - self._read_at >= AGAIN_SECONDS:
            self._documents = tuple(map(document_of, collection.aggregate(SHORTENED)))
            self._newest, self._read_at = newest, began
        return Documents(self._documents, answered_in)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def document_of(stored: dict[str, Any]) -> Document:
    """stored: a result of SHORTENED."""
    posts, content = stored["posts"], stored["content"]
    counters = {name: value for name, value in stored.items() if name.endswith("_count")}
    shown = [str(text)[:MAX_TEXT] for text in content]
    more = [f"... and {posts - len(shown)} more"] if posts > len(shown) else []
    raw = {name: value for name, value in stored.items() if name not in ("content", "posts")}
    text = json.dumps({**raw, "content": [*shown, *more]}, indent=1, default=str)
    return Document(str(stored.get("timestamp")), posts, counters, text)
