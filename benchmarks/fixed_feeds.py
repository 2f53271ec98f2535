"""The feed types: how each frame is parsed, and the URL with which a feed resumes from a position. No I/O."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

decode = json.JSONDecoder().raw_decode
# The end of the year 9999: an ISO 8601 year has four digits.
MAX_TIMESTAMP = 253_402_300_799_999
NUMBERING = re.compile("[A-Za-z0-9]{1,32}")
# Printable ASCII without space. A tab would end the key when records are passed to Flink.
SAFE_ID = re.compile("[!-~]+")
ABSENT = object()


class Position(NamedTuple):
    """The position of a feed after a frame. A number is valid only in its numbering, "" if the feed has only one."""

    number: int
    numbering: str = ""


class Post(NamedTuple):
    """One post.

    timestamp: the feed's own stamp, ms since 1970 UTC.
    position: the position of the feed after this post; None if the feed has no positions.
    numbering: the numbering of the position.
    """

    id: str
    text: str
    timestamp: int
    position: int | None
    numbering: str = ""


class Ignored(NamedTuple):
    """A valid frame that is not a new post (a like, a deletion, a change of identity). Only its position is used."""

    position: int


class Rejection(NamedTuple):
    """A frame that is malformed for this feed type. reason: one line for people."""

    reason: str


class Shard(NamedTuple):
    """The part of a feed that one connection reads: the posts whose number modulo `of` is `number`."""

    number: int = 0
    of: int = 1


class Feed(Protocol):
    """A feed type.

    name: the `source` of its posts.
    resumable: whether its posts have positions, so that it can resume from one.
    contiguous: whether the positions are numbers without gaps, so that a missing number means a lost post.
    replay_overlap: how far before the last position the feed resumes, in units of the position.
    """

    name: str
    resumable: bool
    contiguous: bool
    replay_overlap: int

    def url(self, base: str, position: Position | None, shard: Shard) -> str:
        """The URL with which the feed resumes from `position`; None: live from now on."""

    def parse(self, text: str, received: int) -> Post | Ignored | Rejection:
        """Parse one text frame. received: the time of arrival, ms since 1970 UTC. Never raises."""


class SimulatorFeed:
    """The simulator's JSON frames, numbered without gaps.

    `{"seq": 1, "timestamp": 1767225600000, "text": "...", "feed": "1a2b3c4d"}`
    seq: the position.
    timestamp: ms since 1970 UTC.
    feed: name of the numbering; may be absent.
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
        """Keep the numbering and the prefix of the ids: nearly all frames have the same. False: `name` is invalid."""
        if name is not ABSENT and not (isinstance(name, str) and NUMBERING.fullmatch(name)):
            return False
        self._feed = name
        self._numbering = name if isinstance(name, str) else ""
        self._prefix = f"simulator-{name}-" if self._numbering else "simulator-"
        return True


class TextFeed:
    """Plain text frames, one post each, without positions: posts sent while the collector is disconnected are lost."""

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
    """Bluesky's Jetstream: one event per frame. Only events that create a post become posts.

    The position is `time_us`: microseconds since 1970 UTC at which the server saw the event. Each server has its own
    clock. So the feed resumes five seconds before the position (`cursor`), and duplicates are dropped by id.
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
        # The AT protocol allows fewer characters: https://atproto.com/specs/did and /record-key.
        if not (isinstance(did, str) and SAFE_ID.fullmatch(did) and isinstance(rkey, str) and SAFE_ID.fullmatch(rkey)):
            return Rejection("did or rkey is not a string of printable ASCII without space")
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            return Rejection("record.text is not a string")
        return Post(f"at://{did}/{self.collection}/{rkey}", record["text"], time_us // 1000, time_us)


FEEDS = ("simulator", "text", "jetstream")


def make_feed(kind: str, new_id: Callable[[], str]) -> Feed:
    """A new feed. kind: one of FEEDS. new_id: returns a new ASCII string at each call, for posts without an id."""
    feeds: dict[str, Feed] = {
        "simulator": SimulatorFeed(),
        "text": TextFeed(new_id),
        "jetstream": JetstreamFeed(),
    }
    return feeds[kind]


def read_object(text: str) -> dict[str, object] | Rejection:
    """The JSON object in `text`."""
    try:
        # Takes two thirds of the time of `json.loads`, which handles all other texts, such as surrounding white space.
        value, end = decode(text) if text.startswith("{") else (None, -1)
        if end != len(text):
            value = json.loads(text)
    except RecursionError:
        return Rejection("JSON is nested too deeply")
    except ValueError as error:
        return Rejection(f"not JSON: {error}")
    return value if isinstance(value, dict) else Rejection(f"a JSON object is expected, not {type(value).__name__}")


def with_query(url: str, query: dict[str, str]) -> str:
    """`url` with these query parameters; they replace parameters of the same name."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in query]
    # The slash of a shard is not escaped: it is allowed in a query, and people read these URLs in logs.
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode([*kept, *query.items()], safe="/")))
