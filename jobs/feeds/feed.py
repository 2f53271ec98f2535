"""A feed as the collector uses it: its compiled parser, its requests and the properties of its positions. No I/O."""

from collections.abc import Callable

from jobs.feeds.definition import Definition, load
from jobs.feeds.model import Position, Shard
from jobs.feeds.parser import compile_parser, expectation
from jobs.feeds.request import Asked, Request, build_request, overlap_of, per_second


class Feed:
    """A feed with its definition compiled. new_id: returns a new ASCII string at each call, for posts without an id.

    name: the `source` of its posts.
    resumable: whether it can resume from a position.
    dense: whether the positions are numbers without gaps, so that a missing number means a lost post.
    per_key: whether each key has numbers of its own.
    per_second: units of the position in a second; 0 if the positions are no times.
    overlap: how far before the last position the feed resumes, in units of the position.
    inclusive: whether the server sends the frame at the position again.
    newest_first: whether it replays stored posts newest first, up to a frame that ends the replay.
    """

    def __init__(self, definition: Definition, new_id: Callable[[], str]) -> None:
        self.definition = definition
        self.name = definition.name
        self.resumable = definition.resumable
        self.dense = definition.dense
        self.per_key = "per" in definition.position
        self.per_second = per_second(definition) if definition.timed else 0
        self.overlap = overlap_of(definition)
        self.inclusive = bool(definition.resume.get("inclusive"))
        self.newest_first = "replayed" in definition.frames
        self.parse = compile_parser(definition, new_id)
        self.expect = expectation(definition)

    def request(self, base: str, position: Position | None, shard: Shard, read: Callable[[str], str]) -> Request:
        """The request to the server `base`. position: None: live from now on. read: returns the content of a file."""
        return build_request(self.definition, base, Asked(position, shard), read)


def make_feed(feed: str, new_id: Callable[[], str]) -> Feed:
    """The feed of a preset or of a file. Raises FeedError."""
    return Feed(load(feed), new_id)
