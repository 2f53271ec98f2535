"""The collector's data types (frames, state, counts, batches) and the JSON of its records. No I/O."""

import json
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import NamedTuple

MAX_REJECTED_CHARACTERS = 8_192
HEARTBEAT_PREFIX = "heartbeat-"


class Record(NamedTuple):
    """One Kafka record. value: JSON in one line."""

    key: str
    value: str


class Frame(NamedTuple):
    """One WebSocket message as it arrived. received: the time of arrival, ms since 1970 UTC."""

    data: bytes
    is_text: bool
    received: int


class FeedState(NamedTuple):
    """The state of one shard of the feed. Flink keeps it in keyed state, as a plain tuple.

    source: name of the feed, "" before the first frame.
    numbering, position: of the last frame. position: None before the first one.
    timestamp: event time of the newest post in ms, 0 before the first one.
    promised: event time of the newest heartbeat in ms, 0 before the first one. No older post follows.
    recent: (position, id) of the posts that the feed may send twice, oldest first. In a contiguous feed the id is a
        shard, for example "1/3": the numbers of this shard up to the position are already collected.
    """

    source: str = ""
    numbering: str = ""
    position: int | None = None
    timestamp: int = 0
    promised: int = 0
    recent: tuple[tuple[int, str], ...] = ()


@dataclass
class Counts:
    """Totals since the start of this process. Each field is a Flink metric.

    posts: written to `tweets`.
    emptied: posts without text after cleaning.
    ignored: valid frames that are not new posts.
    rejected: frames that became rejections, without emptied posts.
    overlap: posts that the feed sent twice.
    gaps: reported gaps with lost posts.
    lost: posts in those gaps in a contiguous feed, microseconds in a feed of timestamps; 0 for an unknown size.
    ahead, behind: posts whose stamp was replaced, because it was ahead of the clock or far behind the last heartbeat.
    gap_seconds: the feed's time within all gaps.
    """

    posts: int = 0
    emptied: int = 0
    ignored: int = 0
    rejected: int = 0
    overlap: int = 0
    gaps: int = 0
    lost: int = 0
    ahead: int = 0
    behind: int = 0
    gap_seconds: int = 0


@dataclass
class Batch:
    """Records for `tweets` and for `tweets.rejected`, and error lines for the log."""

    posts: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Batch") -> None:
        self.posts += other.posts
        self.rejected += other.rejected
        self.errors += other.errors


def token(number: int | None, numbering: str) -> str | None:
    """The position field of a record: "1a2b3c4d/42", or "42" if the feed has only one numbering."""
    if number is None:
        return None
    return f"{numbering}/{number}" if numbering else str(number)


def heartbeat(key: str, timestamp: int, source: str, position: str | None, shard: str) -> Record:
    """A record of `tweets` that is not a post: it advances event time and holds the position of the shard."""
    place = "" if position is None else f'"position":"{position}",'
    value = f'{{"id":{encode_basestring(key)},"text":null,"timestamp":{timestamp},"source":"{source}",'
    return Record(key, f'{value}{place}"shard":"{shard}"}}')


def rejection(reason: str, source: str, record: str, size: int, position: str | None) -> Record:
    """A record of `tweets.rejected`. size: bytes of the original frame, of which `record` holds the first part."""
    shown = record[:MAX_REJECTED_CHARACTERS]
    value = {"reason": reason, "source": source, "record": shown, "bytes": size, "position": position}
    return Record(source, json.dumps(value))
