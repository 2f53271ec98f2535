"""The windows of the audit: parses records, assigns posts and documents to windows, and compares them. No I/O."""

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from json import dumps
from typing import NamedTuple

from jobs.audit.numbers import SAMPLES, as_bigint, position_of, read_object
from jobs.audit.report import Fault, plain, quoted, shown
from jobs.documents import MAX_WINDOW_SECONDS, document_key, iso, unix
from jobs.feed_processor import HEARTBEAT_PREFIX

MAX_CHUNK = 200
USUAL_CHUNK = 2
FULL_SEARCHES = 20  # for documents whose hash matches no window: one second each
Period = tuple[int, int]  # begin and end, ms since 1970 UTC


class ParsedRecord(NamedTuple):
    """A record of the topic as the aggregator reads it.

    kind: `post`, `heartbeat`, or `unusable`: the aggregator must reject it.
    timestamp: event time, ms since 1970 UTC.
    numbering, number: its position; number: None without one.
    shard, of: the collector's shard that wrote a heartbeat.
    """

    kind: str
    id: str = ""
    source: str = ""
    text: str = ""
    timestamp: int = 0
    numbering: str = ""
    number: int | None = None
    shard: int = 0
    of: int = 1


def parse_record(value: bytes | None, latest_ms: int) -> ParsedRecord:
    """Parses a record's value. latest_ms: a newer event time is ahead of the aggregator's clock."""
    record = read_object(value)
    if record is None:
        return ParsedRecord("unusable")
    identity, source, text = record.get("id"), record.get("source"), record.get("text")
    timestamp = as_bigint(record.get("timestamp"))
    numbering, number = position_of(record.get("position"))
    beats = text is None and str(identity).startswith(HEARTBEAT_PREFIX)
    named = identity is not None and source is not None
    if not named or timestamp is None or not 0 <= timestamp <= latest_ms or (text is None and not beats):
        # With a number it is nevertheless a post of the collector.
        return ParsedRecord("unusable", source=as_text(source), numbering=numbering, number=None if beats else number)
    if beats:
        shard, of = shard_of(record.get("shard"))
        return ParsedRecord(
            "heartbeat", as_text(identity), as_text(source), "", timestamp, numbering, number, shard, of
        )
    return ParsedRecord("post", as_text(identity), as_text(source), as_text(text), timestamp, numbering, number)


def as_text(value: object) -> str:
    """A value as Flink reads a STRING."""
    return value if isinstance(value, str) else dumps(value, separators=(",", ":"), ensure_ascii=False)


def shard_of(token: object) -> tuple[int, int]:
    """(number, of) of "<number>/<of>"; (0, 1) for anything else."""
    found = re.fullmatch("([0-9]{1,4})/([1-9][0-9]{0,3})", token, re.ASCII) if isinstance(token, str) else None
    return (int(found[1]), int(found[2])) if found else (0, 1)


def hash_of(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


class Tally:
    """The texts of a period.

    kept: how many texts.
    total: the sum of their hashes.
    rejected: how many further texts were rejected.
    hashes: the hash of each text if the topic may no longer hold all posts of the period, else None.
    """

    __slots__ = ("hashes", "kept", "rejected", "total")

    def __init__(self, *, exact: bool) -> None:
        self.kept = self.rejected = self.total = 0
        self.hashes: array[int] | None = array("Q") if exact else None

    def keep(self, code: int) -> None:
        self.kept += 1
        self.total += code
        if self.hashes is not None:
            self.hashes.append(code)

    def reject(self, code: int) -> None:
        """Count a post that was kept as rejected instead."""
        self.kept -= 1
        self.total -= code
        self.rejected += 1
        if self.hashes is not None:
            self.hashes.remove(code)

    def add(self, other: "Tally") -> None:
        self.kept += other.kept
        self.rejected += other.rejected
        self.total += other.total
        # An incomplete list of hashes is useless.
        if self.hashes is not None and other.hashes is not None:
            self.hashes.extend(other.hashes)
        else:
            self.hashes = None


class Stored(NamedTuple):
    """A document. start, end: of its window in ms; start: None if its hash matches no window; tally: of its texts."""

    hash: str
    start: int | None
    end: int
    chunk: int
    tally: Tally


@dataclass
class Unit:
    """The unit of comparison: one window, or several windows of different lengths that overlap.

    start, end: ms since 1970 UTC.
    partial: the topic may have lost some of its posts.
    posts: the posts in the topic.
    texts: the texts in the documents.
    stored: the documents.
    """

    start: int
    end: int
    partial: bool
    posts: Tally
    texts: Tally
    stored: list[Stored] = field(default_factory=list)

    @property
    def short(self) -> int:
        """The least number of texts that the documents lack."""
        if self.posts.hashes is None or self.texts.hashes is None:
            return max(0, self.posts.kept - self.texts.kept)
        return (Counter(self.posts.hashes) - Counter(self.texts.hashes)).total()

    @property
    def balanced(self) -> bool:
        same = (self.posts.kept, self.posts.total) == (self.texts.kept, self.texts.total)
        return not self.short if self.partial else same

    @property
    def has_posts(self) -> bool:
        return bool(self.posts.kept or self.posts.rejected)


class WindowLengths:
    """Finds the window of a document: tries window lengths until the hash matches. own: the current length, seconds."""

    def __init__(self, topic: str, own: int) -> None:
        self._topic = topic
        self.known = [own]
        self._found: dict[tuple[str, str], tuple[int, int] | None] = {}
        self._searches = 0

    def find(self, key: str, timestamp: str) -> tuple[int, int] | None:
        """(length in seconds, chunk); None if no window has this hash. Raises ValueError for a bad timestamp."""
        if (key, timestamp) not in self._found:
            found = self._found[key, timestamp] = self._try(key, timestamp, unix(timestamp))
            if found and found[0] not in self.known:
                self.known.append(found[0])
        return self._found[key, timestamp]

    def _try(self, key: str, timestamp: str, end: int) -> tuple[int, int] | None:
        every = range(1, MAX_WINDOW_SECONDS + 1)
        found = self._match(key, timestamp, end, self.known, MAX_CHUNK)
        found = found or self._match(key, timestamp, end, every, USUAL_CHUNK)
        if found is None and self._searches < FULL_SEARCHES:
            self._searches += 1
            found = self._match(key, timestamp, end, every, MAX_CHUNK)
        return found

    def _match(
        self, key: str, timestamp: str, end: int, lengths: Iterable[int], last_chunk: int
    ) -> tuple[int, int] | None:
        starts = [(length, iso(end - length)) for length in lengths if length <= end]
        for chunk in range(last_chunk + 1):
            for length, start in starts:
                if document_key(self._topic, start, timestamp, chunk) == key:
                    return length, chunk
        return None


class Periods:
    """Maps a moment to its unit: its window, or the union of the windows of different lengths around it."""

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


class Text(NamedTuple):
    """A post of the topic. rejected: whether the aggregator rejected it."""

    id: str
    text: str
    rejected: bool


class Comparison:
    """Compares the texts of units that do not balance: those that the documents lack, and those that they add."""

    def __init__(
        self,
        units: Sequence[Unit],
        texts_of_topic: Callable[[Sequence[Unit]], list[list[Text]]],
        texts_of_documents: Callable[[Sequence[Unit]], list["Counter[str]"]],
    ) -> None:
        self._units = units
        self._posts = texts_of_topic(units)
        stored = texts_of_documents(units)
        wanted = [Counter(post.text for post in posts if not post.rejected) for posts in self._posts]
        self._missing = [posts - texts for posts, texts in zip(wanted, stored, strict=True)]
        self._extra = [
            Counter[str]() if unit.partial else texts - posts
            for unit, posts, texts in zip(units, wanted, stored, strict=True)
        ]

    def faults(self) -> list[Fault]:
        """One fault per unit, without the units that balance now."""
        return [
            self._fault(number) for number in range(len(self._units)) if self._missing[number] or self._extra[number]
        ]

    def _fault(self, number: int) -> Fault:
        unit, missing, extra = self._units[number], self._missing[number], self._extra[number]
        reasons = [*chunk_reasons(unit)]
        if missing:
            ids = {post.text: post.id for post in self._posts[number] if not post.rejected}
            samples = [f"{plain(ids[text])} {quoted(text)}" for text in islice(missing, SAMPLES)]
            reasons.append(f"{missing.total()} missing in documents: {shown(samples, missing.total())}")
        if extra:
            samples = [f"{quoted(text)}{self._why(number, text)}" for text in islice(extra, SAMPLES)]
            reasons.append(f"{extra.total()} too many in documents: {shown(samples, extra.total())}")
        return fault_of(unit, missing.total(), extra.total(), reasons)

    def _why(self, number: int, text: str) -> str:
        """The origin of a text that the documents have too many of; "" if unknown."""
        for other, missing in enumerate(self._missing):
            if text in missing:
                return f" (of the window {iso(self._units[other].end // 1000)})"
        for post in self._posts[number]:
            if post.text == text:
                return " (also rejected)" if post.rejected else " (stored more than once)"
        return ""


def fault_of(unit: Unit, missing: int | None, extra: int | None, reasons: Sequence[str]) -> Fault:
    posts, end = unit.posts.kept + unit.posts.rejected, iso(unit.end // 1000)
    return Fault(end, posts, unit.texts.kept, unit.posts.rejected, missing, extra, tuple(reasons))


def chunk_reasons(unit: Unit) -> list[str]:
    """The faults that the keys of a window's documents show."""
    if not unit.stored:
        return ["no document"]
    reasons = []
    if len({(each.start, each.end) for each in unit.stored}) > 1:
        reasons.append(f"{len(unit.stored)} documents of overlapping windows since {iso(unit.start // 1000)}")
    chunks = {each.chunk for each in unit.stored if (each.start, each.end) == (unit.start, unit.end)}
    lacking = sorted(set(range(max(chunks, default=-1) + 1)) - chunks)
    if lacking:
        reasons.append(f"no chunk {', '.join(map(str, lacking[:SAMPLES]))}")
    twice = [key for key, count in Counter(each.hash for each in unit.stored).items() if count > 1]
    if twice:
        reasons.append(f"more than one document with hash {twice[0]}")
    return reasons


def unmatched(stored: Stored) -> Fault:
    reason = f"the document's hash {plain(stored.hash)} matches no window of this topic"
    return Fault(iso(stored.end // 1000), 0, stored.tally.kept, 0, None, None, (reason,))


def malformed(key: str, timestamp: str) -> Fault:
    reason = f"the document with hash {plain(key)} has no readable timestamp or content"
    return Fault(plain(timestamp), 0, 0, 0, None, None, (reason,))


def in_documents(unit: Unit) -> int:
    """The texts of the documents that count: in a partial window only those that the topic still holds."""
    return unit.posts.kept - unit.short if unit.partial else unit.texts.kept
