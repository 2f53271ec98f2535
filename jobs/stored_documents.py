"""The documents in MongoDB: which windows may be written, their writing, and where a job without state begins."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pymongo

from jobs.documents import document_key, window_seconds_of

log = logging.getLogger(__name__)

# How many chunks of a window are asked for at once: nearly every window has one.
CHUNKS_AT_ONCE = 16
NEWEST = 20


class Window(NamedTuple):
    """The newest window that has a document. end: ISO 8601; seconds: its length."""

    end: str
    seconds: int


class StoredDocuments:
    """The documents of one topic in one collection. The methods raise PyMongoError.

    rewrite: whether documents with as many posts as the new ones are written again (a replay that the user asked for).
    options: what the driver takes beside the address.
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
        """Whether `posts` posts may become the content of this window.

        A window that was rebuilt from a part of its posts never replaces a document that holds more of them. That
        happens to a job without state, where the topic no longer holds the whole window or the job began inside it.
        """
        if self._is_new(end):
            return True
        stored = sum(size for _, size in self._chunks(start, end))
        if not stored or posts > stored or (self._rewrite and posts == stored):
            return True
        self.kept += 1
        if posts < stored:
            log.info("window %s: the stored documents hold %d posts and stay, these are %d", end, stored, posts)
        return False

    def write(self, start: str, end: str, documents: Sequence[dict[str, Any]]) -> None:
        """Make these the documents of the window. They are acknowledged when this returns.

        Chunks of an earlier run that no document replaces, or one with fewer posts, are deleted first: wherever this
        stops, the window then holds fewer posts than these, so that it may be written again.
        """
        if not self._is_new(end):
            sizes = {document["hash"]: len(document["content"]) for document in documents}
            stale = [key for key, size in self._chunks(start, end) if size > sizes.get(key, 0)]
            if stale:
                self._documents.delete_many({"_id": {"$in": stale}})
        for document in documents:
            # `$set` costs the store less than a replacement, and each document has all columns.
            self._documents.update_one({"_id": document["hash"]}, {"$set": document}, upsert=True)
            self.written += 1

    def _is_new(self, end: str) -> bool:
        """Whether this window had no document when it was first asked: what came since is of this run.

        In one run a window only fires again with more posts than before, so nothing needs to be asked: a question
        waits behind the writes."""
        if self._newest is None:
            newest = self._documents.find({}, {"timestamp": 1}).sort("timestamp", -1).limit(1)
            self._newest = next((str(document.get("timestamp")) for document in newest), "")
        return end > self._newest

    def newest_window(self) -> Window | None:
        """The newest window of this topic that has a document. An index of the timestamps is made for this question."""
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
