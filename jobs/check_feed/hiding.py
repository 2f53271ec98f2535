"""Hides the secrets of a feed in what is shown. No I/O."""

import json
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from jobs.feeds.definition import Definition
from jobs.feeds.model import Position, Shard
from jobs.feeds.request import Asked, build_request, position_values, unused, with_query
from jobs.feeds.templates import fill, placeholders
from jobs.redaction import HIDDEN, LOGGABLE_PATH_PARTS, LOGGABLE_QUERY_PARAMS, SHORTEST_SECRET, redact_url

MAX_SHOWN = 400  # characters of a frame or a text


class Hider:
    """Shows texts on one line, without the given secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        long = {each for each in secrets if len(each) >= SHORTEST_SECRET}
        self._secrets = sorted(long | {json.dumps(each)[1:-1] for each in long}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        line = "".join(each if each.isprintable() else " " for each in text)
        return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}... ({len(text):,} characters)"


def secrets_in(feed: Definition, files: Iterable[str], urls: Iterable[str], read: Callable[[str], str]) -> set[str]:
    """The texts that are secrets: the contents of these files, and parts of headers and of URLs.

    urls: URLs that are a secret. read: returns a file's content.
    """
    found = {read(path) for path in files}
    for url in urls:
        found |= secrets_of(fill(url, {}, read))
    for text in feed.connect.get("headers", {}).values():
        value = fill(text, {}, read)
        found |= {value, value.rpartition(" ")[2]}  # without the scheme of an Authorization header
    return found


def secrets_of(url: str) -> set[str]:
    """User, password, and what `redact_url` leaves out of path and query."""
    parts = urlsplit(url)
    found = {part for part in parts.path.split("/") if part not in LOGGABLE_PATH_PARTS}
    found |= {value for name, value in parse_qsl(parts.query) if name not in LOGGABLE_QUERY_PARAMS}
    return found | {unquote(each) for each in (parts.username, parts.password) if each}


def resume_request(feed: Definition, base: str, position: Position) -> list[str]:
    """What the client sends to `base` to resume: its URL, and its messages if they hold the position.

    Only what holds the position is shown of query parameters and messages.
    """
    values = position_values(feed, position)
    query = {name: fill(text, values, unused) for name, text in feed.resume.get("query", {}).items()}
    shown = {
        name: query[name] if placeholders(text) else HIDDEN
        for name, text in feed.resume.get("query", {}).items()
        if query[name]
    }
    hidden = {name: HIDDEN for name in feed.connect.get("query", {}) if name not in LOGGABLE_QUERY_PARAMS}
    own = {name: text for name, text in feed.connect.get("query", {}).items() if name in LOGGABLE_QUERY_PARAMS}
    lines = [readable(with_query(redact_url(base), {**own, **hidden, **shown}))]
    request = build_request(feed, base, Asked(position, Shard()), unused)
    if "send" in feed.resume:
        lines += [without_texts(message, [each for each in values.values() if each]) for message in request.messages]
    return lines


def readable(url: str) -> str:
    """The URL without escapes in its query."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    return urlunsplit(parts._replace(query="&".join(f"{name}={value}" for name, value in pairs)))


def without_texts(message: str, shown: list[str]) -> str:
    """A message without its texts, which may be secrets: only those that hold one of `shown` and short ones stay."""
    try:
        return json.dumps(hidden_in(json.loads(message), shown))
    except (ValueError, RecursionError):
        kept = next((each for each in shown if each in message), "")
        return f"{HIDDEN}{kept}{HIDDEN}" if kept else HIDDEN


def hidden_in(value: object, shown: list[str]) -> object:
    if isinstance(value, str):
        return value if len(value) < SHORTEST_SECRET or any(each in value for each in shown) else HIDDEN
    if isinstance(value, dict):
        return {name: hidden_in(each, shown) for name, each in value.items()}
    if isinstance(value, list):
        return [hidden_in(each, shown) for each in value]
    return value
