"""Sends rejected frames through today's mapping and cleaning. No I/O."""

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import NamedTuple

from jobs.feed_processor import BINARY, MAX_RECORD_BYTES
from jobs.feeds.definition import Definition
from jobs.feeds.feed import Feed
from jobs.feeds.model import Event, Ignored, Outcome, Post, Rejection
from jobs.rejected.entries import Entry, Place


class ReplayedPost(NamedTuple):
    """A post for the topic. id: its key, too. stamp: the feed's own timestamp, ms. place: of its rejection."""

    id: str
    text: str
    stamp: int
    source: str
    extra: str
    place: Place

    def value(self, event_time: int) -> bytes:
        """The record's value: the collector's, without `position` and with `replayed`. event_time: ms.

        A collector without state resumes from the newest position in the topic, and the audit counts each number once:
        it counts the rejection's. So the position stays there.
        """
        extra = f',"extra":{self.extra}' if self.extra else ""
        return (
            f'{{"id":{encode_basestring(self.id)},"text":{encode_basestring(self.text)},"timestamp":{event_time},'
            f'"source":"{self.source}","stamp":{self.stamp}{extra},"replayed":"{self.place}"}}'
        ).encode()


class Mapped(NamedTuple):
    """What today's mapping makes of a rejected frame, or of the rejected part of one.

    posts: none if the frame is no post of this feed.
    rejections: of the parts that are malformed beside posts that are not.
    problem: why nothing of it can be replayed; None if it can.
    """

    posts: tuple[ReplayedPost, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    problem: Rejection | None = None


class Mapper:
    """Today's mapping of the feed."""

    def __init__(self, definition: Definition, clean: Callable[[str], str]) -> None:
        # A post without an id of its own gets one that each run makes again.
        self._place, self._ids = Place(0, 0), 0
        self._feed = Feed(definition, self._new_id)
        self._clean = clean

    def map(self, entry: Entry) -> Mapped:
        """The posts of the entry's frame. It must have one. Never raises."""
        self._place, self._ids = entry.place, 0
        frame = entry.frame or b""
        events = BINARY if entry.binary else flat(self._feed.parse(frame, entry.time))
        if isinstance(events, Rejection):
            return Mapped(problem=events)
        if entry.items:
            events = parts_of(events, entry.items)
        rejections = [each for each in events if isinstance(each, Rejection)]
        posts: list[ReplayedPost] = []
        for event in events:
            if isinstance(event, Post):
                made = self._post(event)
                (posts if isinstance(made, ReplayedPost) else rejections).append(made)  # type: ignore[arg-type]
        if rejections and not posts:
            return Mapped(problem=rejections[0])
        return Mapped(tuple(posts), tuple(rejections))

    def _post(self, post: Post) -> ReplayedPost | Rejection:
        text = self._clean(post.text)
        if not text:
            return Rejection("empty", "empty after cleaning", post.item)
        made = ReplayedPost(post.id, text, post.timestamp, self._feed.name, post.extra, self._place)
        # The event time has as many digits as the stamp, or a few more.
        if len(made.value(post.timestamp)) > MAX_RECORD_BYTES:
            reason = f"the cleaned post is larger than {MAX_RECORD_BYTES} bytes"
            return Rejection("too_large", reason, post.item)
        return made

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._place.partition}-{self._place.offset}-{self._ids}"


def flat(outcome: Outcome | list[Event]) -> list[Event] | Rejection:
    """The events of a frame, one for each part of it; none for a frame of the protocol."""
    if isinstance(outcome, Rejection):
        return outcome
    if isinstance(outcome, list):
        return [each for event in outcome for each in ((*event.before, event) if isinstance(event, Post) else (event,))]
    return [outcome] if isinstance(outcome, Post) else []


def parts_of(events: list[Event], items: Sequence[int]) -> list[Event]:
    """The events of these parts of the frame, without those that are no posts.

    The mapping of today may divide the frame otherwise, or not at all. Then the other parts cannot be told from the
    ones that were rejected.
    """
    parts = {each.item: each for each in events if not isinstance(each, Ignored)}
    found: list[Event] = []
    for item in items:
        if item in parts:
            found.append(parts[item])
        elif item >= len(events) or None in parts:
            found.append(Rejection("bad_structure", f"today's mapping finds no part {item} in the frame", item))
    return found
