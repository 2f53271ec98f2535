"""The reference side of the parsers' benchmark: three feeds with a class each, as they were before feeds were YAML.

Nothing else uses them. What a compiled parser makes of a valid frame is the same: tests/unit/test_parser_benchmark.py.
"""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

decode = json.JSONDecoder().raw_decode
# The end of the year 9999: an ISO 8601 year has four digits.
MAX_TIMESTAMP = 253_402_300_799_999
NUMBERING = re.compile("[A-Za-z0-9]{1,32}")
# Printable ASCII without space. A tab would end the key when records are passed to Flink.
SAFE_ID = re.compile("[!-~]+")
ABSENT = object()


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


class SimulatorFeed:
    """The simulator's JSON frames, numbered without gaps.

    `{"seq": 1, "timestamp": 1767225600000, "text": "...", "feed": "1a2b3c4d"}`
    seq: the position.
    timestamp: ms since 1970 UTC.
    feed: name of the numbering; may be absent.
    """

    def __init__(self) -> None:
        self._feed: object = ABSENT
        self._numbering = ""
        self._prefix = "simulator-"

    def parse(self, text: str, _received: int) -> Post | Ignored | Rejection:
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

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def parse(self, text: str, received: int) -> Post | Ignored | Rejection:
        return Post(f"text-{self._new_id()}", text, received, None)


class JetstreamFeed:
    """Bluesky's Jetstream: one event per frame. Only events that create a post become posts.

    The position is `time_us`: microseconds since 1970 UTC at which the server saw the event.
    Source: https://github.com/bluesky-social/jetstream
    """

    collection = "app.bsky.feed.post"

    def parse(self, text: str, _received: int) -> Post | Ignored | Rejection:  # noqa: PLR0911 - as it was
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
