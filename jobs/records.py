"""The collector's data types (frames, state, counts, batches) and the JSON of its records. No I/O."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import NamedTuple

from jobs.feeds.model import Rejection

MAX_REJECTED_CHARACTERS = 8_192
# Copies of a frame, one for each of its rejected parts. The parts of a frame with more of them share copies.
MAX_COPIES = 8
# Bytes for the numbers and positions of parts that share a copy. With more, a record could be larger than Kafka takes.
MAX_SHARED_BYTES = 200_000
HEARTBEAT_PREFIX = "heartbeat-"
# The codes of the records of `tweets.rejected` that are no rejections but markers.
REPLAYED, DISCARDED = "replayed", "discarded"


class Record(NamedTuple):
    """One Kafka record. value: JSON in one line, UTF-8."""

    key: str
    value: bytes


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
    heartbeat_time: event time of the newest heartbeat in ms, 0 before the first one. A post more than
        MAX_BEHIND_MS older gets another event time.
    recent: (position, id) of the posts that the feed may send twice, oldest first. In a contiguous feed the id is a
        shard, for example "1/3": the numbers of this shard up to the position are already collected. In a feed with
        numbers for each key it is a key with its last number.
    seen: the time until which the feed was connected, ms since 1970 UTC; 0 before the first connection.
    """

    source: str = ""
    numbering: str = ""
    position: int | None = None
    timestamp: int = 0
    heartbeat_time: int = 0
    recent: tuple[tuple[int, str], ...] = ()
    seen: int = 0


@dataclass
class Counts:
    """Totals since the start of this process. Each field is a Flink metric.

    posts: written to `tweets`.
    emptied: posts without text after cleaning.
    ignored: valid frames that are not new posts.
    control: frames of the feed's protocol, such as answers to a subscription.
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
    control: int = 0
    rejected: int = 0
    overlap: int = 0
    gaps: int = 0
    lost: int = 0
    ahead: int = 0
    behind: int = 0
    gap_seconds: int = 0


@dataclass
class Batch:
    """Records for `tweets`, `tweets.rejected` and `tweets.events`, and error lines for the log.

    failures: (means, reason) of frames with which the server reports an error.
    """

    posts: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: "Batch") -> None:
        self.posts += other.posts
        self.rejected += other.rejected
        self.events += other.events
        self.errors += other.errors
        self.failures += other.failures


def token(number: int | None, numbering: str) -> str | None:
    """The position field of a record: "1a2b3c4d/42", or "42" if the feed has only one numbering."""
    if number is None:
        return None
    return f"{numbering}/{number}" if numbering else str(number)


def heartbeat(key: str, timestamp: int, source: str, position: str | None, shard: str) -> Record:
    """A record of `tweets` that is not a post: it advances event time and holds the position of the shard."""
    place = "" if position is None else f'"position":"{position}",'
    value = f'{{"id":{encode_basestring(key)},"text":null,"timestamp":{timestamp},"source":"{source}",'
    return Record(key, f'{value}{place}"shard":"{shard}"}}'.encode())


class Part(NamedTuple):
    """A rejected part of a frame, or a rejected frame. position: as in `token`."""

    why: Rejection
    position: str | None = None


def rejections(parts: Sequence[Part], source: str, frame: Frame, server: str) -> list[Record]:
    """The records of `tweets.rejected` for what is rejected of one frame.

    Each part has a record of its own with a copy of the frame. If these were more than MAX_COPIES, the parts with the
    same code share a record: copies for each of n parts would need memory and disk in proportion to the square of n.

    server: the server that sent the frame, for people.
    """
    if len(parts) <= MAX_COPIES:
        return [rejection([each], source, frame, server) for each in parts]
    groups: dict[tuple[str, int], list[Part]] = {}
    sizes: Counter[str] = Counter()
    for each in parts:
        code = each.why.code
        sizes[code] += 14 + len(each.position or "")
        groups.setdefault((code, sizes[code] // MAX_SHARED_BYTES), []).append(each)
    return [rejection(group, source, frame, server) for group in groups.values()]


def rejection(parts: Sequence[Part], source: str, frame: Frame, server: str) -> Record:
    """A record of `tweets.rejected` for parts of a frame with the same code. The reason is that of the first one."""
    (code, reason, item), position = parts[0]
    value: dict[str, object] = {
        "code": code,
        "reason": reason,
        "source": source,
        "server": server,
        "time": frame.received,
        "position": position if len(parts) == 1 else None,
        "bytes": len(frame.data),
        "record": frame.data[: 4 * MAX_REJECTED_CHARACTERS].decode(errors="backslashreplace")[:MAX_REJECTED_CHARACTERS],
        "frame": b64encode(frame.data).decode(),
    }
    if not frame.is_text:
        value["binary"] = True
    if len(parts) > 1:
        value["items"] = [part.why.item for part in parts]
        if any(part.position is not None for part in parts):
            value["positions"] = [part.position for part in parts]
    elif item is not None:
        value["item"] = item
    return Record(source, json.dumps(value).encode())


def items_of(value: Mapping[str, object]) -> tuple[int, ...]:
    """The parts of the frame that a rejection with this value stands for; none if it is the complete frame."""
    listed = value.get("items") or [value.get("item")]
    return tuple(each for each in listed if type(each) is int and each >= 0) if isinstance(listed, list) else ()


def gap_rejection(code: str, reason: str, source: str, gap: dict[str, object], server: str, at: int) -> Record:
    """A record of `tweets.rejected` for a gap. gap: its numbering and its positions. at: ms since 1970 UTC."""
    value = {
        "code": code,
        "reason": reason,
        "source": source,
        "server": server,
        "time": at,
        "position": None,
        "bytes": 0,
        "record": json.dumps(gap),
    }
    return Record(source, json.dumps(value).encode())


def marker(code: str, places: Sequence[str], at: int, posts: int = 0) -> Record:
    """A record of `tweets.rejected` that marks rejections as done.

    code: REPLAYED or DISCARDED. places: of the rejections, "<partition>/<offset>" each. at: ms since 1970 UTC.
    posts: how many posts were written in the same transaction.
    """
    return Record(code, json.dumps({"code": code, "of": list(places), "time": at, "posts": posts}).encode())


def is_marker(value: Mapping[str, object]) -> bool:
    """Whether the value of a record of `tweets.rejected` is a marker."""
    return value.get("code") in (REPLAYED, DISCARDED) and isinstance(value.get("of"), list)


def feed_event(what: str, source: str, shard: str, server: str, at: int, **details: object) -> Record:
    """A record of `tweets.events`: what happened to the feed.

    what: started, connected, resumed, disconnected, silent, refused, lost, clamped or stopped.
    at: ms since 1970 UTC. details: more fields of the record; None values are left out.
    """
    value = {"event": what, "source": source, "shard": shard, "server": server, "time": at}
    value |= {name: detail for name, detail in details.items() if detail is not None}
    return Record(source, json.dumps(value).encode())
