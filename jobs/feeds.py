"""What a frame of each kind of feed means, and how a feed is asked to go on after a position. No I/O."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

decode = json.JSONDecoder().raw_decode
# A stamp beyond the year 9999 cannot be told as an ISO 8601 date of four digits.
MAX_TIMESTAMP = 253_402_300_799_999
NUMBERING = re.compile("[A-Za-z0-9]{1,32}")
# Printable ASCII without space. A tab would end the key on its way to Kafka.
SAFE_ID = re.compile("[!-~]+")
ABSENT = object()


class Position(NamedTuple):
    """Where a feed stands after a frame. It is valid only inside its numbering, "" where the feed has only one."""

    number: int
    numbering: str = ""


class Post(NamedTuple):
    """One post.

    timestamp: the feed's own stamp in ms since 1970 UTC; position: where the feed stands after it, or None;
    numbering: the one to which the position belongs.
    """

    id: str
    text: str
    timestamp: int
    position: int | None
    numbering: str = ""


class Ignored(NamedTuple):
    """A sound frame that is no new post (a like, a deletion, a change of identity); only the position matters."""

    position: int


class Rejection(NamedTuple):
    """A frame that this kind of feed cannot have sent; reason: one line for people."""

    reason: str


class Shard(NamedTuple):
    """The part of a feed that one connection reads: the posts whose number modulo `of` is `number`."""

    number: int = 0
    of: int = 1


class Feed(Protocol):
    """A kind of feed.

    name: the `source` of its posts.
    resumable: whether its posts have positions, so that it can be asked to go on after one.
    contiguous: whether the positions are numbers without gaps, so that a gap means loss.
    replay_overlap: how far before the last position it is asked to go on, in units of the position.
    """

    name: str
    resumable: bool
    contiguous: bool
    replay_overlap: int

    def url(self, base: str, position: Position | None, shard: Shard) -> str:
        """The address that goes on after `position` (None: live from now on)."""

    def parse(self, text: str, received: int) -> Post | Ignored | Rejection:
        """Read one text frame that arrived at `received` (ms since 1970 UTC). Never raises."""


class SimulatorFeed:
    """The simulator's JSON frames, numbered without gaps.

    `{"seq": 1, "timestamp": 1767225600000, "text": "...", "feed": "1a2b3c4d"}`; `feed` names the numbering and may be
    absent.
    """

    name = "simulator"
    resumable = True
    contiguous = True
    replay_overlap = 0

    def __init__(self) -> None:
        self._feed: object = ABSENT
        self._numbering = ""
        self._prefix = "simulator-"

    def url(self, base: str, position: Position | None, shard: Shard) -> str:
        query = {"format": "json"}
        if shard.of > 1:
            query["shard"] = f"{shard.number}/{shard.of}"
        if position is not None:
            query["since"] = str(position.number)
            if position.numbering:
                query["feed"] = position.numbering
        return with_query(base, query)

    def parse(self, text: str, received: int) -> Post | Ignored | Rejection:
        frame = read_object(text)
        if isinstance(frame, Rejection):
            return frame
        seq, timestamp, body = frame.get("seq"), frame.get("timestamp"), frame.get("text")
        if type(seq) is not int or seq < 0 or seq >= 1 << 63:
            return Rejection("seq is not a whole number of 0 or more")
        if type(timestamp) is not int or not 0 <= timestamp <= MAX_TIMESTAMP:
            return Rejection(f"timestamp is not a whole number of milliseconds from 0 to {MAX_TIMESTAMP}")
        if not isinstance(body, str):
            return Rejection("text is not a string")
        name = frame.get("feed", ABSENT)
        if name != self._feed and not self._change_numbering(name):
            return Rejection("feed is not a name of 1 to 32 ASCII letters and digits")
        return Post(f"{self._prefix}{seq}", body, timestamp, seq, self._numbering)

    def _change_numbering(self, name: object) -> bool:
        """Remember what the next frames' ids begin with: nearly all of them have the same numbering."""
        if name is not ABSENT and not (isinstance(name, str) and NUMBERING.fullmatch(name)):
            return False
        self._feed = name
        self._numbering = name if isinstance(name, str) else ""
        self._prefix = f"simulator-{name}-" if self._numbering else "simulator-"
        return True


class TextFeed:
    """Plain frames, one post each. They have no position: what is sent while nobody listens is lost."""

    name = "text"
    resumable = False
    contiguous = False
    replay_overlap = 0

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def url(self, base: str, position: Position | None, shard: Shard) -> str:
        return base

    def parse(self, text: str, received: int) -> Post | Ignored | Rejection:
        return Post(f"text-{self._new_id()}", text, received, None)


class JetstreamFeed:
    """Bluesky's Jetstream: one event a frame, of which only created posts count.

    The position is `time_us`, the moment in microseconds at which that server saw the event. Each server has its own
    clock, so the feed is asked again from five seconds back (`cursor`), and what comes twice is dropped by id.
    Source: https://github.com/bluesky-social/jetstream
    """

    name = "jetstream"
    resumable = True
    contiguous = False
    replay_overlap = 5_000_000
    collection = "app.bsky.feed.post"

    def url(self, base: str, position: Position | None, shard: Shard) -> str:
        return (
            base
            if position is None
            else with_query(base, {"cursor": str(max(0, position.number - self.replay_overlap))})
        )

    def parse(self, text: str, received: int) -> Post | Ignored | Rejection:
        event = read_object(text)
        if isinstance(event, Rejection):
            return event
        time_us, did, commit = event.get("time_us"), event.get("did"), event.get("commit")
        if type(time_us) is not int or not 0 <= time_us <= MAX_TIMESTAMP * 1000:
            return Rejection("time_us is not a whole number of microseconds")
        if event.get("kind") != "commit":
            return Ignored(time_us)
        if not isinstance(commit, dict):
            return Rejection("commit is not an object")
        if commit.get("operation") != "create" or commit.get("collection") != self.collection:
            return Ignored(time_us)
        record, rkey = commit.get("record"), commit.get("rkey")
        # The AT protocol allows even fewer characters, https://atproto.com/specs/did and /record-key.
        if not (isinstance(did, str) and SAFE_ID.fullmatch(did) and isinstance(rkey, str) and SAFE_ID.fullmatch(rkey)):
            return Rejection("did or rkey is not a string of printable ASCII without space")
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            return Rejection("record.text is not a string")
        return Post(f"at://{did}/{self.collection}/{rkey}", record["text"], time_us // 1000, time_us)


FEEDS = ("simulator", "text", "jetstream")


def make_feed(kind: str, new_id: Callable[[], str]) -> Feed:
    """The feed of that kind. new_id: gives a different ASCII string at each call, for feeds whose posts have no id."""
    feeds: dict[str, Feed] = {
        "simulator": SimulatorFeed(),
        "text": TextFeed(new_id),
        "jetstream": JetstreamFeed(),
    }
    return feeds[kind]


def read_object(text: str) -> dict[str, object] | Rejection:
    """The JSON object in `text`."""
    try:
        # What `json.loads` does at heart, in two thirds of its time; it has the last word where white space is around.
        value, end = decode(text) if text.startswith("{") else (None, -1)
        if end != len(text):
            value = json.loads(text)
    except RecursionError:
        return Rejection("JSON is nested too deeply")
    except ValueError as error:
        return Rejection(f"not JSON: {error}")
    return value if isinstance(value, dict) else Rejection(f"a JSON object is expected, not {type(value).__name__}")


def with_query(url: str, query: dict[str, str]) -> str:
    """`url` with these query parameters in place of its own of the same name."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in query]
    # A shard's slash is left as it is: it is allowed in a query, and people read these addresses in logs.
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode([*kept, *query.items()], safe="/")))
