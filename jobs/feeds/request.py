"""Builds the request with which a feed starts live or resumes from a position. The caller reads the files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from jobs.feeds.definition import Definition
from jobs.feeds.model import Position, Shard
from jobs.feeds.templates import fill

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, repr=False)
class Request:
    """One request. Nothing in it may be logged: each text may hold a secret.

    messages: text messages to send after the handshake, in this order.
    ping: the text of the regular message; None for none.
    secrets: the contents of files in these texts.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    ping: str | None = None
    proxy: str | None = None
    secrets: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What a request asks for. position: None: live from now on."""

    position: Position | None = None
    shard: Shard = Shard()


def build_request(feed: Definition, base: str, asked: Asked, read: Callable[[str], str]) -> Request:
    """The request to the server `base`. read: returns the content of the file at a path, without a final line break."""
    values = position_values(feed, asked.position)
    secrets: list[str] = []

    def content(path: str) -> str:
        secrets.append(read(path))
        return secrets[-1]

    def filled(text: str) -> str:
        return fill(text, values, content)

    connect, resume = feed.connect, feed.resume
    query = {name: filled(text) for name, text in connect.get("query", {}).items()}
    if feed.divisible and asked.shard.of > 1:
        query[connect["shards"]] = f"{asked.shard.number}/{asked.shard.of}"
    messages = feed.open.get("send", ())
    if asked.position is not None:
        query |= {name: value for name, text in resume.get("query", {}).items() if (value := filled(text))}
        messages = resume.get("send", messages)
    return Request(
        with_query(fill(base, {}, lambda path: quote(content(path), safe="")), query),
        tuple((name, filled(text)) for name, text in connect.get("headers", {}).items()),
        tuple(map(filled, connect.get("subprotocols", ()))),
        tuple(map(filled, messages)),
        filled(feed.keepalive["send"]) if "send" in feed.keepalive else None,
        filled(connect["proxy"]) if "proxy" in connect else None,
        tuple(secrets),
    )


def overlap_of(feed: Definition) -> int:
    """How far before the last position the feed resumes, in units of the position."""
    return int(feed.resume.get("overlap", 0) * per_second(feed)) if feed.timed else 0


def per_second(feed: Definition) -> int:
    """Units of a position in a second. Raises KeyError for a position that is no time."""
    return PER_SECOND[feed.position["unit"]]


def position_values(feed: Definition, position: Position | None) -> dict[str, str]:
    if position is None:
        return {"position": "", "numbering": ""}
    number = max(0, position.number - overlap_of(feed)) if feed.timed else position.number
    return {"position": str(number), "numbering": position.numbering}


def with_query(url: str, query: dict[str, str]) -> str:
    """`url` with these query parameters; they replace parameters of the same name."""
    if not query:
        return url
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in query]
    # The slash of a shard is not escaped: it is allowed in a query, and people read these URLs in logs.
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode([*kept, *query.items()], safe="/")))


def unused(_: Any) -> str:
    """A reader of files for requests that are only shown."""
    return "***"
