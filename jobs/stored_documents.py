"""The documents in MongoDB: decides which windows may be written, writes them, and finds the newest one."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any

import pymongo

from jobs import layouts
from jobs.buckets import WHOLE, Bucket, buckets
from jobs.documents import document_key, iso, unix
from jobs.layouts import Layout, Newest, Place, Window

log = logging.getLogger(__name__)

# Chunks of a window per query. Nearly every window has one chunk.
CHUNKS_AT_ONCE = 16
# Among the documents of so many ends of windows this topic's are searched: with every layout, and with the likely ones.
# That takes about 0.1 s and 0.01 s for each end.
NEWEST, RECENT = 50, 1_000
USUAL_CHUNKS = range(2)
# Even and odd windows are written by different tasks, see aggregator.sql.
PARITIES = 2


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

    def may_write(self, start: str, end: str, posts: int, bucket: Bucket = WHOLE) -> bool:
        """Whether a bucket of a window may be written with `posts` posts.

        A window that was rebuilt from a part of its posts never replaces a document with more posts. A job without
        state can build such a window: if the topic no longer holds all of it, or if the job started inside it.
        """
        if self._is_new(end):
            return True
        stored = sum(size for _, size in self._chunks(start, end, bucket))
        if not stored or posts > stored or (self._rewrite and posts == stored):
            return True
        self.kept += 1
        if posts < stored:
            log.info("window %s: keeping the stored documents: they hold %d posts, the new ones %d", end, stored, posts)
        return False

    def write(self, start: str, end: str, documents: Sequence[dict[str, Any]], bucket: Bucket = WHOLE) -> None:
        """Replace the documents of the bucket. The writes are acknowledged when this returns.

        Chunks of an earlier run are deleted first if no document replaces them, or one with fewer posts. So wherever
        this stops, the stored window has fewer posts than `documents`, and may be written again.
        """
        if not self._is_new(end):
            sizes = {document["hash"]: len(document["content"]) for document in documents}
            stale = [key for key, size in self._chunks(start, end, bucket) if size > sizes.get(key, 0)]
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
            # Only texts: MongoDB sorts dates, which are not this job's, above all of them.
            newest = self._documents.find({"timestamp": {"$gt": ""}}, {"timestamp": 1}).sort("timestamp", -1).limit(1)
            self._newest = next((str(document["timestamp"]) for document in newest), "")
        return end > self._newest

    def newest_window(self, layout: Layout) -> Newest | None:
        """The newest window of this topic that has a document; None without one. Creates an index of the timestamps.

        layout: the present one. It is tried first.

        In a collection with many documents of something else it looks only at the newest ones.
        """
        self._documents.create_index("timestamp")
        recent = list(islice(self._keys_by_end(""), RECENT))
        found = self._search(recent, list(layouts.likely(layout)), USUAL_CHUNKS)
        if found is None:
            return None
        end, place = found
        return Newest(end, place.layout, self._reached(place.layout, recent) or end)

    def other_layout(self, layout: Layout, since: str, known: Layout | None = None) -> Window | None:
        """A window that ends after `since` (ISO 8601, or empty) and has documents of another layout; None without one.

        layout: the present one.
        known: a layout that documents have; None: no one is known. It is tried first.

        In a collection with many documents of something else it looks only at the newest ones.
        """
        others = ((end, keys - self._keys(end, layout, len(keys))) for end, keys in self._keys_by_end(since))
        unknown = ((end, keys) for end, keys in others if keys)
        tried = [*([known] if known else []), *layouts.likely(layout)]
        found = self._search(islice(unknown, RECENT), tried, (0,))
        return Window(found[0], found[1].layout) if found else None

    def _search(
        self, windows: Iterable[tuple[str, set[str]]], likely: Sequence[Layout], chunks: Iterable[int]
    ) -> tuple[str, Place] | None:
        """(end, place) of the first document of this topic; None without one.

        windows: (end, keys of documents), the newest first. For the first ones every layout is tried.
        likely: the layouts that are tried first, with these chunks.
        """
        for number, (end, keys) in enumerate(windows):
            place = layouts.find(keys, self._topic, end, likely, chunks)
            if place is None and number < NEWEST:
                if number == 0:
                    log.info("searching documents of topic %s of any WINDOW_SECONDS and WINDOW_BUCKETS", self._topic)
                place = layouts.find(keys, self._topic, end, layouts.every(end), (0,))
            if place is not None:
                return end, place
        return None

    def _reached(self, layout: Layout, recent: Iterable[tuple[str, set[str]]]) -> str | None:
        """See Newest. recent: (end, keys of the documents) of windows, the newest first."""
        written: set[tuple[Bucket, int]] = set()
        reached = None
        for end, keys in recent:
            seconds = unix(end)
            start, parity = iso(seconds - layout.seconds), seconds // layout.seconds % PARITIES
            found = {
                (bucket, parity)
                for bucket in buckets(layout.buckets)
                if document_key(self._topic, start, end, 0, bucket) in keys
            }
            written |= found
            reached = end if found else reached
            if len(written) == PARITIES * layout.buckets:
                break
        return reached

    def _keys_by_end(self, since: str) -> Iterator[tuple[str, set[str]]]:
        """(end, keys of the documents) of the windows that end after `since`, the newest first.

        Documents of something else, whose timestamp is no such time, are passed over.
        """
        found = self._documents.find({"timestamp": {"$gt": since}}, {"timestamp": 1}).sort("timestamp", -1)
        for end, documents in groupby(found, key=lambda document: str(document["timestamp"])):
            if layouts.can_end(end):
                yield end, {str(document["_id"]) for document in documents}

    def _keys(self, end: str, layout: Layout, chunks: int) -> set[str]:
        """The keys that the documents of a window have, up to so many chunks."""
        start = iso(unix(end) - layout.seconds)
        return {
            document_key(self._topic, start, end, chunk, bucket)
            for chunk in range(chunks)
            for bucket in buckets(layout.buckets)
        }

    def _chunks(self, start: str, end: str, bucket: Bucket) -> Iterator[tuple[str, int]]:
        """(key, number of posts) of the bucket's chunks."""
        first = 0
        while True:
            keys = [document_key(self._topic, start, end, first + number, bucket) for number in range(CHUNKS_AT_ONCE)]
            sizes: list[dict[str, Any]] = [
                {"$match": {"_id": {"$in": keys}}},
                {"$project": {"posts": {"$size": "$content"}}},
            ]
            found = [(str(each["_id"]), int(each["posts"])) for each in self._documents.aggregate(sizes)]
            yield from found
            if len(found) < CHUNKS_AT_ONCE:
                return
            first += CHUNKS_AT_ONCE
