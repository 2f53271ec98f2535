"""Compiles a feed's definition into a function that parses frames. No I/O."""

from collections.abc import Callable
from typing import Any

from jobs.feeds.conditions import Test, raw_test_of, test_of
from jobs.feeds.definition import Definition
from jobs.feeds.fields import (
    FrameCell,
    Malformed,
    extra_field,
    id_field,
    kept_by,
    numbering_field,
    position_field,
    text_field,
    time_field,
)
from jobs.feeds.json_values import decode, render
from jobs.feeds.model import Control, Event, Failure, Ignored, Outcome, Post, Rejection
from jobs.feeds.paths import Getter, getter

MAX_SHOWN = 300  # characters of a frame in a text for people

Parse = Callable[[bytes, int], Outcome | list[Event]]


def compile_parser(feed: Definition, new_id: Callable[[], str]) -> Parse:
    """A function that parses a text frame: arguments are its bytes and the time of arrival in ms. It never raises.

    It returns a list for a frame with several events. new_id: returns a new ASCII string at each call, for posts
    without an id.
    """
    if feed.frames.get("format") == "text":
        return with_raw_rules(feed, text_parser(feed, new_id))
    cell = FrameCell()
    parse_element = element_parser(feed, cell, new_id)
    classify = classifier(feed)
    unpack = getter(feed.frames["each"]) if "each" in feed.frames else None
    expand = decoder_at(feed.frames["decode"]) if "decode" in feed.frames else None
    ignored_without_position = Ignored(None)
    keep = kept_by(feed.frames.get("keep", ())) if unpack is not None else None

    def parse(data: bytes, received: int) -> Outcome | list[Event]:
        frame = decode(data)
        kind = type(frame)
        if kind is not dict and kind is not list:
            if kind is Rejection:
                return frame
            return Rejection("not_json", f"a JSON object or array is expected, not {kind.__name__}")
        try:
            if expand is not None:
                expand(frame)
            if classify is not None and (found := classify(frame)) is not None:
                return found
            if unpack is None:
                return parse_element(frame, received)
            if keep is not None and not keep(frame):
                return ignored_without_position
            elements = unpack(frame)
            if not isinstance(elements, list):
                raise Malformed("bad_structure", f"{feed.frames['each']} is not an array")
        except Malformed as error:
            return Rejection(error.code, error.reason)
        cell.frame = frame
        return merged(parse_all(elements, received))

    def parse_all(elements: list[Any], received: int) -> list[Event]:
        events: list[Event] = []
        for number, element in enumerate(elements):
            try:
                events.append(parse_element(element, received, number))
            except Malformed as error:
                events.append(Rejection(error.code, error.reason, number))
        return events

    return with_raw_rules(feed, parse)


def merged(events: list[Event]) -> list[Event]:
    """The events of one frame. Posts with the same position become one event: see Post.before."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if (
            isinstance(event, Post)
            and isinstance(last, Post)
            and event.position is not None
            and (event.position, event.numbering) == (last.position, last.numbering)
        ):
            before = (*last.before, last._replace(position=None, numbering="", before=()))
            result[-1] = event._replace(before=before)
        else:
            result.append(event)
    return result


def with_raw_rules(feed: Definition, parse: Parse) -> Parse:
    """`parse`, behind the conditions on complete frames."""
    frames = [condition for condition in feed.frames.get("control", ()) if "frame" in condition]
    if "frame" in (reply := feed.keepalive.get("reply", {})):
        frames.append(reply)
    if not frames:
        return parse
    texts, control = {condition["frame"].encode() for condition in frames}, Control()
    return lambda data, received: control if data in texts else parse(data, received)


def classifier(feed: Definition) -> Callable[[Any], Control | Failure | None] | None:
    """A function that recognizes frames that are no events; None if there are no rules for them."""
    errors: list[tuple[Test, str]] = [
        (test_of(rule), rule.get("means", "reconnect")) for rule in feed.frames.get("error", ()) if "path" in rule
    ]
    controls = [*feed.frames.get("control", ())]
    controls += [each for each in (feed.keepalive.get("reply"), feed.open.get("expect")) if each]
    tests = [test_of(rule) for rule in controls if "path" in rule]
    replayed = test_of(feed.frames["replayed"]) if "path" in feed.frames.get("replayed", {}) else None
    if not (errors or tests or replayed):
        return None

    def classify(frame: Any) -> Control | Failure | None:
        for test, means in errors:
            if test(frame):
                return Failure(means, render(frame)[:MAX_SHOWN])
        if replayed is not None and replayed(frame):
            return Control(replayed=True)
        for test in tests:
            if test(frame):
                return Control()
        return None

    return classify


def element_parser(feed: Definition, cell: FrameCell, new_id: Callable[[], str]) -> Callable[..., Post | Ignored]:
    """A function that makes the event of an element of a frame, or raises Malformed.

    Its arguments are the element, the time of arrival in ms, and the element's index if the frame is an array of them.
    """
    rules = feed.post.get("keep", ()) if "each" in feed.frames else feed.frames.get("keep", ())
    keep, dense, unnumbered = kept_by(rules), feed.dense, Ignored(None)
    position_of, numbering_of = position_field(feed, cell), numbering_field(feed, cell)
    id_of, text_of = id_field(feed, cell, new_id), text_field(feed, cell)
    time_of, extra_of = time_field(feed, cell), extra_field(feed, cell)

    def parse_element(value: Any, received: int, item: int | None = None) -> Post | Ignored:
        # Dense numbers belong to posts only.
        if dense and keep is not None and not keep(value):
            return unnumbered
        position = position_of(value) if position_of is not None else None
        numbering = numbering_of(value) if numbering_of is not None else ""
        if not dense and keep is not None and not keep(value):
            return Ignored(position, numbering)
        timestamp = time_of(value) if time_of is not None else received
        text = text_of(value)
        identity = id_of(value, position, numbering)
        extra = extra_of(value) if extra_of is not None else ""
        return Post(identity, text, timestamp, position, numbering, extra, (), item)

    return parse_element


def text_parser(feed: Definition, new_id: Callable[[], str]) -> Parse:
    prefix = f"{feed.name}-"

    def parse(data: bytes, received: int) -> Post | Rejection:
        try:
            return Post(prefix + new_id(), data.decode(), received, None)
        except UnicodeDecodeError as error:
            return Rejection("not_utf8", f"not UTF-8: {error.reason} at byte {error.start}")

    return parse


def decoder_at(path: str) -> Callable[[Any], None]:
    """A function that replaces the string at `path` of a frame by the JSON value in it, if it is one.

    Anything else stays: a frame of another kind may have a plain string there.
    """
    parent, _, name = path.rpartition(".")
    get: Getter = getter(parent) if parent else lambda frame: frame
    key = name.strip('"')

    def expand(frame: Any) -> None:
        holder = get(frame)
        text = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(text, str):
            value = decode(text)
            if isinstance(value, dict | list):
                holder[key] = value

    return expand


def expectation(feed: Definition) -> Callable[[bytes], bool] | None:
    """A function that recognizes the frame of `open.expect`; None without one."""
    return raw_test_of(feed.open["expect"]) if "expect" in feed.open else None
