"""Compiles a feed's definition into functions that read the fields of a post from a decoded frame. No I/O."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.feeds.conditions import Test, test_of
from jobs.feeds.definition import Definition
from jobs.feeds.json_values import render
from jobs.feeds.markup import text_of_html
from jobs.feeds.model import MAX_NUMBER, MAX_TIMESTAMP, NUMBERING, SAFE_ID
from jobs.feeds.paths import ROOT, getter
from jobs.feeds.templates import is_template, parts_of

# Units of a time in a millisecond.
PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
MAX_EXTRA_CHARACTERS = 4_096  # of one field
MAX_ID_CHARACTERS = 2_048  # the id is in the record and is its key, and Kafka limits the size of both together

# Reads a value of an element. Without `frames.each` the element is the frame.
Field = Callable[[Any], Any]


class Malformed(Exception):  # noqa: N818 - becomes a Rejection
    """A frame or an element does not have what the definition needs. code, reason: as in Rejection."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameCell:
    """Holds the frame whose elements are parsed now, for paths that begin with `$.`."""

    def __init__(self) -> None:
        self.frame: Any = None

    def field(self, path: str) -> Field:
        """Reads the value at a path of an element, or with `$.` of its frame."""
        if path.startswith(ROOT):
            get = getter(path.removeprefix(ROOT))
            return lambda _: get(self.frame)
        return getter(path)


def kept_by(rules: Sequence[dict[str, Any]]) -> Test | None:
    """A function that tells whether all keep rules hold, and raises Malformed where a required path is missing."""
    tests = [(test_of(rule), getter(rule["path"]) if rule.get("required") else None, rule) for rule in rules]
    if not tests:
        return None

    def keep(value: Any) -> bool:
        for test, required, rule in tests:
            if not test(value):
                if required is not None and required(value) is None:
                    raise Malformed("bad_structure", f"{rule['path']} is missing")
                return False
        return True

    return keep


def position_field(feed: Definition, cell: FrameCell) -> Field | None:
    if not feed.position:
        return None
    path = feed.position["path"]
    unit = feed.position.get("unit")
    limit = MAX_NUMBER if unit is None else times_limit(unit)
    get, shown = cell.field(path), path.removeprefix(ROOT)
    what = f"a whole number from 0 to {limit}"

    in_string = feed.position.get("string", False)

    def position(value: Any) -> int:
        found = get(value)
        if in_string and isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
            found = int(found)
        if type(found) is int and 0 <= found <= limit:
            return found
        raise Malformed("bad_position", f"{shown} is not {what}")

    return position


def numbering_field(feed: Definition, cell: FrameCell) -> Field | None:
    path = feed.position.get("per") or feed.position.get("numbering")
    if path is None:
        return None
    get, shown = cell.field(path), path.removeprefix(ROOT)
    optional = "numbering" in feed.position
    known: object = object()

    def numbering(value: Any) -> str:
        nonlocal known
        found = get(value)
        if found == known:  # nearly always
            return str(found)
        if found is None and optional:
            return ""
        if isinstance(found, str) and NUMBERING.fullmatch(found):
            known = found
            return found
        raise Malformed("bad_position", f"{shown} is not a name of 1 to 64 printable ASCII characters without space")

    return numbering


def id_field(feed: Definition, cell: FrameCell, new_id: Callable[[], str]) -> Callable[[Any, int | None, str], str]:
    prefix = f"{feed.name}-"
    if "id" in feed.post:
        fill = template(cell, feed.post["id"], "bad_id", SAFE_ID.fullmatch, "printable ASCII without space")

        def filled(value: Any, _position: int | None, _numbering: str) -> str:
            identity = str(fill(value))
            if len(identity) > MAX_ID_CHARACTERS:
                raise Malformed("bad_id", f"the id has more than {MAX_ID_CHARACTERS} characters")
            return identity

        return filled
    if feed.position:

        def numbered(_value: Any, position: int | None, numbering: str) -> str:
            return f"{prefix}{numbering}-{position}" if numbering else f"{prefix}{position}"

        return numbered

    def random(_value: Any, _position: int | None, _numbering: str) -> str:
        return prefix + new_id()

    return random


def text_field(feed: Definition, cell: FrameCell) -> Field:
    text = plain_text_field(feed, cell)
    return (lambda value: text_of_html(text(value))) if feed.post.get("html") else text


def plain_text_field(feed: Definition, cell: FrameCell) -> Field:
    source = feed.post["text"]
    if is_template(source):
        return template(cell, source, "bad_text", bool, "a text")
    get, shown = cell.field(source), source.removeprefix(ROOT)

    def text(value: Any) -> str:
        found = get(value)
        if type(found) is not str:
            raise Malformed("bad_text", f"{shown} is not a string")
        return found

    return text


def template(cell: FrameCell, source: str, code: str, allowed: Callable[[str], object], what: str) -> Field:
    """A function that fills the template. Raises Malformed if a part is neither a number nor an allowed string."""
    parts = [(path, cell.field(path)) for _, path in parts_of(source) if path is not None]
    getters = [get for _, get in parts]
    pattern = "%s".join(text.replace("%", "%%") for text, _ in parts_of(source))

    def fill(value: Any) -> str:
        found = [get(value) for get in getters]
        for each in found:
            if type(each) is not str or not each:
                return fill_slowly(value)
        result = pattern % tuple(found)
        return result if allowed(result) else fill_slowly(value)

    def fill_slowly(value: Any) -> str:
        texts = []
        for path, get in parts:
            found = get(value)
            text = str(found) if type(found) in (int, float, str) else ""
            if (not text and (found != "" or code == "bad_id")) or not allowed(text or "-"):
                raise Malformed(code, f"{path.removeprefix(ROOT)} is not {what}")
            texts.append(text)
        return pattern % tuple(texts)

    return fill


def times_limit(unit: str) -> int:
    return MAX_TIMESTAMP // 1_000 if unit == "s" else MAX_TIMESTAMP * PER_MS[unit]


def time_field(feed: Definition, cell: FrameCell) -> Field | None:
    if "time" not in feed.post:
        return None
    path, unit = feed.post["time"]["path"], feed.post["time"]["unit"]
    get, shown = cell.field(path), path.removeprefix(ROOT)
    if unit == "rfc3339":
        return rfc3339_field(get, shown)
    if unit == "s":
        return seconds_field(get, shown)
    divisor, limit = PER_MS[unit], times_limit(unit)

    def time(value: Any) -> int:
        found = get(value)
        if type(found) is not int or not 0 <= found <= limit:
            raise Malformed("bad_time", f"{shown} is not a whole number from 0 to {limit}")
        return found // divisor

    return time


def seconds_field(get: Field, shown: str) -> Field:
    """Seconds may have a fraction."""

    def time(value: Any) -> int:
        found = get(value)
        if type(found) not in (int, float) or not 0 <= found <= MAX_TIMESTAMP / 1_000:
            raise Malformed("bad_time", f"{shown} is not a number of seconds from 0 to {MAX_TIMESTAMP // 1_000}")
        return int(found * 1_000)

    return time


def rfc3339_field(get: Field, shown: str) -> Field:
    def time(value: Any) -> int:
        found = get(value)
        try:
            moment = datetime.fromisoformat(found)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            milliseconds = int(moment.timestamp() * 1_000)
        except (TypeError, ValueError, OverflowError):
            milliseconds = -1
        if not 0 <= milliseconds <= MAX_TIMESTAMP:
            raise Malformed("bad_time", f"{shown} is not a time as in RFC 3339")
        return milliseconds

    return time


def extra_field(feed: Definition, cell: FrameCell) -> Callable[[Any], str] | None:
    """A function that renders the extra fields that an element has as a JSON object; "" without one."""
    fields = [(name, cell.field(path)) for name, path in feed.post.get("extra", {}).items()]
    if not fields:
        return None

    def extra(value: Any) -> str:
        texts = [(name, render(get(value))) for name, get in fields]
        found = [f'"{name}":{text}' for name, text in texts if text != "null" and len(text) <= MAX_EXTRA_CHARACTERS]
        return f"{{{','.join(found)}}}" if found else ""

    return extra
