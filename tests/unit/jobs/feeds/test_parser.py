"""What a compiled definition makes of a frame."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feeds.model import (
    CODES,
    MAX_NUMBER,
    MAX_TIMESTAMP,
    NUMBERING,
    Control,
    Failure,
    Ignored,
    Post,
    Rejection,
)
from jobs.feeds.parser import MAX_SHOWN
from tests.unit.jobs.feeds.samples import FULL, PLAIN, RECEIVED, TEXT, TIMED, Parsed, changed, feed, parse

ITEM = {"user": "u", "id": 1, "title": "t", "body": "b", "time": 1.5, "lang": "en"}


def frame(*items: object, **fields: object) -> dict[str, object]:
    """A frame of the full feed, which holds its items as JSON in a string."""
    return {"type": "posts", "seq": 7, "payload": json.dumps({"items": items}), **fields}


def post(number: int, position: int | None = 7, before: tuple[Post, ...] = ()) -> Post:
    """The post of the item with that number, which is the n-th of its frame."""
    return Post(f"u/{number}", "t: b", 1_500, position, extra='{"lang":"en"}', before=before, item=number - 1)


def item(number: int, **fields: object) -> dict[str, object]:
    return {**ITEM, "id": number, **fields}


# Frames with many posts.


def test_the_posts_of_a_frame_are_one_event_with_the_position_at_the_last() -> None:
    assert parse(FULL, frame(item(1), item(2), item(3))) == [post(3, before=(post(1, None), post(2, None)))]
    assert parse(FULL, frame(item(1))) == [post(1)]
    assert parse(FULL, frame()) == []


def test_what_is_no_post_in_a_frame_has_no_position_behind_it() -> None:
    rejected = Rejection("bad_text", "body is not a text", 1)
    found = parse(FULL, frame(item(1), item(2, body=[]), item(3, lang="fr"), item(4), item(5, lang="fr")))
    assert found == [rejected, Ignored(None), post(4, before=(post(1, None),)), Ignored(None)]
    assert parse(FULL, frame(item(1, lang="fr"), item(2, lang="fr"))) == [Ignored(7), Ignored(7)]
    assert parse(FULL, frame(item(1, body=None))) == [Rejection("bad_text", "body is not a text", 0)]


def test_elements_with_positions_of_their_own_stay_apart() -> None:
    mapping = changed(FULL, ("position/path", "seq"))
    found = parse(mapping, frame(item(1, seq=5), item(2, seq=5), item(3, seq=6)))
    assert found == [post(1, 5), post(2, 5), post(3, 6)]


def test_posts_with_the_same_time_stay_apart() -> None:
    """They are recognized by their ids, and another connection may cut the frames differently."""
    mapping = changed(TIMED, ("frames", {"each": "items"}), ("position/path", "$.at"))
    found = parse(mapping, {"at": 9, "items": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]})
    assert found == [Post("1", "a", RECEIVED, 9, item=0), Post("2", "b", RECEIVED, 9, item=1)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "posts", "seq": 7}, Rejection("bad_structure", "payload.items is not an array")),
        (frame(payload='{"items": {}}'), Rejection("bad_structure", "payload.items is not an array")),
        (frame(payload="no JSON"), Rejection("bad_structure", "payload.items is not an array")),
        ({"seq": 7, "payload": {"items": []}}, Rejection("bad_structure", "type is missing")),
        ({"type": "likes"}, Ignored(None)),
        ([], Rejection("bad_structure", "type is missing")),
        (frame(7), Ignored(7)),
        (frame({**ITEM, "title": []}), Rejection("bad_text", "title is not a text", 0)),
        (frame(item(1), seq=-1), Rejection("bad_position", f"seq is not a whole number from 0 to {MAX_NUMBER}", 0)),
    ],
    ids=str,
)
def test_a_frame_of_another_structure(value: object, expected: Parsed) -> None:
    assert parse(FULL, value) == [expected]


def test_json_within_a_string_is_decoded_wherever_it_is() -> None:
    for path, value in (
        ('"pay.load"[1]', {"pay.load": ["x", '{"text": "a"}']}),
        ("[1]", ["x", '{"text": "a"}']),
        ("data", {"data": '{"text": "a"}'}),
    ):
        mapping = changed(PLAIN, ("frames", {"decode": path}), ("post/text", f"{path}.text"))
        assert [found.text for found in parse(mapping, value) if isinstance(found, Post)] == ["a"]
    mapping = changed(PLAIN, ("frames", {"decode": "data"}))
    for data in ("plain", "7", 7, None, '"text"', "{", ["a"]):
        assert parse(mapping, {"data": data, "text": "a"}) == [Post("plain-id1", "a", RECEIVED, None)]


# Frames that are no posts.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "hello"}, Control()),
        ({"type": "heartbeat", "seq": 8}, Control()),
        ({"type": "pong"}, Control()),
        ({"type": "subscribed"}, Control()),
        (b"PONG", Control()),
        (b"go away", Failure("reconnect", "go away")),
        ({"type": "error", "why": "\u00e9"}, Failure("fatal", '{"type":"error","why":"\u00e9"}')),
        (b'"PONG"', Rejection("not_json", "a JSON object or array is expected, not str")),
    ],
    ids=str,
)
def test_a_frame_of_the_protocol(value: object, expected: Parsed) -> None:
    assert parse(FULL, value) == [expected]


RULES: list[tuple[tuple[str, object], Parsed]] = [
    (("frames/control", [{"frame": "x"}]), Control()),
    (("frames/error", [{"frame": "x"}]), Failure("reconnect", "x")),
    (("frames/error", [{"frame": "x", "means": "too_old"}]), Failure("too_old", "x")),
    (("open", {"expect": {"frame": "x"}}), Control()),
    (("keepalive", {"send": "y", "reply": {"frame": "x"}}), Control()),
]


@pytest.mark.parametrize("mapping", [PLAIN, TEXT], ids=["JSON", "text"])
@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_a_rule_on_the_complete_frame(mapping: dict[str, Any], rule: tuple[str, object], expected: Parsed) -> None:
    assert parse(changed(mapping, rule), b"x") == [expected]
    assert parse(changed(mapping, rule), b"xx") != [expected]


def test_the_end_of_a_replay() -> None:
    path = changed(TIMED, ("frames", {"replayed": {"path": "type", "equals": "EOSE"}}))
    text = changed(TIMED, ("frames", {"replayed": {"frame": "EOSE"}}))
    assert parse(path, {"type": "EOSE"}) == parse(text, b"EOSE") == [Control(replayed=True)]


def test_the_first_rule_holds() -> None:
    rules = {"error": [{"path": "a"}], "control": [{"path": "a"}], "keep": [{"path": "a", "equals": 2}]}
    assert parse(changed(PLAIN, ("frames", rules)), {"a": 1}) == [Failure("reconnect", '{"a":1}')]
    frames = {"error": [{"frame": "x"}], "control": [{"frame": "x"}]}
    assert parse(changed(PLAIN, ("frames", frames)), b"x") == [Failure("reconnect", "x")]


def test_a_long_or_deep_error_is_shortened() -> None:
    mapping = changed(PLAIN, ("frames", {"error": [{"path": "[0]"}]}))
    (found,) = parse(mapping, ["x" * 10_000])
    assert isinstance(found, Failure)
    assert len(found.reason) == MAX_SHOWN
    (deep,) = parse(mapping, b"[" * 1_010 + b"1" + b"]" * 1_010)
    assert isinstance(deep, Failure)


@pytest.mark.parametrize(("lang", "kept"), [("en", True), ("de-en", True), ("de", False), (None, False), (7, False)])
def test_dense_numbers_are_those_of_posts(lang: object, kept: bool) -> None:
    mapping = changed(
        PLAIN, ("frames", {"keep": [{"path": "lang", "contains": "en"}]}), ("position", {"path": "seq", "dense": True})
    )
    (found,) = parse(mapping, {"seq": 5, "text": "a", "lang": lang})
    assert found == (Post("plain-5", "a", RECEIVED, 5) if kept else Ignored(None))
    growing = changed(mapping, ("position/dense", False))
    (found,) = parse(growing, {"seq": 5, "text": "a", "lang": lang})
    assert found == (Post("plain-5", "a", RECEIVED, 5) if kept else Ignored(5))


def test_every_rule_of_keep_must_hold_and_a_required_path_must_exist() -> None:
    rules = [{"path": "a", "equals": 1}, {"path": "b", "in": [1, 2], "required": True}]
    mapping = changed(PLAIN, ("frames", {"keep": rules}))
    assert parse(mapping, {"a": 1, "b": 2, "text": "x"}) == [Post("plain-id1", "x", RECEIVED, None)]
    assert parse(mapping, {"a": 2}, {"a": 1, "b": 3}) == [Ignored(None), Ignored(None)]
    assert parse(mapping, {"a": 1}, {"a": 1, "b": None}) == [Rejection("bad_structure", "b is missing")] * 2


# The fields of a post.

TIMES: list[tuple[str, object, int | None]] = [
    ("s", 0, 0),
    ("s", 1.9999, 1_999),
    ("s", MAX_TIMESTAMP // 1_000, MAX_TIMESTAMP // 1_000 * 1_000),
    ("s", MAX_TIMESTAMP / 1_000 + 1, None),
    ("s", math.nan, None),
    ("s", -0.001, None),
    ("s", "1", None),
    ("s", True, None),
    ("ms", MAX_TIMESTAMP, MAX_TIMESTAMP),
    ("ms", MAX_TIMESTAMP + 1, None),
    ("ms", 1.0, None),
    ("ms", True, None),
    ("us", 1_999, 1),
    ("us", MAX_TIMESTAMP * 1_000, MAX_TIMESTAMP),
    ("us", MAX_TIMESTAMP * 1_000 + 1, None),
    ("ns", 1_999_999, 1),
    ("ns", -1, None),
    ("rfc3339", "2026-01-01T00:00:00Z", 1_767_225_600_000),
    ("rfc3339", "2026-01-01T02:00:00.123456+02:00", 1_767_225_600_123),
    ("rfc3339", "2026-01-01T00:00:00.123456789Z", 1_767_225_600_123),
    ("rfc3339", "2026-01-01 00:00:00", 1_767_225_600_000),
    ("rfc3339", "9999-12-31T23:59:59.999Z", MAX_TIMESTAMP),
    ("rfc3339", "9999-12-31T23:59:59-01:00", None),
    ("rfc3339", "1969-12-31T23:59:59Z", None),
    ("rfc3339", "0001-01-01T00:00:00+23:59", None),
    ("rfc3339", "yesterday", None),
    ("rfc3339", "", None),
    ("rfc3339", 7, None),
    ("rfc3339", None, None),
]


@pytest.mark.parametrize(("unit", "value", "expected"), TIMES)
def test_times(unit: str, value: object, expected: int | None) -> None:
    mapping = changed(PLAIN, ("post/time", {"path": "t", "unit": unit}))
    (found,) = parse(mapping, {"t": value, "text": "a"})
    if expected is None:
        assert isinstance(found, Rejection)
        assert found.code == "bad_time"
        assert found.reason.startswith("t is not a ")
    else:
        assert isinstance(found, Post)
        assert found.timestamp == expected


IDS: list[tuple[str, object, str | None]] = [
    ("{a}", "x", "x"),
    ("{a}/%s/{a}", "x", "x/%s/x"),
    ("at://{a}", 7, "at://7"),
    ("{a}", 1.5, "1.5"),
    ("{a}", "", None),
    ("{a}", "x y", None),
    ("{a}", "x\ty", None),
    ("{a}", "\u00e9", None),
    ("{a}", True, None),
    ("{a}", None, None),
    ("{a}", ["x"], None),
    ("{a}", "x" * 2_048, "x" * 2_048),
    ("{a}", "x" * 2_049, None),
    ("{a}{a}{a}", "x" * 1_000, None),
]


@pytest.mark.parametrize(("template", "value", "expected"), IDS)
def test_ids(template: str, value: object, expected: str | None) -> None:
    (found,) = parse(changed(PLAIN, ("post/id", template)), {"a": value, "text": "t"})
    assert found == Post(expected, "t", RECEIVED, None) if expected else isinstance(found, Rejection)
    assert expected or getattr(found, "code", "") == "bad_id"


TEXTS: list[tuple[str, object, str | None]] = [
    ("a", "", ""),
    ("a", "x", "x"),
    ("a", 7, None),
    ("{a}", "x", "x"),
    ("{a}", "", ""),
    ("100 % {a}: {a}", 7, "100 % 7: 7"),
    ("{a}", True, None),
    ("{a}", None, None),
    ("{a}", {}, None),
]


@pytest.mark.parametrize(("template", "value", "expected"), TEXTS)
def test_texts(template: str, value: object, expected: str | None) -> None:
    (found,) = parse(changed(PLAIN, ("post/text", template)), {"a": value})
    if expected is None:
        assert isinstance(found, Rejection)
        assert (found.code, found.reason.split()[0]) == ("bad_text", "a")
    else:
        assert found == Post("plain-id1", expected, RECEIVED, None)


def test_extra_fields_are_those_that_the_frame_has() -> None:
    mapping = changed(PLAIN, ("post/extra", {"a": "a", "b": "b.c"}))
    values: tuple[dict[str, object], ...] = (
        {},
        {"a": None},
        {"a": 0},
        {"a": [1, "\u00e9"], "b": {"c": False}},
        {"a": "x" * 5_000, "b": {"c": 1}},
    )
    found = [getattr(post, "extra", None) for value in values for post in parse(mapping, {**value, "text": "t"})]
    assert found == ["", "", '{"a":0}', '{"a":[1,"\u00e9"],"b":false}', '{"b":1}']
    (surrogate,) = parse(mapping, b'{"a": "\\ud800", "text": "t"}')
    assert isinstance(surrogate, Post)
    assert json.loads(surrogate.extra) == {"a": "\ud800"}
    (no_number,) = parse(mapping, b'{"a": [NaN, "\\ud800"], "b": {"c": [1e999]}, "text": "t"}')
    assert no_number == Post("plain-id1", "t", RECEIVED, None, extra='{"b":[null]}')


# Whatever a frame holds, the parser does not raise, and its events are valid.

NAMES = ["a", "b", "c", "items"]
PATHS = ["a", "b", "a.b", "a.b.c", "items[0]", "a.b.c.items", "items[1].a"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=6)
    | st.sampled_from(["x", "1", "2026-01-01T00:00:00Z", '{"a": 1}', MAX_NUMBER, 2**70, RECEIVED]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(NAMES), children, max_size=4),
    max_leaves=12,
)
PATH = st.sampled_from(PATHS)
CONDITION = st.fixed_dictionaries(
    {"path": PATH},
    optional={"equals": st.sampled_from(["x", 1, True, 1.5])},
) | st.fixed_dictionaries({"path": PATH, "in": st.sampled_from([["x", 1], [True], ["1", 1.5, False]])})
KEEP = CONDITION.flatmap(lambda rule: st.booleans().map(lambda required: {**rule, "required": required}))


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """A sound definition of a feed of JSON."""
    mapping: dict[str, Any] = {"name": "any", "post": {"text": draw(PATH | st.just("{a}: {b.c}"))}, "frames": {}}
    frames, post = mapping["frames"], mapping["post"]
    many = draw(st.booleans())
    if many:
        frames["each"] = draw(PATH)
        post["keep"] = draw(st.lists(KEEP, max_size=2))
    element = PATH | PATH.map(lambda path: f"$.{path}") if many else PATH
    for key in ("error", "control"):
        frames[key] = draw(st.lists(CONDITION, max_size=1))
    frames["keep"] = draw(st.lists(KEEP, max_size=2))
    if draw(st.booleans()):
        frames["decode"] = draw(PATH)
    if draw(st.booleans()):
        post["time"] = {"path": draw(element), "unit": draw(st.sampled_from(["s", "ms", "us", "ns", "rfc3339"]))}
    if draw(st.booleans()):
        post["extra"] = {"one": draw(element), "two": draw(element)}
    position = draw(st.sampled_from(["none", "number", "dense", "per", "numbering", "time"]))
    if position != "none":
        mapping["position"] = {"path": draw(element)}
        mapping["position"] |= {"dense": True} if position in ("dense", "per") else {}
        mapping["position"] |= {position: draw(element)} if position in ("per", "numbering") else {}
        mapping["position"] |= {"unit": draw(st.sampled_from(["s", "ms", "us", "ns"]))} if position == "time" else {}
    if many or draw(st.booleans()):
        post["id"] = draw(st.sampled_from(["{a}", "x/{a.b}-{b}", "{items[0]}"]))
    return mapping


def check_event(event: Parsed) -> None:
    if isinstance(event, Rejection):
        assert event.code in CODES
        assert len(event.reason.splitlines()) == 1
        assert len(event.reason) < 600
    elif isinstance(event, Post | Ignored):
        assert event.position is None or (type(event.position) is int and 0 <= event.position <= MAX_NUMBER)
        assert event.numbering == "" or NUMBERING.fullmatch(event.numbering)
    if isinstance(event, Post):
        assert event.id
        assert event.id.isascii()
        assert event.id.isprintable()
        assert " " not in event.id
        assert type(event.text) is str
        assert type(event.timestamp) is int
        assert 0 <= event.timestamp <= MAX_TIMESTAMP
        assert event.extra == "" or isinstance(json.loads(event.extra), dict)
        assert "\n" not in event.extra
        for each in event.before:
            assert (each.position, each.numbering, each.before) == (None, "", ())
            check_event(each)


@given(mappings(), st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=4))
def test_no_frame_raises_and_all_events_are_valid(mapping: dict[str, Any], frames: list[bytes]) -> None:
    parser = feed(mapping).parse
    for data in frames:
        outcome = parser(data, RECEIVED)
        for event in outcome if isinstance(outcome, list) else [outcome]:
            check_event(event)


DEPTHS = [100, 900, 995, 1_000, 1_005, 1_023, 1_024, 1_025, 5_000, 100_000]


@pytest.mark.parametrize("depth", DEPTHS)
def test_no_depth_raises(depth: int) -> None:
    mapping = changed(PLAIN, ("post/extra", {"a": "a"}), ("frames", {"error": [{"path": "b"}], "decode": "c"}))
    deep = b"[" * depth + b"]" * depth
    for data in (b'{"text": "x", "a": %s}', b'{"b": %s}', b'{"text": "x", "c": "%s"}', b"%s"):
        (found,) = parse(mapping, data % deep)
        check_event(found)
