"""What goes into the collection and what comes out of it: frames, progress, counts, and the JSON of records. No I/O."""

import json
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import NamedTuple

MAX_REJECTED_CHARACTERS = 8_192
HEARTBEAT_PREFIX = "heartbeat-"


class Record(NamedTuple):
    """One Kafka record: its key and its value, JSON in one line."""

    key: str
    value: str


class Frame(NamedTuple):
    """One WebSocket message as it came, at `received` (ms since 1970 UTC)."""

    data: bytes
    is_text: bool
    received: int


class FeedState(NamedTuple):
    """Where a shard of the feed stands: what Flink keeps in its state, as a plain tuple.

    source: the name of the feed, "" before its first frame; numbering, position: of the last frame, None before the
    first; timestamp: event time of the newest post in ms, 0 before the first; promised: event time of the newest
    heartbeat in ms, 0 before the first; recent: (position, id) of what the feed may send twice, oldest first. In a
    contiguous feed the id is a shard, as "1/3", whose numbers are known up to the position.
    """

    source: str = ""
    numbering: str = ""
    position: int | None = None
    timestamp: int = 0
    promised: int = 0
    recent: tuple[tuple[int, str], ...] = ()


@dataclass
class Counts:
    """Totals since this process started, each of them a Flink metric.

    ahead, behind: posts whose stamp was replaced; gap_seconds: the feed's time within all gaps.
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
    """What came of a drain: records for `tweets` and for `tweets.rejected`, and error lines for the log."""

    posts: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Batch") -> None:
        self.posts += other.posts
        self.rejected += other.rejected
        self.errors += other.errors


def token(number: int | None, numbering: str) -> str | None:
    """A position as records carry it: "1a2b3c4d/42", or "42" where the feed has only one numbering."""
    if number is None:
        return None
    return f"{numbering}/{number}" if numbering else str(number)


def heartbeat(key: str, timestamp: int, source: str, position: str | None, shard: str) -> Record:
    """A record of `tweets` that is no post: it moves event time on and says where the shard stands."""
    place = "" if position is None else f'"position":"{position}",'
    value = f'{{"id":{encode_basestring(key)},"text":null,"timestamp":{timestamp},"source":"{source}",'
    return Record(key, f'{value}{place}"shard":"{shard}"}}')


def rejection(reason: str, source: str, record: str, size: int, position: str | None) -> Record:
    """A record of `tweets.rejected`; size: of what is shown in `record`, in bytes as it came."""
    shown = record[:MAX_REJECTED_CHARACTERS]
    value = {"reason": reason, "source": source, "record": shown, "bytes": size, "position": position}
    return Record(source, json.dumps(value))
