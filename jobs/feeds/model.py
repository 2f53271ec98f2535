"""The results of parsing a frame, and positions. No I/O."""

import re
from typing import NamedTuple

# The end of the year 9999: an ISO 8601 year has four digits.
MAX_TIMESTAMP = 253_402_300_799_999
MAX_NUMBER = (1 << 63) - 1
# Printable ASCII without space, quote and backslash: it is written into JSON as it is.
NUMBERING = re.compile(r"[!#-\[\]-~]{1,64}")
# Printable ASCII without space.
SAFE_ID = re.compile("[!-~]+")


class Position(NamedTuple):
    """The position of a feed after a frame. A number is valid only in its numbering, "" if the feed has only one."""

    number: int
    numbering: str = ""


class Post(NamedTuple):
    """One post.

    timestamp: the feed's own stamp, ms since 1970 UTC.
    position: the position of the feed after this post; None if the feed has no positions.
    numbering: the numbering of the position.
    extra: a JSON object with more fields for the record; "" for none.
    before: the other posts of the same frame with the same position. They come before this one and have no position.
    item: the index of the post in the frame's array; None if the frame is the post.
    """

    id: str
    text: str
    timestamp: int
    position: int | None
    numbering: str = ""
    extra: str = ""
    before: tuple["Post", ...] = ()
    item: int | None = None


class Ignored(NamedTuple):
    """A valid frame that is not a new post (a like, a deletion, a change of identity). Only its position is used.

    position: None if it has none.
    """

    position: int | None
    numbering: str = ""


class Control(NamedTuple):
    """A frame of the protocol, such as the answer to a subscription. replayed: it ends the replay of stored posts."""

    replayed: bool = False


class Failure(NamedTuple):
    """A frame with which the server reports an error.

    means: `fatal`, `too_old` or `reconnect`, as in schema.json.
    reason: the frame, for people; it may quote the request.
    """

    means: str
    reason: str


class Rejection(NamedTuple):
    """A frame, or a part of a frame, that is malformed for this feed.

    code: the kind of fault, one of CODES.
    reason: one line for people.
    item: the index of the part in the frame's array; None for a complete frame.
    """

    code: str
    reason: str
    item: int | None = None


# The codes of rejections, for programs.
CODES = {
    "binary": "a binary frame",
    "not_utf8": "the frame is not UTF-8",
    "not_json": "the frame is not JSON, or not an object or an array",
    "bad_position": "the position is missing or not a whole number",
    "bad_time": "the time is missing or outside the years 1970 to 9999",
    "bad_id": "a part of the id is missing or not printable ASCII",
    "bad_text": "the text is missing or not a string",
    "bad_structure": "a field that the feed's rules need is missing",
    "wrong_number": "the number does not fit what the feed sends next",
    "too_large": "the frame is larger than MAX_FRAME_BYTES, or its cleaned post larger than a record may be",
    "empty": "nothing is left after cleaning",
    "lost": "a gap: posts that the feed did not deliver",
    "rejected_range": "a range of numbers whose frames were all rejected",
}

Event = Post | Ignored | Rejection
Outcome = Event | Control | Failure


class Shard(NamedTuple):
    """The part of a feed that one connection reads: the posts whose number modulo `of` is `number`."""

    number: int = 0
    of: int = 1
