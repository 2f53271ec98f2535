"""Replays or discards rejections, each exactly once. No I/O.

One transaction holds the posts of some rejections and the markers that these are done. The transactional id is fixed:
a run first ends the open transaction of any other run, and then reads the markers. So a run that was killed leaves
either both or nothing, and of two runs at the same time only the later one can still commit.

A rejection may already be in the topic: the feed sent the frame again, and the mapping was corrected meanwhile. So the
posts are compared with the topic by their ids.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from jobs.audit.reader import PartitionRange, Record
from jobs.feeds.model import Rejection
from jobs.records import DISCARDED, REPLAYED, Frame, Part, marker, rejections
from jobs.rejected.entries import Done, Entry, Place, find_done, open_entries, why_not_replayable
from jobs.rejected.mapping import Mapped, Mapper

ALL = "all"
BATCH_REJECTIONS = 500
BATCH_BYTES = 4_194_304
# The topic is searched from the oldest of the posts on, and so much earlier: two clocks differ.
MARGIN_MS = 60_000
ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"((?:[^"\\]|\\.)*)"')


class Write(NamedTuple):
    """A record that is to be written into a partition of a topic."""

    topic: str
    partition: int
    key: str
    value: bytes


class Broker(Protocol):
    """What the work needs of Kafka. Raises the errors of the implementation."""

    def settled(self, topic: str) -> list[PartitionRange]:
        """What each partition holds now. Waits until all of it is committed or aborted."""

    def since(self, ranges: Iterable[PartitionRange], topic: str, at: int) -> list[PartitionRange]:
        """The part of these ranges that Kafka got from that time on, ms since 1970 UTC."""

    def records(self, topic: str, ranges: Iterable[PartitionRange]) -> Iterator[Record]:
        """The committed records in these ranges, in order within each partition."""

    def partition_of(self, key: str) -> int:
        """The partition of the topic of posts to which a key belongs."""

    def newest_event_times(self) -> Mapping[int, int]:
        """The newest event time in each partition of the topic of posts, ms; without those that hold none."""

    def commit(self, writes: Iterable[Write]) -> None:
        """Write these records in one transaction."""


class Names(NamedTuple):
    """The topics of posts and of rejections, and the name of today's feed."""

    topic: str
    rejected_topic: str
    feed: str


@dataclass
class Result:
    """What a run has done.

    replayed, discarded: rejections. posts: that were written. known: posts that were in the topic already.
    parts: rejections of parts of frames whose other parts were replayed.
    kept: by reason, the rejections that stay.
    """

    replayed: int = 0
    discarded: int = 0
    posts: int = 0
    known: int = 0
    parts: int = 0
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def lines(self) -> Iterator[str]:
        if self.discarded:
            yield f"{self.discarded} rejections were discarded"
        if self.replayed:
            yield f"{self.replayed} rejections were replayed as {self.posts} posts"
        if self.known:
            yield f"  {self.known} more posts were in the topic already: the feed had sent them again"
        if self.parts:
            yield f"  {self.parts} parts of their frames are still malformed, and are rejections of their own now"
        if self.kept:
            yield f"{sum(self.kept.values())} rejections stay:"
            yield from (f"  {count} x {reason}" for reason, count in self.kept.most_common())
        if not (self.discarded or self.replayed or self.kept):
            yield "nothing to do"


class Batch:
    """The writes of one transaction, without the markers. posts: how many by partition of their rejections."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.places: dict[int, list[Place]] = {}
        self.posts: Counter[int] = Counter()
        self._size = self._count = 0

    @property
    def full(self) -> bool:
        return self._count >= BATCH_REJECTIONS or self._size >= BATCH_BYTES

    def done(self, place: Place) -> None:
        self.places.setdefault(place.partition, []).append(place)
        self._count += 1

    def write(self, write: Write) -> None:
        self.writes.append(write)
        self._size += len(write.value)

    def with_markers(self, code: str, rejected_topic: str, now: int) -> list[Write]:
        """All writes. Each marker is in the partition of its rejections, so that retention deletes it after them."""
        return [
            *self.writes,
            *(
                Write(rejected_topic, partition, *marker(code, list(map(str, places)), now, self.posts[partition]))
                for partition, places in self.places.items()
            ),
        ]


class Work:
    """One run. clock: ms since 1970 UTC."""

    def __init__(self, broker: Broker, names: Names, clock: Callable[[], int]) -> None:
        self._broker = broker
        self._names = names
        self._clock = clock
        self._ranges: list[PartitionRange] = []
        self._done = Done()
        self.result = Result()

    def discard(self, code: str) -> Result:
        """Mark the open rejections of this code as done; ALL: every one."""
        batch = Batch()
        for entry in self._open(code):
            batch.done(entry.place)
            self.result.discarded += 1
            batch = self._commit_if(batch.full, batch, DISCARDED)
        self._commit_if(bool(batch.places), batch, DISCARDED)
        return self.result

    def replay(self, code: str, mapper: Mapper) -> Result:
        """Send the frames of the open rejections of this code through the mapping into the topic; ALL: every one."""
        known = self._known_ids(code, mapper)
        batch, times = Batch(), self._broker.newest_event_times()
        for entry in self._open(code):
            mapped = self._mapped(entry, mapper)
            if isinstance(mapped, str):
                self.result.kept[mapped] += 1
                continue
            self._add(entry, mapped, known, times, batch)
            if batch.full:
                batch = self._commit_if(True, batch, REPLAYED)
                times = self._broker.newest_event_times()
        self._commit_if(bool(batch.places), batch, REPLAYED)
        return self.result

    def _open(self, code: str) -> Iterator[Entry]:
        """The open rejections of this code, as they were when the run began."""
        topic = self._names.rejected_topic
        if not self._ranges:
            self._ranges = self._broker.settled(topic)
            self._done = find_done(self._broker.records(topic, self._ranges))
        entries = open_entries(self._broker.records(topic, self._ranges), self._done, self._names.topic)
        return (entry for entry in entries if code in (ALL, entry.code))

    def _mapped(self, entry: Entry, mapper: Mapper) -> Mapped | str:
        """The posts of the entry, or why there are none."""
        obstacle = why_not_replayable(entry, self._names.topic, self._names.feed)
        if obstacle is not None:
            return obstacle
        mapped = mapper.map(entry)
        return mapped if mapped.problem is None else f"still {mapped.problem.code}: {mapped.problem.reason}"

    def _known_ids(self, code: str, mapper: Mapper) -> set[str]:
        """The ids of posts to replay that are in the topic already."""
        wanted: set[str] = set()
        oldest = self._clock()
        for entry in self._open(code):
            mapped = self._mapped(entry, mapper)
            for post in mapped.posts if isinstance(mapped, Mapped) else ():
                wanted.add(post.id)
                oldest = min(oldest, entry.written, post.stamp)
        if not wanted:
            return set()
        topic = self._names.topic
        ranges = self._broker.since(self._broker.settled(topic), topic, max(0, oldest - MARGIN_MS))
        return {found for record in self._broker.records(topic, ranges) if (found := post_id(record)) in wanted}

    def _add(self, entry: Entry, mapped: Mapped, known: set[str], times: Mapping[int, int], batch: Batch) -> None:
        for post in mapped.posts:
            if post.id in known:
                self.result.known += 1
                continue
            known.add(post.id)
            partition = self._broker.partition_of(post.id)
            value = post.value(event_time(partition, times, self._clock()))
            batch.write(Write(self._names.topic, partition, post.id, value))
            batch.posts[entry.place.partition] += 1
            self.result.posts += 1
        for value in self._parts(entry, mapped.rejections):
            batch.write(Write(self._names.rejected_topic, entry.place.partition, entry.source, value))
        self.result.parts += len(mapped.rejections)
        batch.done(entry.place)
        self.result.replayed += 1

    def _parts(self, entry: Entry, rejected: Sequence[Rejection]) -> list[bytes]:
        """Rejections for the malformed parts of a frame whose other parts are replayed."""
        frame = Frame(entry.frame or b"", not entry.binary, entry.time)
        made = rejections([Part(each) for each in rejected], entry.source, frame, entry.server)
        return [record.value for record in made]

    def _commit_if(self, due: bool, batch: Batch, code: str) -> Batch:
        """Commit the batch if it is due. Returns the batch to go on with."""
        if not due:
            return batch
        self._broker.commit(batch.with_markers(code, self._names.rejected_topic, self._clock()))
        return Batch()


def event_time(partition: int, newest: Mapping[int, int], now: int) -> int:
    """The event time of a post that is replayed now, in ms.

    It is the newest one that its partition holds. So the post is not late, and it does not advance event time: a
    collector that is behind, or stopped, still has older posts to write.
    """
    return min(now, newest.get(partition, max(newest.values(), default=now)))


def post_id(record: Record) -> str | None:
    """The id of a record of the topic of posts. Ids are ASCII, so an escaped one is no post's of a collector."""
    found = ID.match(record.value or b"")
    return found[1].decode(errors="replace") if found else None
