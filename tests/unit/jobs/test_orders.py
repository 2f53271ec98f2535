"""Feeds of growing numbers, of numbers for each key, of stored posts newest first, and of nothing but time."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feed_processor import Batch, FeedProcessor, FeedState, Frame, Record
from jobs.feeds.definition import check
from jobs.feeds.feed import Feed
from jobs.feeds.model import Position, Shard
from jobs.records import HEARTBEAT_PREFIX, MAX_COPIES
from jobs.resume import progress_from

CLOCK = 1_767_225_600_000
NEW = FeedState()
LARGEST_FRAME = 524_288  # bytes: the most that MAX_FRAME_BYTES allows
RESUME: dict[str, Any] = {"query": {"since": "${position}"}}
POST = {"text": "text", "time": {"path": "at", "unit": "ms"}}
GROWING: dict[str, Any] = {"name": "growing", "post": POST, "position": {"path": "n"}, "resume": RESUME}
INCLUSIVE = {**GROWING, "resume": {**RESUME, "inclusive": True}}
FRAMES_OF_MANY = {
    **INCLUSIVE,
    "frames": {"each": "items"},
    "post": {**POST, "id": "{id}", "keep": [{"path": "text"}]},
    "position": {"path": "$.n"},
}
KEYED = {"name": "keyed", "post": POST, "position": {"path": "n", "dense": True, "per": "key"}}
NOTHING = {"name": "nothing", "post": POST}


def timed(unit: str, newest_first: bool = False) -> dict[str, Any]:
    frames = {"frames": {"replayed": {"path": "end"}}} if newest_first else {}
    return {
        "name": "timed",
        "post": {"id": "{id}", "text": "text", "time": {"path": "at", "unit": "ms"}},
        "position": {"path": "n", "unit": unit},
        "resume": {**RESUME, "inclusive": True, "overlap": 5},
        **frames,
    }


def processor(mapping: dict[str, Any], progress: FeedState = NEW) -> FeedProcessor:
    ids = itertools.count(1)
    target = FeedProcessor(Feed(check(mapping), lambda: f"id{next(ids)}"), Shard(), str, progress)
    target.server = "wss://a"
    return target


def frame(number: object = None, text: str = "x", at: int = CLOCK, received: int = CLOCK, **fields: object) -> Frame:
    value = {"text": text, "at": at, **({} if number is None else {"n": number}), **fields}
    return Frame(json.dumps(value).encode(), True, received)


def value(record: Record) -> dict[str, Any]:
    return dict(json.loads(record.value))


def texts(batch: Batch) -> list[str]:
    return [text for record in batch.posts if (text := value(record)["text"]) is not None]


def gaps(batch: Batch) -> list[tuple[int | None, int | None, int | None]]:
    """(first, last, lost) of each gap. The rejections, the events and the log have the same."""
    found = [json.loads(record["record"]) for record in map(value, batch.rejected) if record["code"] == "lost"]
    events = [event for event in map(value, batch.events) if event["event"] == "lost"]
    assert len(found) == len(events) == len(batch.errors)
    for gap, event in zip(found, events, strict=True):
        assert {name: event.get(name) for name in gap} == gap
        assert event["why"]
        assert event["seconds"] >= 1
    return [(gap["first"], gap["last"], gap["lost"]) for gap in found]


def sequence(numbers: list[int]) -> list[Frame]:
    return [frame(number, f"{number}") for number in numbers]


# Numbers that only grow.

Gaps = list[tuple[int | None, int | None, int | None]]
UNKNOWN: Gaps = [(11, None, None)]
ANSWERS: dict[str, tuple[dict[str, Any], bool, list[int], list[int], Gaps]] = {
    "the next ones": (GROWING, True, [11, 15, 90], [11, 15, 90], []),
    "after a jump": (GROWING, True, [500, 501], [500, 501], []),
    "known ones first": (GROWING, True, [3, 9, 10, 11], [11], []),
    "the last one twice": (GROWING, True, [11, 11, 12, 12], [11, 12], []),
    "inclusive": (INCLUSIVE, True, [10, 14], [14], []),
    "inclusive, from further back": (INCLUSIVE, True, [4, 10, 14], [14], []),
    "inclusive, but without the last one": (INCLUSIVE, True, [14, 15], [14, 15], UNKNOWN),
    "inclusive, with older ones, but without the last one": (INCLUSIVE, True, [9, 14, 15], [14, 15], UNKNOWN),
    "live": (GROWING, False, [14, 15], [14, 15], UNKNOWN),
    "live, with the last one": (GROWING, False, [10, 15], [15], []),
    "begun again": (GROWING, True, [11, 2, 3], [11, 2, 3], [(12, None, None)]),
}


@pytest.mark.parametrize(("mapping", "resumed", "sent", "out", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_growing_numbers(
    mapping: dict[str, Any], resumed: bool, sent: list[int], out: list[int], expected: Gaps
) -> None:
    target = processor(mapping, FeedState("growing", "", 10, CLOCK))
    target.on_subscribed(resumed)
    batch = target.process(sequence(sent))
    assert texts(batch) == [str(number) for number in out]
    assert gaps(batch) == expected
    assert target.resume_from == Position(out[-1])
    assert target.counts.overlap == len(sent) - len(out)


def test_the_first_start_of_growing_numbers_reports_nothing() -> None:
    for mapping in (GROWING, INCLUSIVE):
        target = processor(mapping)
        assert target.resume_from is None
        target.on_subscribed(False)
        batch = target.process(sequence([50, 60]))
        assert texts(batch) == ["50", "60"]
        assert not batch.rejected
        assert not batch.events
        assert target.resume_from == Position(60)


def test_another_numbering_of_growing_numbers_is_a_gap() -> None:
    mapping = {**GROWING, "position": {"path": "n", "numbering": "of"}}
    target = processor(mapping, FeedState("growing", "a", 10, CLOCK))
    batch = target.process([frame(3, "new", of="b"), frame(4, "newer", of="b")])
    assert (texts(batch), gaps(batch), target.resume_from) == (["new", "newer"], UNKNOWN, Position(4, "b"))
    assert value(batch.posts[-1])["id"].startswith(HEARTBEAT_PREFIX)


def test_a_frame_of_growing_numbers_that_is_too_large_is_passed_and_reported() -> None:
    target = processor(GROWING, FeedState("growing", "", 10, CLOCK))
    batch = target.skip("a frame larger than 9 bytes", CLOCK)
    assert (gaps(batch), target.resume_from) == ([(11, 11, 1)], Position(11))
    target.on_subscribed(True)
    assert texts(target.process(sequence([11, 20]))) == ["20"]


def test_a_frame_that_is_too_large_again_and_again_is_passed_soon() -> None:
    """Its number is unknown, and may be far ahead."""
    target, number, attempts = processor(GROWING, FeedState("growing", "", 10, CLOCK)), 10_000, 0
    hidden: list[int | None] = []
    while target.resume_from is not None and target.resume_from.number < number:
        batch = target.skip("a frame larger than 9 bytes", CLOCK)
        hidden += [position for first, last, _ in gaps(batch) for position in (first, last)]
        target.on_subscribed(True)
        attempts += 1
    assert attempts == 14
    assert hidden[0] == 11
    assert all(begin == end + 1 for end, begin in zip(hidden[1::2], hidden[2::2], strict=False) if begin and end)
    assert hidden[-1] == target.resume_from.number if target.resume_from else False
    batch = target.process(sequence([30_000]))
    assert (texts(batch), gaps(batch)) == (["30000"], [])
    assert gaps(target.skip("a frame larger than 9 bytes", CLOCK)) == [(30_001, 30_001, 1)]


def many(number: int, *items: str, **fields: object) -> Frame:
    parts = [{"id": each, "text": each, "at": CLOCK} if each != "-" else {"id": each} for each in items]
    return Frame(json.dumps({"n": number, "items": parts, **fields}).encode(), True, CLOCK)


def test_a_frame_of_many_posts_is_complete_or_not_there() -> None:
    target = processor(FRAMES_OF_MANY)
    batch = target.process([many(5, "a", "b", "c"), many(6, "-", "d", "-", "e", "-")])
    found = [(record["text"], record.get("position")) for record in map(value, batch.posts)]
    assert found == [("a", None), ("b", None), ("c", "5"), ("d", None), ("e", "6")]
    assert (target.counts.ignored, batch.rejected, target.resume_from) == (3, [], Position(6))
    target.on_subscribed(True)
    batch = target.process([many(6, "-", "d", "-", "e", "-"), many(9, "f")])
    assert (texts(batch), batch.rejected, target.resume_from) == (["f"], [], Position(9))


def test_a_part_that_is_rejected_is_named_and_its_frame_comes_once() -> None:
    target = processor(FRAMES_OF_MANY)
    data = many(5, "a", "b", "c").data.replace(b'"text": "b"', b'"text": 7')
    batch = target.process([Frame(data, True, CLOCK), many(6, "d")])
    assert (texts(batch), gaps(batch)) == (["a", "c", "d"], [])
    (rejected,) = map(value, batch.rejected)
    assert (rejected["code"], rejected["item"], rejected["bytes"]) == ("bad_text", 1, len(data))
    assert (target.counts.posts, target.counts.rejected) == (3, 1)


def test_many_rejected_parts_of_a_frame_share_records() -> None:
    target = processor(FRAMES_OF_MANY)
    malformed = [{"id": f"m{number}", "text": number, "at": CLOCK} for number in range(300)]
    emptied = [{"id": f"e{number}", "text": "", "at": CLOCK} for number in range(200)]
    items = [{"id": "a", "text": "a", "at": CLOCK}, *malformed, *emptied, {"id": "b", "text": "b", "at": CLOCK}]
    batch = target.process([frame(5, items=items), frame(6, items=malformed[:MAX_COPIES])])
    assert texts(batch) == ["a", "b"]
    assert (target.counts.rejected, target.counts.emptied) == (300 + MAX_COPIES, 200)
    bad, empty, *single = map(value, batch.rejected)
    assert (bad["code"], bad["items"], empty["code"]) == ("bad_text", list(range(1, 301)), "empty")
    assert empty["items"] == list(range(301, 501))
    assert [each["item"] for each in single] == list(range(MAX_COPIES))


@pytest.mark.parametrize("item", ["0", '{"id":"x","text":"","at":1767225600000,"n":#}'], ids=["malformed", "empty"])
@pytest.mark.parametrize("position", [{"path": "n", "numbering": "$.numbering"}, {"path": "$.n"}], ids=["each", "one"])
def test_the_largest_frame_makes_records_that_kafka_takes_and_that_fit_into_memory(
    item: str, position: dict[str, str]
) -> None:
    post = {**POST, "id": "{id}"}
    target = processor({**INCLUSIVE, "frames": {"each": "items"}, "post": post, "position": position})
    count = (LARGEST_FRAME - 200) // (len(item) + 6 * item.count("#") + 1)
    items = ",".join(item.replace("#", str(1_000_000 + number)) for number in range(count))
    data = f'{{"n":5,"numbering":"{"x" * 64}","items":[{items}]}}'.encode()
    batch = target.process([Frame(data, True, CLOCK)])
    assert sum(len(value(record).get("items", [0])) for record in batch.rejected) == count
    assert max(len(record.value) for record in batch.rejected) < 1_000_000
    assert sum(len(record.value) for record in batch.rejected) < 32 * len(data)


# Numbers of each key.


def keyed(*sent: tuple[str, int]) -> list[Frame]:
    return [frame(number, f"{key}{number}", key=key) for key, number in sent]


def test_each_key_has_numbers_of_its_own() -> None:
    target = processor(KEYED)
    batch = target.process(keyed(("a", 5), ("b", 90), ("a", 6), ("b", 91), ("c", 1), ("b", 92)))
    assert (texts(batch), batch.rejected) == (["a5", "b90", "a6", "b91", "c1", "b92"], [])
    assert target.resume_from is None
    assert set(target.progress.recent) == {(6, "a"), (92, "b"), (1, "c")}
    positions = [value(record)["position"] for record in batch.posts if value(record)["text"]]
    assert positions == ["a/5", "b/90", "a/6", "b/91", "c/1", "b/92"]


def test_what_a_key_lacks_is_counted_after_a_reconnect_and_after_a_restart() -> None:
    target = processor(KEYED)
    records = target.process(keyed(("a", 5), ("b", 90), ("a", 6))).posts
    values = [record.value for record in records]
    from_topic = progress_from(values, target.feed, Shard())
    assert from_topic is not None
    for again in (target, processor(KEYED, target.progress), processor(KEYED, from_topic)):
        again.on_subscribed(False)
        batch = again.process(keyed(("a", 9), ("b", 91), ("a", 10), ("c", 7), ("b", 92)))
        assert (sorted(texts(batch)), gaps(batch)) == (["a10", "a9", "b91", "b92", "c7"], [(7, 8, 2)])
        assert "of the keyed feed, a" in batch.errors[0]
        assert value(batch.events[0])["numbering"] == "a"


def test_a_gap_of_a_key_moves_no_promise() -> None:
    target = processor(KEYED)
    target.process(keyed(("a", 5), ("a", 6)))
    heartbeat_time = target.progress.heartbeat_time
    batch = target.process(keyed(("a", 9), ("a", 10)))
    assert gaps(batch) == [(7, 8, 2)]
    assert target.progress.heartbeat_time == heartbeat_time


def test_a_known_number_of_a_key_is_a_duplicate() -> None:
    target = processor(KEYED)
    target.process(keyed(("a", 5), ("a", 6)))
    batch = target.process(keyed(("a", 6), ("a", 5), ("b", 6), ("a", 7)))
    assert (texts(batch), target.counts.overlap) == (["b6", "a7"], 2)


def test_the_key_that_was_silent_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.per_key.MAX_KEYS", 2)
    target = processor(KEYED)
    target.process(keyed(("a", 1), ("b", 1), ("a", 2), ("c", 1)))
    assert set(target.progress.recent) == {(2, "a"), (1, "c")}


# Times.


@pytest.mark.parametrize(("unit", "second"), [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)])
def test_times_of_each_unit(unit: str, second: int) -> None:
    now = CLOCK // 1_000 * second
    target = processor(timed(unit))
    target.process([frame(now - 60 * second, "a", id="a"), frame(now - 50 * second, "b", id="b")])
    assert target.resume_from == Position(now - 50 * second)
    url = target.feed.request("ws://a", target.resume_from, Shard(), str).url
    assert url == f"ws://a/?since={now - 55 * second}"
    target.on_subscribed(True)
    batch = target.process([frame(now - 50 * second, "b", id="b"), frame(now - 49 * second, "c", id="c")])
    assert (texts(batch), gaps(batch), target.counts.overlap) == (["c"], [], 1)
    target.on_subscribed(True)
    batch = target.process([frame(now - 40 * second, "d", id="d")])
    assert (texts(batch), gaps(batch)) == (["d"], [(now - 49 * second, now - 40 * second, 9 * second)])
    unit_name = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
    assert f"({9 * second} {unit_name})" in batch.errors[0]


S = CLOCK // 1_000
END = Frame(b'{"end": 1}', True, CLOCK)


def stored(*names: tuple[str, int]) -> list[Frame]:
    return [frame(at, name, at=at * 1_000, id=name) for name, at in names]


def test_stored_posts_come_newest_first_and_the_position_waits_for_the_end() -> None:
    target = processor(
        timed("s", newest_first=True), FeedState("timed", "", S - 100, (S - 100) * 1_000, 0, ((S - 100, "a"),))
    )
    target.on_subscribed(True)
    batch = target.process(stored(("d", S - 10), ("c", S - 20), ("b", S - 90)))
    assert (texts(batch), target.resume_from) == (["d", "c", "b"], Position(S - 100))
    assert {record["position"] for record in map(value, batch.posts)} == {f"{S - 100}"}
    assert target.heartbeat(CLOCK, 60_000) == []  # older posts may follow
    batch = target.process([*stored(("a", S - 100)), END])
    assert (texts(batch), gaps(batch), target.resume_from) == ([], [], Position(S - 10))
    target.heartbeat_keys = ["heartbeat-0"]
    assert target.heartbeat(CLOCK, 60_000)
    assert texts(target.process(stored(("e", S - 5)))) == ["e"]


def test_a_replay_that_breaks_off_is_asked_for_again_and_brings_nothing_twice() -> None:
    mapping = timed("s", newest_first=True)
    state = FeedState("timed", "", S - 100, (S - 100) * 1_000, 0, ((S - 100, "a"),))
    target = processor(mapping, state)
    target.on_subscribed(True)
    records = target.process(stored(("d", S - 10), ("c", S - 20))).posts
    from_topic = progress_from([*(record.value for record in records)], target.feed, Shard())
    assert from_topic is not None
    for again in (processor(mapping, target.progress), processor(mapping, from_topic), target):
        assert again.resume_from == Position(S - 100)
        again.on_subscribed(True)
        batch = again.process([*stored(("e", S - 5), ("d", S - 10), ("c", S - 20), ("b", S - 99)), END])
        assert (texts(batch), gaps(batch), again.resume_from) == (["e", "b"], [], Position(S - 5))


@pytest.mark.parametrize(
    ("replay", "expected"),
    [
        ([("c", S - 20), ("b", S - 99)], []),
        ([("c", S - 20), ("b", S - 90)], [(S - 100, S - 90, 10)]),
        ([("c", S - 20), ("a", S - 100)], []),
        ([], [(S - 100, None, None)]),
    ],
    ids=["reaches the position", "ends before it", "has the last post", "is empty"],
)
def test_a_replay_that_does_not_reach_the_position_is_a_gap(replay: list[tuple[str, int]], expected: Gaps) -> None:
    state = FeedState("timed", "", S - 100, (S - 100) * 1_000, 0, ((S - 100, "a"),))
    target = processor(timed("s", newest_first=True), state)
    target.on_subscribed(True)
    batch = target.process([*stored(*replay), END])
    assert gaps(batch) == expected
    if expected:
        assert value(batch.events[0])["seconds"] == (expected[0][2] or 1)
    assert gaps(target.process([END, *stored(("z", S - 1))])) == []


def test_a_first_start_with_stored_posts_reports_nothing() -> None:
    target = processor(timed("s", newest_first=True))
    target.on_subscribed(False)
    batch = target.process([*stored(("b", S - 50), ("a", S - 60)), END, *stored(("c", S - 1))])
    assert (texts(batch), gaps(batch), target.resume_from) == (["b", "a", "c"], [], Position(S - 1))


# Nothing but time.


def test_a_feed_that_cannot_resume_reports_the_time_away() -> None:
    target = processor(NOTHING)
    target.on_subscribed(False)
    first = target.process([frame(text="a", received=CLOCK + 1_000)])
    assert (texts(first), first.rejected, target.progress.seen) == (["a"], [], CLOCK + 1_000)
    target.on_connected_until(CLOCK + 60_000)
    target.on_subscribed(False)
    batch = target.process([frame(text="b", received=CLOCK + 72_001), frame(text="c", received=CLOCK + 80_000)])
    assert (texts(batch), gaps(batch)) == (["b", "c"], [(None, None, None)])
    assert (value(batch.events[0])["seconds"], target.counts.gap_seconds) == (13, 13)
    assert batch.errors == ["LOST: an unknown part of the nothing feed: the feed cannot resume"]
    assert target.process([frame(text="d")]).rejected == []


def test_the_time_away_outlives_a_restart() -> None:
    before = processor(NOTHING)
    records = before.process([frame(text="a")]).posts
    before.on_connected_until(CLOCK + 5_000)
    from_topic = progress_from([record.value for record in records], before.feed, Shard())
    assert from_topic is not None
    for progress, seconds in ((before.progress, 25), (from_topic, 30)):
        target = processor(NOTHING, progress)
        target.on_subscribed(False)
        batch = target.process([frame(text="b", received=CLOCK + 30_000)])
        assert gaps(batch) == [(None, None, None)]
        assert value(batch.events[0])["seconds"] == seconds


# The result does not depend on how the frames are cut into groups.

NUMBERS = st.integers(1, 30)
SENT: dict[str, tuple[dict[str, Any], st.SearchStrategy[Frame]]] = {
    "growing": (GROWING, st.builds(frame, NUMBERS)),
    "inclusive": (INCLUSIVE, st.builds(frame, NUMBERS)),
    "dense": ({**GROWING, "position": {"path": "n", "dense": True}}, st.builds(frame, NUMBERS)),
    "keyed": (KEYED, st.builds(lambda number, key: frame(number, key=key), NUMBERS, st.sampled_from("ab"))),
    "timed": (
        timed("s"),
        st.builds(lambda ago, name: frame(S - ago, id=name), st.integers(0, 9), st.sampled_from("abcd")),
    ),
    "newest first": (
        timed("s", newest_first=True),
        st.builds(lambda ago, name: frame(S - ago, id=name), st.integers(0, 9), st.sampled_from("abcd")) | st.just(END),
    ),
    "many": (
        FRAMES_OF_MANY,
        st.builds(lambda number, items: many(number, *items), NUMBERS, st.lists(st.sampled_from("abcd-"), max_size=4)),
    ),
    "nothing": (NOTHING, st.builds(frame, st.none())),
}
BROKEN = st.sampled_from([Frame(b"{", True, CLOCK), Frame(b"{}", True, CLOCK), Frame(b"x", False, CLOCK)])


@pytest.mark.parametrize(("mapping", "frames"), SENT.values(), ids=SENT)
@given(data=st.data())
def test_the_result_does_not_depend_on_how_frames_are_cut(
    mapping: dict[str, Any], frames: st.SearchStrategy[Frame], data: st.DataObject
) -> None:
    sent = data.draw(st.lists(frames | BROKEN, max_size=12))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=4)))
    resumed = data.draw(st.booleans())
    state = data.draw(st.sampled_from([FeedState(), FeedState(mapping["name"], "", 8, CLOCK - 9_000)]))
    if mapping["name"] == "timed" and state.position is not None:
        state = state._replace(position=S - 8)
    results = []
    for groups in ([sent], [sent[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(sent)])]):
        target, whole = processor(mapping, state), Batch()
        target.on_subscribed(resumed)
        for group in groups:
            whole.add(target.process(group))
        # A heartbeat at the end of a group holds the position of a frame without a post.
        posts = [record for record in whole.posts if value(record)["text"] is not None]
        progress = target.progress._replace(heartbeat_time=0)
        results.append((posts, whole.rejected, whole.events, whole.errors, progress, target.counts))
    assert results[0] == results[1]
