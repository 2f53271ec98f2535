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


class MongoDocuments:
    """The documents of the aggregator's collection. `read` raises PyMongoError, whose text may hold the address."""

    def __init__(self, settings: AggregatorSettings) -> None:
        self._settings = settings
        self._client: pymongo.MongoClient[dict[str, Any]] | None = None

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
        began = time.monotonic()
        client.admin.command("ping")
        ping = time.monotonic() - began
        found = client[settings.database][settings.collection].find({}).sort("timestamp", -1).limit(NEWEST)
        return Documents(tuple(map(document_of, found)), ping)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def document_of(stored: dict[str, Any]) -> Document:
    content = stored.get("content")
    content = content if isinstance(content, list) else []
    counters = {name: value for name, value in stored.items() if name.endswith("_count")}
    shown = [str(text)[:MAX_TEXT] for text in content[:SHOWN_POSTS]]
    more = [f"... and {len(content) - SHOWN_POSTS} more"] if len(content) > SHOWN_POSTS else []
    raw = {**{name: value for name, value in stored.items() if name != "content"}, "content": [*shown, *more]}
    return Document(str(stored.get("timestamp")), len(content), counters, json.dumps(raw, indent=1, default=str))
