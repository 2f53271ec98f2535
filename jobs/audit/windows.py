"""The windows of the audit: parses records, assigns posts and documents to windows, and compares them. No I/O."""

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from json import dumps
from typing import NamedTuple

from jobs import layouts
from jobs.audit.numbers import SAMPLES, as_bigint, parse_position, read_object
from jobs.audit.report import Mismatch, join_samples, printable, quoted
from jobs.buckets import Bucket
from jobs.documents import iso
from jobs.feed_processor import HEARTBEAT_PREFIX
from jobs.layouts import Layout, Place

# The chunks that are tried: of a known layout, and of others.
CHUNKS, USUAL_CHUNKS = range(201), range(3)
MAX_FULL_SEARCHES = 50  # for every layout, or each length with each chunk: about 0.1 s each
Period = tuple[int, int]  # begin and end, ms since 1970 UTC


class ParsedRecord(NamedTuple):
    """A record of the topic as the aggregator reads it.

    kind: `post`, `heartbeat`, or `unusable`: the aggregator must reject it.
    timestamp: event time, ms since 1970 UTC.
    numbering, number: its position; number: None without one.
    shard, shards: the collector's shard that wrote a heartbeat.
    replayed: the place of the rejection that was replayed as this post; "" for any other record.
    """

    kind: str
    id: str = ""
    source: str = ""
    text: str = ""
    timestamp: int = 0
    numbering: str = ""
    number: int | None = None
    shard: int = 0
    shards: int = 1
    replayed: str = ""


def parse_record(value: bytes | None, max_timestamp_ms: int) -> ParsedRecord:
    """Parses a record's value. max_timestamp_ms: a newer event time is ahead of the aggregator's clock."""
    record = read_object(value)
    if record is None:
        return ParsedRecord("unusable")
    identity, source, text = record.get("id"), record.get("source"), record.get("text")
    timestamp = as_bigint(record.get("timestamp"))
    numbering, number = parse_position(record.get("position"))
    is_heartbeat = text is None and str(identity).startswith(HEARTBEAT_PREFIX)
    identified = identity is not None and source is not None
    if (
        not identified
        or timestamp is None
        or not 0 <= timestamp <= max_timestamp_ms
        or (text is None and not is_heartbeat)
    ):
        # With a number it is nevertheless a post of the collector.
        return ParsedRecord(
            "unusable", source=as_text(source), numbering=numbering, number=None if is_heartbeat else number
        )
    if is_heartbeat:
        shard, shards = parse_shard(record.get("shard"))
        return ParsedRecord(
            "heartbeat", as_text(identity), as_text(source), "", timestamp, numbering, number, shard, shards
        )
    replayed = as_text(record["replayed"]) if "replayed" in record else ""
    return ParsedRecord(
        "post", as_text(identity), as_text(source), as_text(text), timestamp, numbering, number, replayed=replayed
    )


def as_text(value: object) -> str:
    """A value as Flink reads a STRING."""
    return value if isinstance(value, str) else dumps(value, separators=(",", ":"), ensure_ascii=False)


def parse_shard(token: object) -> tuple[int, int]:
    """(shard, shards) of "<shard>/<shards>"; (0, 1) for anything else."""
    found = re.fullmatch("([0-9]{1,4})/([1-9][0-9]{0,3})", token, re.ASCII) if isinstance(token, str) else None
    return (int(found[1]), int(found[2])) if found else (0, 1)


def hash_text(text: str) -> int:
    """A hash of 64 bits. It is the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


class Checksum:
    """A checksum of the texts of a period. It does not depend on their order.

    count: how many texts, without the rejected ones.
    hash_sum: the sum of their hashes.
    rejected: how many texts were rejected.
    hashes: the hash of each text if the topic may no longer hold all posts of the period, else None.
    """

    __slots__ = ("count", "hash_sum", "hashes", "rejected")

    def __init__(self, *, keep_hashes: bool) -> None:
        self.count = self.rejected = self.hash_sum = 0
        self.hashes: array[int] | None = array("Q") if keep_hashes else None

    def add(self, text_hash: int) -> None:
        self.count += 1
        self.hash_sum += text_hash
        if self.hashes is not None:
            self.hashes.append(text_hash)

    def reject(self, text_hash: int) -> None:
        """Count a text that was added as rejected instead."""
        self.count -= 1
        self.hash_sum -= text_hash
        self.rejected += 1
        if self.hashes is not None:
            self.hashes.remove(text_hash)

    def merge(self, other: "Checksum") -> None:
        self.count += other.count
        self.rejected += other.rejected
        self.hash_sum += other.hash_sum
        # An incomplete list of hashes is useless.
        if self.hashes is not None and other.hashes is not None:
            self.hashes.extend(other.hashes)
        else:
            self.hashes = None


class ParsedDocument(NamedTuple):
    """A document and its window.

    start, end: of the window, ms since 1970 UTC; start: None if the hash matches no window.
    bucket, chunk: which document of the window it is.
    checksum: of the texts.
    """

    hash: str
    start: int | None
    end: int
    bucket: Bucket
    chunk: int
    checksum: Checksum


@dataclass
class WindowGroup:
    """What is compared at once: one window, or windows of different lengths that overlap.

    start, end: ms since 1970 UTC.
    partial: the topic may have lost some of its posts.
    posts: the posts in the topic.
    texts: the texts in the documents.
    documents: the documents.
    """

    start: int
    end: int
    partial: bool
    posts: Checksum
    texts: Checksum
    documents: list[ParsedDocument] = field(default_factory=list)

    @property
    def min_missing(self) -> int:
        """How many texts the documents lack at least."""
        if self.posts.hashes is None or self.texts.hashes is None:
            return max(0, self.posts.count - self.texts.count)
        return (Counter(self.posts.hashes) - Counter(self.texts.hashes)).total()

    @property
    def balanced(self) -> bool:
        same = (self.posts.count, self.posts.hash_sum) == (self.texts.count, self.texts.hash_sum)
        return not self.min_missing if self.partial else same

    @property
    def has_posts(self) -> bool:
        return bool(self.posts.count or self.posts.rejected)


class WindowLayouts:
    """Finds the window, the bucket and the chunk of a document: tries layouts until the hash matches.

    current: the present layout.
    """

    def __init__(self, topic: str, current: Layout) -> None:
        self._topic = topic
        self._current = current
        self.known = [current]
        self._found: dict[tuple[str, str], Place | None] = {}
        self._searches = 0

    def find(self, key: str, timestamp: str) -> Place | None:
        """The document's place; None if no window has this hash. Raises ValueError for a bad timestamp."""
        if (key, timestamp) not in self._found:
            found = self._found[key, timestamp] = self._search(key, timestamp)
            if found and found.layout not in self.known:
                self.known.append(found.layout)
                # With this layout, documents match whose layout was too costly to find.
                self._found = {document: place for document, place in self._found.items() if place}
        return self._found[key, timestamp]

    def _search(self, key: str, timestamp: str) -> Place | None:
        found = layouts.find([key], self._topic, timestamp, self.known, CHUNKS)
        found = found or layouts.find([key], self._topic, timestamp, layouts.likely(self._current), USUAL_CHUNKS)
        if found is None and self._searches < MAX_FULL_SEARCHES:
            self._searches += 1
            found = layouts.find([key], self._topic, timestamp, layouts.every(timestamp), (0,))
            found = found or layouts.find([key], self._topic, timestamp, map(Layout, layouts.LENGTHS), CHUNKS)
        return found


class WindowGrouping:
    """Maps an event time (ms) to the period of its WindowGroup.

    window: the present length, ms. windows: the windows of the documents.
    """

    def __init__(self, window: int, windows: Iterable[Period]) -> None:
        self._window = window
        groups: list[list[Period]] = []
        reached = -1
        for period in sorted(set(windows)):
            if period[0] >= reached:
                groups.append([])
            groups[-1].append(period)
            reached = max(reached, period[1])
        other = (group for group in groups if any(end - begin != window for begin, end in group))
        self._unions = [(group[0][0], max(end for _, end in group)) for group in other]
        self._begins = [begin for begin, _ in self._unions]

    def __getitem__(self, moment: int) -> Period:
        index = bisect_right(self._begins, moment) - 1
        if index >= 0 and moment < self._unions[index][1]:
            return self._unions[index]
        start = moment - moment % self._window
        return start, start + self._window


class PostText(NamedTuple):
    """A post of the topic. rejected: whether the aggregator rejected it."""

    id: str
    text: str
    rejected: bool


class Comparison:
    """Compares the texts of groups that do not balance: what the documents lack, and what they have too many of."""

    def __init__(
        self,
        groups: Sequence[WindowGroup],
        texts_of_topic: Callable[[Sequence[WindowGroup]], list[list[PostText]]],
        texts_of_documents: Callable[[Sequence[WindowGroup]], list["Counter[str]"]],
    ) -> None:
        self._groups = groups
        self._posts = texts_of_topic(groups)
        found = texts_of_documents(groups)
        wanted = [Counter(post.text for post in posts if not post.rejected) for posts in self._posts]
        self._missing = [posts - texts for posts, texts in zip(wanted, found, strict=True)]
        self._extra = [
            Counter[str]() if group.partial else texts - posts
            for group, posts, texts in zip(groups, wanted, found, strict=True)
        ]

    def mismatches(self) -> list[Mismatch]:
        """One mismatch per group, without the groups that balance now."""
        return [
            self._mismatch(number)
            for number in range(len(self._groups))
            if self._missing[number] or self._extra[number]
        ]

    def _mismatch(self, number: int) -> Mismatch:
        group, missing, extra = self._groups[number], self._missing[number], self._extra[number]
        reasons = [*document_problems(group)]
        if missing:
            ids = {post.text: post.id for post in self._posts[number] if not post.rejected}
            samples = [f"{printable(ids[text])} {quoted(text)}" for text in islice(missing, SAMPLES)]
            reasons.append(f"{missing.total()} missing in documents: {join_samples(samples, missing.total())}")
        if extra:
            samples = [f"{quoted(text)}{self._origin(number, text)}" for text in islice(extra, SAMPLES)]
            reasons.append(f"{extra.total()} too many in documents: {join_samples(samples, extra.total())}")
        return window_mismatch(group, missing.total(), extra.total(), reasons)

    def _origin(self, number: int, text: str) -> str:
        """The origin of a text that the documents have too many of; "" if unknown."""
        for other, missing in enumerate(self._missing):
            if text in missing:
                return f" (of the window {iso(self._groups[other].end // 1000)})"
        for post in self._posts[number]:
            if post.text == text:
                return " (also rejected)" if post.rejected else " (stored more than once)"
        return ""


def window_mismatch(group: WindowGroup, missing: int | None, extra: int | None, reasons: Sequence[str]) -> Mismatch:
    posts, end = group.posts.count + group.posts.rejected, iso(group.end // 1000)
    return Mismatch(end, posts, group.texts.count, group.posts.rejected, missing, extra, tuple(reasons))


def document_problems(group: WindowGroup) -> list[str]:
    """What the keys of a window's documents show to be wrong, as texts for the report."""
    if not group.documents:
        return ["no document"]
    reasons = []
    if len({(each.start, each.end) for each in group.documents}) > 1:
        reasons.append(f"{len(group.documents)} documents of overlapping windows since {iso(group.start // 1000)}")
    reasons += missing_chunks(each for each in group.documents if (each.start, each.end) == (group.start, group.end))
    duplicates = [key for key, count in Counter(each.hash for each in group.documents).items() if count > 1]
    if duplicates:
        reasons.append(f"more than one document with hash {duplicates[0]}")
    return reasons


def missing_chunks(documents: Iterable[ParsedDocument]) -> Iterator[str]:
    """What is missing between the chunks of a window's buckets, as texts for the report."""
    buckets: dict[Bucket, set[int]] = {}
    for document in documents:
        buckets.setdefault(document.bucket, set()).add(document.chunk)
    for bucket, chunks in sorted(buckets.items()):
        missing = sorted(set(range(max(chunks) + 1)) - chunks)
        if missing:
            of_bucket = f" of bucket {bucket.number} of {bucket.of}" if bucket.of > 1 else ""
            yield f"no chunk {', '.join(map(str, missing[:SAMPLES]))}{of_bucket}"


def unmatched_document(document: ParsedDocument) -> Mismatch:
    reason = f"the document's hash {printable(document.hash)} matches no window of this topic"
    return Mismatch(iso(document.end // 1000), 0, document.checksum.count, 0, None, None, (reason,))


def malformed_document(key: str, timestamp: str) -> Mismatch:
    reason = f"the document with hash {printable(key)} has no readable timestamp or content"
    return Mismatch(printable(timestamp), 0, 0, 0, None, None, (reason,))


def in_documents(group: WindowGroup) -> int:
    """The texts of the documents that count: in a partial window only those that the topic still holds."""
    return group.posts.count - group.min_missing if group.partial else group.texts.count
