"""The position from which a collector without state resumes: the newest one in the topic. No I/O.

The order of the records does not matter. In a numbering, the highest position is the newest. Between numberings, the
newest event time decides: the first heartbeat of a new numbering has a newer event time than all records before it.
"""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from jobs.feeds.feed import Feed
from jobs.feeds.model import MAX_TIMESTAMP, NUMBERING, Position, Shard
from jobs.records import HEARTBEAT_PREFIX, FeedState

SHARD = re.compile("([0-9]{1,9})/([0-9]{1,9})")
NUMBER = re.compile("[0-9]{1,19}")
NO_POSITION = Position(0)


class ParsedRecord(NamedTuple):
    """A record of the topic.

    number: None for a record without position.
    shard: of a heartbeat; None for a post.
    stamp: the feed's own stamp if the event time replaced it, else 0.
    """

    id: str
    timestamp: int
    numbering: str
    number: int | None
    shard: Shard | None
    stamp: int


def progress_from(records: Iterable[bytes | str], feed: Feed, shard: Shard) -> FeedState | None:
    """The state of that shard from the values at the end of the topic `tweets`; None if they hold no position.

    Records of other feeds and invalid records are skipped.
    """
    found = [record for value in records if (record := parse_record(value, feed.name)) is not None]
    if not found:
        return None
    newest = max(record.timestamp for record in found)
    if not feed.resumable:
        return FeedState(feed.name, "", None, newest, newest, last_numbers(found) if feed.per_key else (), newest)
    seen = [record for record in found if record.number is not None]
    if not seen:
        return None
    numbering = max(seen, key=lambda record: record.timestamp).numbering
    current = [record for record in seen if record.numbering == numbering]
    if feed.dense:
        return progress_in_numbers(seen, current, feed.name, shard)
    position = max(record.number or 0 for record in current)
    newest = max(record.timestamp for record in seen)
    recent = recent_ids(current, position, feed.overlap, feed.per_second) if feed.per_second else ()
    return FeedState(feed.name, numbering, position, newest, newest, recent, newest)


def last_numbers(records: Iterable[ParsedRecord]) -> tuple[tuple[int, str], ...]:
    """The last number of each key, in the order of the newest posts."""
    ends: dict[str, int] = {}
    for record in sorted(records, key=lambda each: each.timestamp):
        if record.number is not None:
            number = max(record.number, ends.pop(record.numbering, 0))
            ends[record.numbering] = number
    return tuple((number, key) for key, number in ends.items())


def progress_in_numbers(
    seen: list[ParsedRecord], current: list[ParsedRecord], source: str, shard: Shard
) -> FeedState | None:
    """The state of a contiguous feed. current: the records of the newest numbering."""
    heartbeats = [record for record in current if record.shard is not None]
    division = max(heartbeats, key=lambda record: record.timestamp).shard if heartbeats else None
    of = division.of if division is not None else shard.of
    ends = newest_positions(current, of)
    if of == shard.of:
        if shard.number not in ends:
            return None
        position = ends[shard.number]
        recent: tuple[tuple[int, str], ...] = ()
        own = [record for record in seen if belongs(record, shard)]
    else:
        position = min(ends.values())
        recent = tuple((end, f"{number}/{of}") for number, end in sorted(ends.items()) if end > position)
        own = seen
    newest = max(record.timestamp for record in own)
    return FeedState(source, current[0].numbering, position, newest, newest, recent)


def newest_positions(records: Iterable[ParsedRecord], of: int) -> dict[int, int]:
    """The newest position of each of `of` shards, as far as the records hold one."""
    ends: dict[int, int] = {}
    for record in records:
        if record.shard is None or record.shard.of == of:
            at = record.number or 0
            number = at % of if record.shard is None else record.shard.number
            ends[number] = max(ends.get(number, 0), at)
    return ends


def belongs(record: ParsedRecord, shard: Shard) -> bool:
    return (record.number or 0) % shard.of == shard.number if record.shard is None else record.shard == shard


def recent_ids(
    records: Iterable[ParsedRecord], newest: int, overlap: int, per_second: int
) -> tuple[tuple[int, str], ...]:
    """(position, id) of the posts within twice the overlap.

    The position of a post may be newer than that of its record: a stamp that was ahead of the clock, and a stored post
    that came while the feed's position stood still.
    """
    posts = {
        (max(each.number or 0, max(each.stamp, each.timestamp) * per_second // 1_000), each.id)
        for each in records
        if each.shard is None
    }
    return tuple(sorted(post for post in posts if post[0] >= newest - 2 * overlap))


def parse_record(value: bytes | str, source: str) -> ParsedRecord | None:
    """The record; None unless it is a valid record of that source."""
    try:
        record = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("source") != source:
        return None
    identity, timestamp, stamp = record.get("id"), time_in(record, "timestamp"), time_in(record, "stamp")
    position = position_of(record["position"]) if "position" in record else NO_POSITION
    if not isinstance(identity, str) or timestamp is None or position is None:
        return None
    shard = None
    if record.get("text") is None:
        shard = shard_of(record.get("shard"))
        if shard is None or not identity.startswith(HEARTBEAT_PREFIX):
            return None
    number = None if position is NO_POSITION else position.number
    return ParsedRecord(identity, timestamp, position.numbering, number, shard, stamp or 0)


def time_in(record: dict[str, object], name: str) -> int | None:
    value = record.get(name)
    return value if type(value) is int and 0 <= value <= MAX_TIMESTAMP else None


def position_of(token: object) -> Position | None:
    """Parses the text that `records.token` writes."""
    if not isinstance(token, str):
        return None
    numbering, slash, number = token.rpartition("/")
    if not NUMBER.fullmatch(number) or (slash and not NUMBERING.fullmatch(numbering)):
        return None
    return Position(int(number), numbering)


def shard_of(text: object) -> Shard | None:
    match = SHARD.fullmatch(text) if isinstance(text, str) else None
    shard = None if match is None else Shard(int(match[1]), int(match[2]))
    return shard if shard is not None and shard.number < shard.of else None
