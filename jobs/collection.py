"""From frames to records: what the collector does with each frame, where it stands, and what it must report. No I/O."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import NamedTuple

from jobs.feeds import Feed, Ignored, Post, Rejection, Shard

# Kafka refuses a record over 1 MiB, which would fail the job for ever; what is larger is rejected here instead.
MAX_RECORD_BYTES = 900_000
MAX_REJECTED_CHARACTERS = 8_192
# Servers of one feed stamp the same event a little differently; less than this is no gap.
GAP_TOLERANCE_US = 1_000_000
# How far the event time that a quiet feed is believed to have reached stays behind the clock.
HEARTBEAT_LAG_MS = 2_000
HEARTBEAT_PREFIX = "heartbeat-"
NOT_SERVED = "the server no longer has them"


class Record(NamedTuple):
    """One Kafka record: its key and its value, JSON in one line."""

    key: str
    value: str


class Frame(NamedTuple):
    """One WebSocket message as it came."""

    data: bytes
    is_text: bool
    received: int


class Progress(NamedTuple):
    """Where a shard of the feed stands: what Flink keeps in its state.

    position: of the last frame, or None before the first; timestamp: event time of the newest post in ms, 0 before
    the first; recent: (position, id) of the posts that a feed asked again may send twice, oldest first.
    """

    position: int | None = None
    timestamp: int = 0
    recent: tuple[tuple[int, str], ...] = ()


@dataclass
class Counts:
    """Totals since this process started, each of them a Flink metric."""

    posts: int = 0
    emptied: int = 0
    ignored: int = 0
    rejected: int = 0
    overlap: int = 0
    gaps: int = 0
    lost: int = 0


@dataclass
class Batch:
    """What came of a drain: records for `tweets` and for `tweets.rejected`, and error lines for the log."""

    posts: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Batch") -> None:
        self.posts += other.posts
        self.rejected += other.rejected
        self.errors += other.errors


class Collection:
    """Turns the frames of one shard into records, in order.

    clean: the cleaning function; progress: where to go on, from Flink's state.
    """

    def __init__(self, feed: Feed, shard: Shard, clean: Callable[[str], str], progress: Progress) -> None:
        self.feed = feed
        self.shard = shard
        self.counts = Counts()
        self._dense = feed.dense
        self._step = shard.of if feed.dense else 1
        self._clean = clean
        self._position = progress.position
        self._timestamp = progress.timestamp
        self._recent = {identity: position for position, identity in progress.recent}
        # A restored position is a promise that the feed has yet to keep: the next frame shows whether it does.
        self._resumed = progress.position is not None
        self._restarted = False

    @property
    def progress(self) -> Progress:
        recent = tuple((position, identity) for identity, position in self._recent.items())
        return Progress(self._position, self._timestamp, recent)

    @property
    def resume_from(self) -> int | None:
        """The position that the feed is asked to go on after; None: live from now on."""
        return None if self._restarted else self._position

    def asked(self) -> None:
        """The feed was asked to go on after `resume_from`; what is taken from now on is its answer."""
        self._resumed = self._position is not None

    def refused(self) -> None:
        """The server cannot go on after this position: it is asked to go on from now, and the hole is reported."""
        self._restarted = True

    def take(self, frames: Iterable[Frame]) -> Batch:
        """The records of these frames. Malformed frames become rejections; nothing is raised."""
        batch = Batch()
        for frame in frames:
            text = decode(frame)
            outcome = text if isinstance(text, Rejection) else self.feed.parse(text, frame.received)
            if isinstance(outcome, Post):
                if self._advance(outcome.position, batch) and self._is_new(outcome):
                    self._publish(outcome, frame, batch)
            elif isinstance(outcome, Ignored):
                self._advance(outcome.position, batch)
                self.counts.ignored += 1
            else:
                self._reject(outcome.reason, frame, batch)
        if self.feed.overlap:
            self._forget()
        return batch

    def skip(self, reason: str) -> Batch:
        """Step over the next frame, which cannot be received, so that the feed is not asked for it again and again."""
        batch = Batch()
        self._reject(f"{reason}, after position {self._position}", Frame(b"", True, 0), batch)
        if self._position is not None:
            step = self.shard.of if self.feed.dense else self.feed.overlap + GAP_TOLERANCE_US
            if not self.feed.dense:
                self._lose(self._position, self._position + step, step, "skipped with a frame too large", batch)
            self._position += step
        return batch

    def heartbeat(self, quiet_ms: int, keys: Iterable[str]) -> list[Record]:
        """One record for each key that moves event time on without being a post.

        quiet_ms: for how long the feed, connected and alive, is known to have sent nothing. Every post that is still
        to come is newer than the newest one seen, and than that plus the quiet time, less HEARTBEAT_LAG_MS.
        """
        if not self._timestamp:
            return []
        timestamp = self._timestamp + max(0, quiet_ms - HEARTBEAT_LAG_MS)
        return [self._record(key, "null", timestamp) for key in keys]

    def _publish(self, post: Post, frame: Frame, batch: Batch) -> None:
        self._timestamp = max(self._timestamp, post.timestamp)
        text = self._clean(post.text)
        if not text:
            self.counts.emptied += 1
            return
        record = self._record(post.id, encode_basestring(text), post.timestamp)
        # Only a long record can be too large; a character has at most four bytes.
        if len(record.value) * 4 > MAX_RECORD_BYTES and len(record.value.encode()) > MAX_RECORD_BYTES:
            self._reject(f"the cleaned post is larger than {MAX_RECORD_BYTES} bytes", frame, batch)
            return
        self.counts.posts += 1
        batch.posts.append(record)

    def _record(self, key: str, text: str, timestamp: int) -> Record:
        # `key` needs no escapes: ids are ASCII from feeds.py. By hand, since json.dumps takes four times as long.
        value = f'{{"id":{encode_basestring(key)},"text":{text},"timestamp":{timestamp},"source":"{self.feed.name}"}}'
        return Record(key, value)

    def _reject(self, reason: str, frame: Frame, batch: Batch) -> None:
        self.counts.rejected += 1
        record = {
            "reason": reason,
            "source": self.feed.name,
            "record": frame.data.decode(errors="backslashreplace")[:MAX_REJECTED_CHARACTERS],
            "bytes": len(frame.data),
        }
        batch.rejected.append(Record(self.feed.name, json.dumps(record)))

    def _advance(self, position: int | None, batch: Batch) -> bool:
        """Move to `position`; False when the feed has been there already."""
        last = self._position
        if self._dense and not self._restarted and last is not None and position == last + self._step:
            self._position = position
            return True
        if position is None or last is None:
            self._position, self._restarted = position, False
            return True
        step = self._step
        if self._restarted:
            self._restarted = self._resumed = False
            if position <= last:
                self._lose(last + 1, last, 0, f"the numbering went back to {position}", batch)
            elif size := (position - last) // step - self.feed.dense:
                self._lose(last + 1, position - 1, size, "the server refused to go on", batch)
        elif self.feed.dense:
            if position <= last:
                self.counts.overlap += 1
                return False
            if position - last > step:
                self._lose(last + 1, position - 1, (position - last) // step - 1, NOT_SERVED, batch)
        elif self._resumed:
            self._resumed = False
            if position > last + GAP_TOLERANCE_US:
                self._lose(last, position, position - last, NOT_SERVED, batch)
        self._position = position if self.feed.dense else max(last, position)
        return True

    def _is_new(self, post: Post) -> bool:
        if not self.feed.overlap or post.position is None:
            return True
        if post.id in self._recent:
            self.counts.overlap += 1
            return False
        self._recent[post.id] = post.position
        return True

    def _forget(self) -> None:
        """Keep the ids of twice the overlap: the servers' clocks differ."""
        if self._position is not None:
            oldest = self._position - 2 * self.feed.overlap
            self._recent = {identity: at for identity, at in self._recent.items() if at >= oldest}

    def _lose(self, first: int, last: int, size: int, why: str, batch: Batch) -> None:
        self.counts.gaps += 1
        self.counts.lost += size
        unit = "posts" if self.feed.dense else "microseconds"
        batch.errors.append(f"LOST: positions {first} to {last} of the {self.feed.name} feed ({size} {unit}): {why}")


def decode(frame: Frame) -> str | Rejection:
    """The text of a frame."""
    if not frame.is_text:
        return Rejection("a binary frame")
    try:
        return frame.data.decode()
    except UnicodeDecodeError as error:
        return Rejection(f"not UTF-8: {error.reason} at byte {error.start}")
