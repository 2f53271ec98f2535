"""The records of the topic of rejections: rejections, and markers of those that are done. No I/O."""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from jobs.audit.numbers import NumberSet, read_object
from jobs.audit.reader import Record
from jobs.records import DISCARDED, REPLAYED, is_marker, items_of

PLACE = "([0-9]{1,9})/([0-9]{1,18})"
GAPS = ("lost", "rejected_range")
# The reasons of earlier releases, which had no codes.
EARLIER = {"empty after cleaning": "empty", "rejected frames": "rejected_range"}


class Place(NamedTuple):
    """Where a record is in the topic of rejections."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Entry:
    """One rejection.

    code: of the collector, see jobs.feeds.model.CODES; the reason if the aggregator wrote it.
    source: the feed, or the topic of posts if the aggregator wrote it.
    time: of the rejection, ms since 1970 UTC. written: when Kafka got it.
    record: the beginning of the frame as a text. size: of the frame, in bytes.
    frame: all bytes of the frame; None if the record does not have them.
    items: the indexes of the rejected parts in the frame's array; none: the complete frame is rejected.
    by_aggregator: whether the aggregator wrote it.
    """

    place: Place
    key: str
    code: str
    reason: str
    source: str
    server: str
    time: int
    written: int
    position: str | None
    record: str
    size: int
    frame: bytes | None
    binary: bool
    items: tuple[int, ...]
    by_aggregator: bool

    @property
    def count(self) -> int:
        """How many frames or parts of a frame are rejected."""
        return max(1, len(self.items))


def place_of(text: str) -> Place | None:
    found = re.fullmatch(PLACE, text, re.ASCII)
    return Place(int(found[1]), int(found[2])) if found else None


def parse_entry(record: Record, value: Mapping[str, object], topic: str) -> Entry | None:
    """The rejection in a record with this value; None for anything else. topic: the topic of posts."""
    reason, source, text = value.get("reason"), value.get("source"), value.get("record")
    if not isinstance(reason, str) or not isinstance(source, str):
        return None
    code, written = value.get("code"), record.timestamp or 0
    by_aggregator = source == topic and code is None
    if not isinstance(code, str):
        code = reason if by_aggregator else "lost" if reason.startswith("lost: ") else EARLIER.get(reason, "unknown")
    return Entry(
        place=Place(record.partition, record.offset),
        key=(record.key or b"").decode(errors="replace"),
        code=code,
        reason=reason,
        source=source,
        server=str(value.get("server") or ""),
        time=whole_number(value.get("time"), written),
        written=written,
        position=position if isinstance(position := value.get("position"), str) else None,
        record=text if isinstance(text, str) else json.dumps(text),
        size=whole_number(value.get("bytes"), 0),
        frame=frame_of(value),
        binary=value.get("binary") is True,
        items=items_of(value),
        by_aggregator=by_aggregator,
    )


def whole_number(value: object, otherwise: int) -> int:
    return value if type(value) is int and value >= 0 else otherwise


def frame_of(value: Mapping[str, object]) -> bytes | None:
    """The bytes of the frame. A frame that was too large was never received: then there are none."""
    encoded = value.get("frame")
    try:
        return b64decode(encoded, validate=True) or None if isinstance(encoded, str) else None
    except (binascii.Error, ValueError):
        return None


@dataclass
class Done:
    """The rejections that are done. replayed, discarded: how many. posts: how many posts the replays have written."""

    places: dict[int, NumberSet] = field(default_factory=dict)
    replayed: int = 0
    discarded: int = 0
    posts: int = 0

    def __contains__(self, place: Place) -> bool:
        return place.partition in self.places and place.offset in self.places[place.partition]

    def add(self, value: Mapping[str, object]) -> None:
        """Add a marker's value."""
        listed = value.get("of")
        places = [found for each in listed if (found := place_of(str(each)))] if isinstance(listed, list) else []
        new = sum(self.places.setdefault(each.partition, NumberSet()).add(each.offset) for each in places)
        if value.get("code") == DISCARDED:
            self.discarded += new
        elif value.get("code") == REPLAYED:
            self.replayed += new
            self.posts += whole_number(value.get("posts"), 0)


def find_done(records: Iterable[Record]) -> Done:
    done = Done()
    for record in records:
        value = read_object(record.value) if b'"of"' in (record.value or b"") else None
        if value is not None and is_marker(value):
            done.add(value)
    return done


def open_entries(records: Iterable[Record], done: Done, topic: str) -> Iterator[Entry]:
    """The rejections that are not done. topic: the topic of posts."""
    for record in records:
        if Place(record.partition, record.offset) in done:
            continue
        value = read_object(record.value)
        if value is not None and not is_marker(value) and (entry := parse_entry(record, value, topic)):
            yield entry


def why_not_replayable(entry: Entry, topic: str, feed: str) -> str | None:
    """Why this rejection cannot be sent through the mapping of `feed`; None if it can. topic: the topic of posts."""
    if entry.by_aggregator:
        # A copy would be a second post with the same id for each reader of the topic.
        return f"the record is in the topic {topic} already, and the aggregator rejected it there"
    if entry.code in GAPS:
        return "a gap: there is no frame"
    if entry.frame is None:
        return "it has no frame: it was too large to be received, or an earlier release wrote it"
    if entry.source != feed:
        return f"it is of the feed {entry.source}, and FEED is {feed}"
    return None
