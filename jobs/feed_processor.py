"""Turns frames into records, keeps the state of the feed, and reports gaps. No I/O."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from orjson import dumps

from jobs.contiguous import ContiguousOrder
from jobs.event_time import HEARTBEAT_STEP_MS, MAX_BEHIND_MS, OUT_OF_ORDER_MS
from jobs.feeds.feed import Feed
from jobs.feeds.model import Control, Event, Failure, Ignored, Position, Post, Rejection, Shard
from jobs.per_key import PerKeyOrder
from jobs.positions import Accepted, Duplicate, Gap, NoOrder, Order, SequenceOrder, TimestampOrder
from jobs.records import (
    HEARTBEAT_PREFIX,
    MAX_REJECTED_CHARACTERS,
    Batch,
    Counts,
    FeedState,
    Frame,
    Part,
    Record,
    feed_event,
    gap_rejection,
    heartbeat,
    rejections,
    token,
)

__all__ = [
    "HEARTBEAT_LAG_MS",
    "HEARTBEAT_PREFIX",
    "MAX_RECORD_BYTES",
    "MAX_REJECTED_CHARACTERS",
    "Batch",
    "Counts",
    "FeedProcessor",
    "FeedState",
    "Frame",
    "Record",
]

# Kafka refuses a record over 1 MiB, and the job would fail repeatedly. So a larger record is rejected here.
MAX_RECORD_BYTES = 900_000
# While a feed is quiet, its event time stays this much behind the clock.
HEARTBEAT_LAG_MS = 2_000
# At most so often, a record has the text before cleaning, too: samples for people, such as the live page.
ORIGINAL_MS = 50
BINARY = Rejection("binary", "a binary frame")
# At most so often, stamps that were replaced are reported in `tweets.events`.
CLAMPED_MS = 10_000
TIME_UNITS = {1: "seconds", 1_000: "milliseconds", 1_000_000: "microseconds", 1_000_000_000: "nanoseconds"}


class FeedProcessor:
    """Turns the frames of one shard into records, in order.

    clean: the cleaning function.
    progress: the state to resume from, of Flink or of the topic.
    heartbeat_keys: a key for each partition of this shard. The caller may change it at any time.
    keys: the keys of posts, used in turn; None: each post's id is its key. The caller may change it at any time.
    """

    def __init__(self, feed: Feed, shard: Shard, clean: Callable[[str], str], progress: FeedState) -> None:
        self.feed = feed
        self.shard = shard
        self._shard_name = f"{shard.number}/{shard.of}"
        self.counts = Counts()
        self.heartbeat_keys: Sequence[str] = ()
        # The server that sends the frames, for people.
        self.server = ""
        self._keys: Sequence[str] | None = None
        self._next_key: Iterator[str] | None = None
        self._clean = clean
        # A position of another feed is never used. It is reported as a gap when the first frame arrives.
        known = progress.position is not None or progress.timestamp > 0
        self._foreign = progress if known and progress.source not in ("", feed.name) else None
        self._order = make_order(feed, shard, progress if self._foreign is None else FeedState())
        self._newest = progress.timestamp
        self._seen = self._seen_before = progress.seen
        self._clamped_before, self._clamped_at = 0, 0
        self._original_at = 0  # from when on the next record may have its original
        self._heartbeat_time = 0
        self._advance_heartbeat_time(progress.heartbeat_time)
        self._resume_rejected = False
        # The last known time of the clock, ms since 1970 UTC.
        self._now = progress.heartbeat_time
        # What is rejected of one frame, until the batch has its records.
        self._rejected_frame: Frame | None = None
        self._rejected_parts: list[Part] = []
        self._prepare_fields(self._order.numbering)

    @property
    def keys(self) -> Sequence[str] | None:
        return self._keys

    @keys.setter
    def keys(self, keys: Sequence[str] | None) -> None:
        self._keys = keys
        self._next_key = itertools.cycle(keys) if keys else None

    @property
    def progress(self) -> FeedState:
        if self._foreign is not None:
            return self._foreign._replace(timestamp=self._newest, heartbeat_time=self._heartbeat_time, seen=self._seen)
        order, source = self._order, self.feed.name
        return FeedState(
            source, order.numbering, order.position, self._newest, self._heartbeat_time, order.recent, self._seen
        )

    @property
    def resume_from(self) -> Position | None:
        """The position from which the feed resumes; None: live from now on."""
        position = self._order.position if self.feed.resumable and not self._resume_rejected else None
        return None if position is None else Position(position, self._order.numbering)

    def on_subscribed(self, resumed: bool) -> None:
        """A request was sent. The next frames are its answer. resumed: the request had the position."""
        self._order.on_subscribed(resumed)
        self._resume_rejected = False
        self._seen_before = self._seen

    def on_resume_rejected(self) -> None:
        """The server cannot resume from the position. The next request is live, and its answer shows the gap."""
        self._resume_rejected = True

    def on_connected_until(self, now_ms: int) -> None:
        """The feed is connected, and the time is `now_ms` in ms since 1970 UTC."""
        self._seen = max(self._seen, now_ms)

    def event(self, what: str, at: int, **details: object) -> Record:
        """A record of `tweets.events`."""
        return feed_event(what, self.feed.name, self._shard_name, self.server, at, **details)

    def process(self, frames: Iterable[Frame]) -> Batch:
        """The records of these frames. A malformed frame becomes a rejection. Never raises."""
        batch, frame = self._new_batch(), None
        order, parse = self._order, self.feed.parse
        for frame in frames:
            data, is_text, received = frame
            outcome = parse(data, received) if is_text else BINARY
            if type(outcome) is Post:
                # Fast path: the next number of the same numbering, as in nearly every frame of a contiguous feed.
                if outcome.position == order.next and outcome.numbering == order.numbering:
                    self._publish(outcome, frame, batch)
                    order.position = order.next
                    order.next += order.step
                else:
                    self._place(outcome, frame, batch)
            elif isinstance(outcome, list):
                for event in outcome:
                    self._process_event(event, frame, batch)
            elif isinstance(outcome, Control):
                self.counts.control += 1
                self._now = received
                if outcome.replayed and (gap := order.on_replayed()) is not None:
                    self._record_gap(gap, self.feed.name, batch)
            elif isinstance(outcome, Failure):
                batch.failures.append((outcome.means, outcome.reason))
            else:
                self._process_event(outcome, frame, batch)
        order.forget()
        if frame is not None:
            self._now = self._seen = frame.received
            self._report_clamped(batch)
        return self._with_marker(batch)

    def _process_event(self, event: Event, frame: Frame, batch: Batch) -> None:
        if isinstance(event, Rejection):
            self._order.reject()
            self._reject(event, frame, None, batch)
            return
        if isinstance(event, Ignored):
            self.counts.ignored += 1
        self._place(event, frame, batch)

    def skip(self, reason: str, now_ms: int | None = None) -> Batch:
        """Skip the next frame, which cannot be received. Otherwise the feed would send it after each reconnect.

        now_ms: the clock, ms since 1970 UTC; None: its last known time.
        """
        batch, order = self._new_batch(), self._order
        self._now = self._now if now_ms is None else now_ms
        after = order.position
        skipped = order.skip(f"skipped with {reason}")
        position = token(skipped, order.numbering) if isinstance(skipped, int) else None
        self._reject(
            Rejection("too_large", f"{reason}, after position {after}"), Frame(b"", True, self._now), position, batch
        )
        if isinstance(skipped, Gap):
            self._record_gap(skipped, self.feed.name, batch)
        return self._with_marker(batch)

    def heartbeat(self, now_ms: int, quiet_ms: int | None) -> list[Record]:
        """A heartbeat for each of `heartbeat_keys`: a record that advances event time and is not a post.

        Assumes that each later post is newer than the newest post so far + quiet_ms - HEARTBEAT_LAG_MS.

        now_ms: the clock, ms since 1970 UTC.
        quiet_ms: for how long the connected feed is known to have had nothing to send. None: unknown, for example
            because it is disconnected; then event time does not advance.
        """
        self._now = now_ms
        if not self._newest and not self._heartbeat_time:
            return []
        if quiet_ms is not None and not self._order.waiting and not self._order.replaying:
            self._advance_heartbeat_time(min(now_ms, self._newest + max(0, quiet_ms - HEARTBEAT_LAG_MS)))
        return self._heartbeats(now_ms) if self._heartbeat_time else []

    def _place(self, event: Post | Ignored, frame: Frame, batch: Batch) -> None:
        """Process an event that is not on the fast path."""
        self._now = frame.received
        for decision in self._order.place(event, frame, self._newest):
            if isinstance(decision, Accepted):
                self._accept(decision, batch)
            elif isinstance(decision, Duplicate):
                self.counts.overlap += 1
            elif isinstance(decision, Gap):
                self._record_gap(decision, self.feed.name, batch)
                if decision.numbering != self._order.numbering and not self.feed.per_key:
                    # The record with the newest event time must have the new numbering, see resume.py.
                    self._advance_heartbeat_time(min(self._newest + 1, frame.received))
                    self._marker_due = True
            else:
                for post in (*decision.post.before, decision.post):
                    self._reject(Rejection("wrong_number", decision.reason, post.item), decision.frame, None, batch)

    def _accept(self, accepted: Accepted, batch: Batch) -> None:
        event, frame = accepted
        if self._foreign is not None:
            state, self._foreign = self._foreign, None
            first = None if state.position is None else state.position + 1
            until = event.timestamp if isinstance(event, Post) else frame.received
            why = f"the state is of the {state.source} feed"
            gap = Gap(state.numbering, first, None, None, 0, why, min(until, frame.received))
            self._record_gap(gap, state.source, batch)
        if isinstance(event, Post):
            self._prepare_fields(event.numbering)
            for each in event.before:
                self._publish(each, frame, batch)
            self._publish(event, frame, batch)

    def _publish(self, post: Post, frame: Frame, batch: Batch) -> None:
        stamp, own = post.timestamp, b""
        if stamp > frame.received or stamp < self._oldest:
            stamp, own = self._corrected_stamp(stamp, frame.received), b',"stamp":%d' % stamp
        if stamp > self._newest:  # noqa: PLR1730 - max() would cost each post a call
            self._newest = stamp
        text = self._clean(post.text)
        if not text:
            self.counts.emptied += 1
            empty = Rejection("empty", "empty after cleaning", post.item)
            self._append_rejection(empty, frame, token(post.position, post.numbering), batch)
            return
        if stamp >= self._heartbeat_at and not self._order.replaying:
            self._advance_heartbeat_time(stamp - OUT_OF_ORDER_MS)
            batch.posts += self._heartbeats(stamp)
        extra = b',"extra":%b' % post.extra.encode() if post.extra else b""
        place = self._source if post.position is None else b'%b%d"' % (self._numbered, post.position)
        # A whole record of orjson would hold 4 KiB of memory.
        value = b'{"id":%b,"text":%b,"timestamp":%d%b%b%b}' % (dumps(post.id), dumps(text), stamp, place, own, extra)
        if len(value) > MAX_RECORD_BYTES:
            reason = f"the cleaned post is larger than {MAX_RECORD_BYTES} bytes"
            self._reject(Rejection("too_large", reason, post.item), frame, token(post.position, post.numbering), batch)
            return
        if frame.received >= self._original_at and text != post.text:
            self._original_at = frame.received + ORIGINAL_MS
            value = with_original(value, post.text)
        self.counts.posts += 1
        batch.posts.append(Record(post.id if self._next_key is None else next(self._next_key), value))

    def _corrected_stamp(self, stamp: int, received: int) -> int:
        """The event time of a post whose own stamp is ahead of the clock, or far behind the newest heartbeat."""
        if stamp > received:
            self.counts.ahead += 1
            return received
        self.counts.behind += 1
        return min(self._heartbeat_time, received)

    def _advance_heartbeat_time(self, timestamp: int) -> None:
        """Set the event time of heartbeats. It never decreases. A post up to MAX_BEHIND_MS older keeps its stamp."""
        self._heartbeat_time = max(self._heartbeat_time, timestamp)
        self._oldest = self._heartbeat_time - MAX_BEHIND_MS
        self._heartbeat_at = self._heartbeat_time + HEARTBEAT_STEP_MS

    def _heartbeats(self, now: int) -> list[Record]:
        return [self._heartbeat(key, now) for key in self.heartbeat_keys]

    def _heartbeat(self, key: str, now: int) -> Record:
        position = token(self._order.position, self._order.numbering)
        return heartbeat(key, min(self._heartbeat_time, now), self.feed.name, position, self._shard_name)

    def _prepare_fields(self, numbering: str) -> None:
        """Prepare the JSON fields that nearly all records have in common."""
        self._source = f',"source":"{self.feed.name}"'.encode()
        self._numbered = self._source + f',"position":"{numbering}{"/" if numbering else ""}'.encode()

    def _reject(self, why: Rejection, frame: Frame, position: str | None, batch: Batch) -> None:
        self.counts.rejected += 1
        self._append_rejection(why, frame, position, batch)

    def _append_rejection(self, why: Rejection, frame: Frame, position: str | None, batch: Batch) -> None:
        if self._rejected_frame is not frame:
            self._write_rejections(batch)
            self._rejected_frame = frame
        self._rejected_parts.append(Part(why, position))
        if position is not None:
            self._unmarked = len(batch.posts)

    def _write_rejections(self, batch: Batch) -> None:
        """Write what is rejected of the last frame that has rejections."""
        if self._rejected_frame is not None:
            batch.rejected += rejections(self._rejected_parts, self.feed.name, self._rejected_frame, self.server)
        self._rejected_frame, self._rejected_parts = None, []

    def _record_gap(self, gap: Gap, source: str, batch: Batch) -> None:
        """Append a gap to the rejections (for the audit) and to the errors (for the log), and count it."""
        self._unmarked = len(batch.posts)
        self._write_rejections(batch)
        what = {name: getattr(gap, name) for name in ("numbering", "first", "last", "lost", "rejected")}
        code, reason = ("rejected_range", "rejected frames") if gap.lost == 0 else ("lost", f"lost: {gap.why}")
        batch.rejected.append(gap_rejection(code, reason, source, what, self.server, self._now))
        if gap.lost == 0:
            return
        # A feed without positions is away from the end of one connection to the first frame of the next.
        since = self._seen_before if isinstance(self._order, NoOrder) else self._newest
        if self.feed.newest_first and gap.first is not None:  # newer posts than the gap were there before it
            since = min(since, gap.first * 1_000 // self.feed.per_second)
        seconds = max(1, -((since - gap.until) // 1000)) if since else 1
        self.counts.gaps += 1
        self.counts.lost += gap.lost or 0
        self.counts.gap_seconds += seconds
        batch.events.append(self.event("lost", self._now, why=gap.why, seconds=seconds, **what))
        batch.errors.append(f"LOST: {extent(gap, self.feed, source)}: {gap.why}")

    def _report_clamped(self, batch: Batch) -> None:
        """Report the posts whose stamp was replaced, at most every CLAMPED_MS."""
        clamped = self.counts.ahead + self.counts.behind
        if clamped != self._clamped_before and self._now - self._clamped_at >= CLAMPED_MS:
            batch.events.append(self.event("clamped", self._now, posts=clamped - self._clamped_before))
            self._clamped_before, self._clamped_at = clamped, self._now

    def _new_batch(self) -> Batch:
        # The number of posts in the batch when the last rejection or gap advanced the position behind them.
        self._unmarked = -1
        self._marker_due = False
        return Batch()

    def _with_marker(self, batch: Batch) -> Batch:
        """The complete batch, with a heartbeat at its end if its last post does not hold the newest position."""
        self._write_rejections(batch)
        due = self._marker_due or self._unmarked == len(batch.posts)
        if due and self._order.position is not None:
            if not self._heartbeat_time:
                self._advance_heartbeat_time(min(self._newest, self._now))
            key = self.heartbeat_keys[0] if self.heartbeat_keys else f"{HEARTBEAT_PREFIX}0"
            batch.posts.append(self._heartbeat(key, self._now))
        return batch


def make_order(feed: Feed, shard: Shard, progress: FeedState) -> Order:
    """The order policy of that feed, resumed from `progress`."""
    if feed.per_key and feed.dense:
        return PerKeyOrder(progress)
    if feed.dense:
        return ContiguousOrder(shard, progress)
    if not feed.resumable:
        return NoOrder(known=progress.seen > 0 or progress.timestamp > 0)
    if feed.per_second:
        return TimestampOrder(feed.per_second, feed.overlap, progress, newest_first=feed.newest_first)
    return SequenceOrder(feed.inclusive, progress)


def with_original(value: bytes, text: str) -> bytes:
    """A record with the text before cleaning; without it if the record would become too large.

    Unpaired surrogates become U+FFFD: a record is valid UTF-8.
    """
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    longer = b'%b,"original":%b}' % (value[:-1], dumps(text))
    return value if len(longer) > MAX_RECORD_BYTES else longer


def extent(gap: Gap, feed: Feed, source: str) -> str:
    """The positions of a gap as a text for the log."""
    of = f"the {source} feed" + (f", {gap.numbering}" if feed.per_key and gap.numbering else "")
    if gap.last is None or gap.lost is None:
        begin = "" if gap.first is None else f"from position {gap.first} on, "
        return f"{begin}an unknown part of {of}"
    return f"positions {gap.first} to {gap.last} of {of} ({gap.lost} {unit_of(feed)})"


def unit_of(feed: Feed) -> str:
    """What a position of the feed counts."""
    if feed.dense:
        return "posts"
    return TIME_UNITS.get(feed.per_second, "numbers")
