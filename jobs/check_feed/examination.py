"""Counts what the collector makes of frames, and keeps a sample of each kind. No I/O."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobs.cleaning import clean
from jobs.feed_processor import BINARY, FeedProcessor
from jobs.feeds.feed import Feed
from jobs.feeds.json_values import decode, render
from jobs.feeds.model import Control, Failure, Ignored, Outcome, Position, Post, Rejection, Shard
from jobs.feeds.rules import Rules
from jobs.records import Batch, Counts, FeedState, Frame, items_of

MAX_SHAPES = 3
NUMBER = re.compile("[0-9]+")


class Sample(NamedTuple):
    """A post as the feed sent it. cleaned: its text after cleaning. received: ms since 1970 UTC."""

    post: Post
    cleaned: str
    received: int


@dataclass
class Kind:
    """Frames, or parts of frames, about which the same rule or code decided.

    name: the rule, or the code and the reason.
    samples: frames, or elements of frames, by their shape, at most MAX_SHAPES.
    """

    name: str
    count: int = 0
    samples: dict[object, bytes] = field(default_factory=dict)

    def add(self, data: bytes) -> None:
        self.count += 1
        if data and len(self.samples) < MAX_SHAPES:
            self.samples.setdefault(shape_of(decode(data)), data)


class Failed(NamedTuple):
    """A frame with which the server reports an error. means, reason: as in jobs.feeds.model.Failure."""

    means: str
    reason: str


@dataclass
class Tally:
    """What was counted.

    frames: all of them. kept: frames with at least one post. posts: in those, before duplicates are dropped.
    ignored, control, rejected, errors: by rule, by code and reason, or by rule and meaning.
    events: frames by their number of events. Control frames and errors have none.
    ages: received minus the post's own time, ms.
    first, last: times of arrival, ms since 1970 UTC; 0 before the first frame.
    """

    frames: int = 0
    kept: int = 0
    posts: int = 0
    ignored: dict[str, Kind] = field(default_factory=dict)
    control: dict[str, Kind] = field(default_factory=dict)
    rejected: dict[str, Kind] = field(default_factory=dict)
    errors: dict[str, Kind] = field(default_factory=dict)
    events: Counter[int] = field(default_factory=Counter)
    ages: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0


class Examination:
    """Passes each frame through the collector's processor, and tells what came of it.

    samples: so many posts are kept as `samples`.
    """

    def __init__(self, feed: Feed, samples: int) -> None:
        self.tally = Tally()
        self.samples: list[Sample] = []
        self._feed = feed
        self._most = samples
        self._rules = Rules(feed.definition)
        self._processor = FeedProcessor(feed, Shard(), clean, FeedState())

    @property
    def counts(self) -> Counts:
        """The collector's own counts."""
        return self._processor.counts

    @property
    def position(self) -> Position | None:
        """The position from which the collector would resume."""
        return self._processor.resume_from

    def on_subscribed(self, resumed: bool) -> None:
        self._processor.on_subscribed(resumed)

    def on_resume_rejected(self) -> None:
        self._processor.on_resume_rejected()

    def skip(self, limit: int, now_ms: int) -> None:
        """Count a frame that is larger than `limit` bytes."""
        self._arrived(now_ms)
        self._count_rejected(self._processor.skip(f"a frame larger than {limit} bytes", now_ms), b"")

    def add(self, frame: Frame) -> Failed | None:
        """Examine a frame. Returns the error that the server reports with it; None for any other frame."""
        self._arrived(frame.received)
        outcome = self._feed.parse(frame.data, frame.received) if frame.is_text else BINARY
        batch = self._processor.process([frame])
        self._count_rejected(batch, frame.data)
        if isinstance(outcome, Failure):
            count(self.tally.errors, f"{self._rules.of_frame(frame.data)}, {outcome.means}", frame.data)
            return Failed(*outcome)
        self._count(outcome, frame)
        return None

    def _arrived(self, received: int) -> None:
        tally = self.tally
        tally.frames += 1
        tally.first = tally.first or received
        tally.last = received

    def _count(self, outcome: Outcome | Sequence[Outcome], frame: Frame) -> None:
        tally = self.tally
        if isinstance(outcome, Control):
            count(tally.control, self._rules.of_frame(frame.data), frame.data)
        elif isinstance(outcome, Ignored) or outcome == []:
            count(tally.ignored, self._rules.of_frame(frame.data), frame.data)
        posts = posts_of(outcome)
        if isinstance(outcome, list):
            self._count_ignored_elements(outcome, frame.data)
            tally.events[len(posts) + sum(not isinstance(each, Post) for each in outcome)] += 1
        elif not isinstance(outcome, Control):
            tally.events[1] += 1
        tally.kept += bool(posts)
        tally.posts += len(posts)
        for post in posts:
            tally.ages.append(frame.received - post.timestamp)
            if len(self.samples) < self._most:
                self.samples.append(Sample(post, clean(post.text), frame.received))

    def _count_ignored_elements(self, outcome: Sequence[Outcome], data: bytes) -> None:
        if any(isinstance(event, Ignored) for event in outcome):
            rejected = {event.item for event in outcome if isinstance(event, Rejection)}
            elements = self._rules.elements(data)
            for number, rule in enumerate(self._rules.of_elements(data)):
                if rule is not None and number not in rejected:
                    count(self.tally.ignored, rule, render(elements[number]).encode())

    def _count_rejected(self, batch: Batch, data: bytes) -> None:
        for record in batch.rejected:
            value = json.loads(record.value)
            code, reason = value["code"], value["reason"]
            name = f"{code}: {reason.removeprefix(f'{code}: ')}"
            # Reasons that differ only in their numbers are one kind.
            kind = self.tally.rejected.setdefault(NUMBER.sub("0", name), Kind(name))
            items = items_of(value)
            elements = self._rules.elements(data) if items else []
            for part in [render(elements[item]).encode() for item in items] or [data]:
                kind.add(part)


def posts_of(outcome: Outcome | Sequence[Outcome]) -> list[Post]:
    """All posts of a frame, also those that were merged into one event."""
    events = outcome if isinstance(outcome, list) else [outcome]
    return [post for event in events if isinstance(event, Post) for post in (*event.before, event)]


def count(kinds: dict[str, Kind], name: str, data: bytes) -> None:
    kinds.setdefault(name, Kind(name)).add(data)


def shape_of(value: object, depth: int = 2) -> object:
    """What frames of the same kind have in common: the names in objects, and the first text of an array."""
    if depth and isinstance(value, dict):
        return frozenset((name, shape_of(each, depth - 1)) for name, each in value.items())
    if depth and isinstance(value, list):
        first = value[0] if value and isinstance(value[0], str) else ""
        return (first, *(shape_of(each, depth - 1) for each in value[:4]))
    return type(value)
