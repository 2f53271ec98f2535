"""How the presets of earlier releases parse a frame, and the URL with which they resume from a position."""

import copy
import itertools
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.feeds.definition import load
from jobs.feeds.feed import Feed, make_feed
from jobs.feeds.model import CODES, Ignored, Position, Post, Rejection, Shard

RECEIVED = 1_767_225_600_123
LAST_MS = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1000 + 999
LAST_US = LAST_MS * 1000
SENT = 1_767_225_600_000
POSTS = "app.bsky.feed.post"
COMMIT = {"operation": "create", "collection": POSTS, "rkey": "3kabc", "record": {"text": "a post", "langs": ["en"]}}
SOUND: dict[str, dict[str, Any]] = {
    "simulator": {"seq": 7, "timestamp": 1_767_225_600_000, "text": "a post"},
    "jetstream": {"did": "did:plc:someone", "time_us": 1_767_225_600_123_456, "kind": "commit", "commit": COMMIT},
}
JSON_KINDS = list(SOUND)
FEEDS = [*SOUND, "text"]
PRESETS = {"jetstream": "jetstream-v1"}  # its `source` is `jetstream`
ABSENT = object()


def feed(kind: str) -> Feed:
    ids = itertools.count(1)
    return make_feed(PRESETS.get(kind, kind), lambda: f"id{next(ids)}")


def encoded(text: str) -> bytes:
    """The bytes of a frame. A lone surrogate makes them invalid UTF-8."""
    return text.encode(errors="surrogatepass")


def frame(kind: str, path: str = "", value: object = ABSENT) -> str:
    """A valid frame, with the field at the dotted `path` replaced or, by default, removed."""
    event = copy.deepcopy(SOUND[kind])
    if path:
        *parents, name = path.split(".")
        target = event
        for parent in parents:
            target = target[parent]
        target.pop(name, None)
        if value is not ABSENT:
            target[name] = value
    return json.dumps(event)


def parse(kind: str, text: str) -> Post | Ignored | Rejection:
    """The result of parsing `text`. Checks that it is valid for the next steps."""
    outcome = feed(kind).parse(encoded(text), RECEIVED)
    if isinstance(outcome, Rejection):
        assert outcome.code in CODES
        assert outcome.item is None
        assert outcome.reason.strip()
        assert len(outcome.reason.splitlines()) == 1
        assert len(outcome.reason) < 300
    elif isinstance(outcome, Ignored):
        assert outcome.position is None or 0 <= outcome.position <= LAST_US
    else:
        assert isinstance(outcome, Post)
        assert outcome.id.isascii()
        assert outcome.id.isprintable()
        assert " " not in outcome.id
        assert 0 <= outcome.timestamp <= LAST_MS
    return outcome


def test_simulator_post() -> None:
    assert parse("simulator", frame("simulator")) == Post("simulator-7", "a post", 1_767_225_600_000, 7)


def test_simulator_post_of_a_named_numbering() -> None:
    text = frame("simulator", "feed", "1a2b3c4d")
    assert parse("simulator", text) == Post("simulator-1a2b3c4d-7", "a post", 1_767_225_600_000, 7, "1a2b3c4d")


def test_each_frame_is_of_the_numbering_that_it_names() -> None:
    simulator = feed("simulator")
    names = ["a", "a", "b", "no name", "b", ABSENT, "Z" * 64, "a"]
    outcomes = [simulator.parse(encoded(frame("simulator", "feed", name)), RECEIVED) for name in names]
    found = [(post.id, post.numbering) if isinstance(post, Post) else None for post in outcomes]
    a, b, z = ("simulator-a-7", "a"), ("simulator-b-7", "b"), (f"simulator-{'Z' * 64}-7", "Z" * 64)
    assert found == [a, a, b, None, b, ("simulator-7", ""), z, a]


def test_jetstream_post() -> None:
    expected = Post(f"at://did:plc:someone/{POSTS}/3kabc", "a post", 1_767_225_600_123, 1_767_225_600_123_456)
    assert parse("jetstream", frame("jetstream")) == expected


@given(st.text())
@example("")
def test_every_text_is_a_post_of_the_text_feed_with_an_id_of_its_own(text: str) -> None:
    plain = feed("text")
    assert [plain.parse(text.encode(), RECEIVED), plain.parse(text.encode(), RECEIVED + 1)] == [
        Post("text-id1", text, RECEIVED, None),
        Post("text-id2", text, RECEIVED + 1, None),
    ]


@pytest.mark.parametrize("kind", FEEDS)
def test_what_is_not_utf8_is_rejected_with_the_place(kind: str) -> None:
    outcome = feed(kind).parse(b'{"text": "\xff"}', RECEIVED)
    assert outcome == Rejection("not_utf8", "not UTF-8: invalid start byte at byte 10")


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("simulator", "seq", 0),
        ("simulator", "seq", 2**63 - 1),
        ("simulator", "timestamp", 0),
        ("simulator", "timestamp", LAST_MS),
        ("simulator", "text", ""),
        ("simulator", "text", "lone \ud800 surrogate"),
        ("simulator", "more", [{}]),
        ("jetstream", "time_us", 0),
        ("jetstream", "time_us", LAST_MS * 1000),
        ("jetstream", "commit.record.text", "lone \udfff surrogate"),
        ("jetstream", "commit.cid", 1),
    ],
)
def test_extremes_are_posts(kind: str, path: str, value: object) -> None:
    post = parse(kind, frame(kind, path, value))
    assert isinstance(post, Post)
    if path.endswith("text"):
        assert post.text == value
    if path in ("seq", "time_us"):
        assert post.position == value
    if path == "timestamp":
        assert post.timestamp == value


NOT_WHOLE = [ABSENT, None, True, False, 1.0, 1.5, float("nan"), float("inf"), "1", [], {}, -1, -(10**30), 10**4000]
NO_POSITION = [value for value in NOT_WHOLE if value != "1"]  # some feeds write their numbers as strings
NOT_TEXT = [ABSENT, None, True, 1, [], ["a"], {}]
NO_PART_OF_AN_ID = [ABSENT, None, True, [], ["a"], {}]  # a number can be one
NOT_PRINTABLE_ASCII = ["did:plc:ö", "\ud800", "", "a b", "a\tb", "a\n", "\x00", "a\x7f", "a\u00a0"]
CODES_OF = {
    "seq": {"bad_position"},
    "feed": {"bad_position"},
    "timestamp": {"bad_time"},
    "time_us": {"bad_position", "bad_time"},  # it is both
    "text": {"bad_text"},
    "did": {"bad_id"},
    "commit.rkey": {"bad_id"},
    "commit": {"bad_structure"},
    "commit.operation": {"bad_structure"},
    "commit.collection": {"bad_structure"},
    "commit.record": {"bad_text"},
    "commit.record.text": {"bad_text"},
}
NO_NUMBERINGS: list[object] = [True, 1, ["a"], {}, "", "a" * 65, "a b", 'a"b', "a\\b", "a\n", "ö", "\u0661"]
WRONG_FIELDS = [
    *[("simulator", "seq", value) for value in (*NO_POSITION, "-1", "1.0", "\u0661", "", "9" * 19, "9" * 5000, 2**63)],
    *[("simulator", "timestamp", value) for value in (*NOT_WHOLE, LAST_MS + 1)],
    *[("simulator", "text", value) for value in NOT_TEXT],
    *[("simulator", "feed", value) for value in NO_NUMBERINGS],
    *[("jetstream", "time_us", value) for value in (*NOT_WHOLE, LAST_US + 1)],
    *[("jetstream", "commit", value) for value in (ABSENT, None, True, 1, "create", [COMMIT])],
    *[("jetstream", path, value) for path in ("commit.operation", "commit.collection") for value in (ABSENT, None)],
    *[
        ("jetstream", path, value)
        for path in ("did", "commit.rkey")
        for value in (*NO_PART_OF_AN_ID, *NOT_PRINTABLE_ASCII)
    ],
    *[("jetstream", "commit.record", value) for value in (ABSENT, None, True, 1, "a post", [])],
    *[("jetstream", "commit.record.text", value) for value in NOT_TEXT],
]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    WRONG_FIELDS,
    ids=[f"{k} {p}={'absent' if v is ABSENT else ascii(v)[:24]}" for k, p, v in WRONG_FIELDS],
)
def test_wrong_field_is_rejected_by_its_name(kind: str, path: str, value: object) -> None:
    outcome = parse(kind, frame(kind, path, value))
    assert isinstance(outcome, Rejection)
    assert path.removeprefix("commit.") in outcome.reason
    assert outcome.code in CODES_OF[path]


@pytest.mark.parametrize("number", [0, 7, 2**63 - 1])
def test_a_position_may_be_a_string_of_digits_where_the_feed_says_so(number: int) -> None:
    text = frame("simulator", "seq", str(number))
    assert isinstance(parse("simulator", text), Rejection)
    simulator = load("simulator")
    in_strings = Feed(replace(simulator, position={**simulator.position, "string": True}), str)
    assert in_strings.parse(text.encode(), RECEIVED) == Post(f"simulator-{number}", "a post", SENT, number)


DEEP = 100_000
NO_OBJECTS = {
    "empty": ("", "not JSON"),
    "white space": (" \n", "not JSON"),
    "plain text": ("hello", "not JSON"),
    "cut off": ('{"seq": 1, "text": "a', "not JSON"),
    "two objects": ("{}{}", "not JSON"),
    "byte order mark": ("\ufeff{}", "not JSON"),
    "line break in a string": ('{"text": "\n"}', "not JSON"),
    "more digits than int() reads": ('{"seq": ' + "9" * 5000 + "}", "digits"),
    "string": ('"{}"', "str"),
    "number": ("1", "int"),
    "null": ("null", "NoneType"),
    "arrays nested deep": ("[" * DEEP, "nested too deeply"),
    "objects nested deep": ('{"a":' * DEEP, "nested too deeply"),
    "a closed nest": ('{"a":' + "[" * DEEP + "]" * DEEP + "}", "nested too deeply"),
}


@pytest.mark.parametrize("kind", JSON_KINDS)
@pytest.mark.parametrize(("text", "reason"), NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_what_is_no_json_object_is_rejected(kind: str, text: str, reason: str) -> None:
    outcome = parse(kind, text)
    assert isinstance(outcome, Rejection)
    assert reason in outcome.reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "identity"),
        ("kind", "account"),
        ("kind", "something new"),
        ("kind", ABSENT),
        ("commit.operation", "update"),
        ("commit.operation", "delete"),
        ("commit.collection", "app.bsky.feed.like"),
        ("commit.collection", f"{POSTS}gate"),
    ],
)
def test_jetstream_event_that_creates_no_post_only_moves_the_position(path: str, value: object) -> None:
    assert parse("jetstream", frame("jetstream", path, value)) == Ignored(SOUND["jetstream"]["time_us"])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=6,
)
PATHS = {
    "simulator": ["seq", "timestamp", "text", "feed"],
    "jetstream": ["time_us", "did", "kind", "commit", *(f"commit.{name}" for name in COMMIT), "commit.record.text"],
}


@pytest.mark.parametrize("kind", FEEDS)
@given(text=st.text(st.characters()) | JSON_VALUES.map(json.dumps))
def test_no_text_and_no_json_raises(kind: str, text: str) -> None:
    is_post = kind == "text" and text.isascii() | (encoded(text).decode(errors="replace") == text)
    # An object without `kind` is no post of Jetstream.
    allowed = Post if is_post else Rejection | Ignored if kind == "jetstream" else Rejection
    assert isinstance(parse(kind, text), allowed)


@pytest.mark.parametrize("kind", JSON_KINDS)
@given(data=st.data())
def test_no_value_of_a_field_raises(kind: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PATHS[kind]))
    parse(kind, frame(kind, path, data.draw(JSON_VALUES)))


ONE, SECOND_OF_TWO = Shard(), Shard(1, 2)
T, FIVE_SECONDS_BEFORE = 1_767_225_600_123_456, 1_767_225_595_123_456
ADDRESSES = [
    ("simulator", "ws://a:5555", None, ONE, "ws://a:5555/?format=json"),
    ("simulator", "ws://a", Position(0), ONE, "ws://a/?format=json&since=0"),
    ("simulator", "ws://a", Position(41), SECOND_OF_TWO, "ws://a/?format=json&shard=1/2&since=41"),
    ("simulator", "ws://a", Position(41, "1a2b"), ONE, "ws://a/?format=json&since=41&feed=1a2b"),
    ("simulator", "ws://a?feed=x&since=2", Position(41, "1a2b"), ONE, "ws://a/?format=json&since=41&feed=1a2b"),
    ("simulator", "ws://a", None, SECOND_OF_TWO, "ws://a/?format=json&shard=1/2"),
    ("simulator", "wss://u:p@a/b/c?since=2&x=1", Position(3), ONE, "wss://u:p@a/b/c?x=1&format=json&since=3"),
    ("text", "ws://a/b?c=d", None, ONE, "ws://a/b?c=d"),
    ("jetstream", "wss://a/s?w=p&w=q", None, ONE, "wss://a/s?w=p&w=q"),
    ("jetstream", "wss://a/s?w=p&w=q", Position(T), ONE, f"wss://a/s?w=p&w=q&cursor={FIVE_SECONDS_BEFORE}"),
    ("jetstream", "wss://a/s?cursor=1", Position(T), ONE, f"wss://a/s?cursor={FIVE_SECONDS_BEFORE}"),
    ("jetstream", "wss://a/s", Position(4_999_999), ONE, "wss://a/s?cursor=0"),
]


def address(kind: str, base: str, position: Position | None, shard: Shard = ONE) -> str:
    return feed(kind).request(base, position, shard, str).url


def in_parts(address: str) -> tuple[str, list[tuple[str, str]]]:
    """The part before the query, and the query, whose order does not matter."""
    return address.partition("?")[0], sorted(parse_qsl(urlsplit(address).query, strict_parsing=True))


@pytest.mark.parametrize(("kind", "base", "position", "shard", "expected"), ADDRESSES)
def test_address(kind: str, base: str, position: Position | None, shard: Shard, expected: str) -> None:
    assert in_parts(address(kind, base, position, shard)) == in_parts(expected)


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_the_address_keeps_its_own_query_in_order(own: list[tuple[str, str]]) -> None:
    for kind, added in (("simulator", {"format", "since", "feed"}), ("jetstream", {"cursor"})):
        url = address(kind, "ws://a/b?" + urlencode(own), Position(9, "1a2b"))
        kept = [pair for pair in parse_qsl(urlsplit(url).query, keep_blank_values=True) if pair[0] not in added]
        assert kept == [pair for pair in own if pair[0] not in added]


def test_what_the_feeds_promise() -> None:
    promises = {
        kind: (feed(kind).name, feed(kind).resumable, feed(kind).dense, feed(kind).overlap, feed(kind).per_second)
        for kind in FEEDS
    }
    assert promises == {
        "simulator": ("simulator", True, True, 0, 0),
        "text": ("text", False, False, 0, 0),
        "jetstream": ("jetstream", True, False, 5_000_000, 1_000_000),
    }


def test_real_jetstream_events() -> None:
    samples = Path(os.environ.get("SAMPLES") or Path(__file__).parents[4] / "shared" / "samples")
    path = samples / "jetstream" / "golden_v1.jsonl"
    if not path.is_file():
        pytest.skip("real events are not here: set SAMPLES=the folder with jetstream/golden_v1.jsonl")
    posts = ignored = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        outcome, commit = parse("jetstream", line), event.get("commit", {})
        if (commit.get("operation"), commit.get("collection")) == ("create", POSTS):
            identity = f"at://{event['did']}/{POSTS}/{commit['rkey']}"
            time_us = event["time_us"]
            assert outcome == Post(identity, commit["record"]["text"], time_us // 1000, time_us)
            posts += 1
        else:
            assert outcome == Ignored(event["time_us"])
            ignored += 1
    assert posts
    assert ignored
