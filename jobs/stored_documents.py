"""The documents in MongoDB: decides which windows may be written, writes them, and finds the newest one."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pymongo

from jobs.documents import document_key, window_seconds_of

log = logging.getLogger(__name__)

# Chunks of a window per query. Nearly every window has one chunk.
CHUNKS_AT_ONCE = 16
NEWEST = 20  # documents in which the newest window is searched


class Window(NamedTuple):
    """A window that has a document. end: ISO 8601; seconds: its length."""

    end: str
    seconds: int


class StoredDocuments:
    """The documents of one topic in one collection. The methods raise PyMongoError.

    rewrite: whether documents with as many posts as the new ones are written again (REPLAY_FROM).
    options: keyword arguments of MongoDB's driver in addition to the address.
    """

    def __init__(
        self,
        uri: str,
        database: str,
        collection: str,
        topic: str,
        *,
        rewrite: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._documents = pymongo.MongoClient[dict[str, Any]](uri, **(options or {}))[database][collection]
        self._topic = topic
        self._rewrite = rewrite
        self._newest: str | None = None
        self.kept = self.written = 0

    def close(self) -> None:
        self._documents.database.client.close()

    def may_write(self, start: str, end: str, posts: int) -> bool:
        """Whether a window with `posts` posts may be written.

        A window that was rebuilt from a part of its posts never replaces a document with more posts. A job without
        state can build such a window: if the topic no longer holds all of it, or if the job started inside it.
        """
        if self._is_new(end):
            return True
        stored = sum(size for _, size in self._chunks(start, end))
        if not stored or posts > stored or (self._rewrite and posts == stored):
            return True
        self.kept += 1
        if posts < stored:
            log.info("window %s: keeping the stored documents: they hold %d posts, the new ones %d", end, stored, posts)
        return False

    def write(self, start: str, end: str, documents: Sequence[dict[str, Any]]) -> None:
        """Replace the documents of the window. The writes are acknowledged when this returns.

        Chunks of an earlier run are deleted first if no document replaces them, or one with fewer posts. So wherever
        this stops, the stored window has fewer posts than `documents`, and may be written again.
        """
        if not self._is_new(end):
            sizes = {document["hash"]: len(document["content"]) for document in documents}
            stale = [key for key, size in self._chunks(start, end) if size > sizes.get(key, 0)]
            if stale:
                self._documents.delete_many({"_id": {"$in": stale}})
        for document in documents:
            # `$set` costs the store less than a replacement. Each document has all columns, so the result is the same.
            self._documents.update_one({"_id": document["hash"]}, {"$set": document}, upsert=True)
            self.written += 1

    def _is_new(self, end: str) -> bool:
        """Whether the window is newer than every document that existed at the first call, so that this run wrote it.

        In one run a window fires again only with more posts. So no query is needed, which would wait for the writes.
        """
        if self._newest is None:
            newest = self._documents.find({}, {"timestamp": 1}).sort("timestamp", -1).limit(1)
            self._newest = next((str(document.get("timestamp")) for document in newest), "")
        return end > self._newest

    def newest_window(self) -> Window | None:
        """The newest window of this topic that has a document; None without one. Creates an index of the timestamps."""
        self._documents.create_index("timestamp")
        for document in self._documents.find({}, {"timestamp": 1}).sort("timestamp", -1).limit(NEWEST):
            try:
                seconds = window_seconds_of(document["_id"], self._topic, document["timestamp"])
            except (KeyError, TypeError, ValueError):
                continue  # not written by this job
            if seconds is not None:
                return Window(document["timestamp"], seconds)
        return None

    def _chunks(self, start: str, end: str) -> Iterator[tuple[str, int]]:
        """(key, number of posts) of the window's chunks."""
        first = 0
        while True:
            keys = [document_key(self._topic, start, end, first + number) for number in range(CHUNKS_AT_ONCE)]
            sizes: list[dict[str, Any]] = [
                {"$match": {"_id": {"$in": keys}}},
                {"$project": {"posts": {"$size": "$content"}}},
            ]
            found = [(str(each["_id"]), int(each["posts"])) for each in self._documents.aggregate(sizes)]
            yield from found
            if len(found) < CHUNKS_AT_ONCE:
                return
            first += CHUNKS_AT_ONCE
