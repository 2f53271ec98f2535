"""From frames to records: which are written, dropped as duplicates, reported as lost, or rejected."""

import base64
import itertools
import json
import pickle
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import cleaning, positions
from jobs.event_time import HEARTBEAT_STEP_MS, MAX_AHEAD_MS, MAX_BEHIND_MS, OUT_OF_ORDER_MS
from jobs.feed_processor import (
    HEARTBEAT_LAG_MS,
    MAX_RECORD_BYTES,
    ORIGINAL_MS,
    Batch,
    FeedProcessor,
    FeedState,
    Frame,
    Record,
)
from jobs.feeds.feed import Feed, make_feed
from jobs.feeds.model import CODES, MAX_TIMESTAMP, Position, Shard
from tests.support.examples import examples

SECOND = 1_000_000
T = 1_767_225_600 * SECOND  # a moment in microseconds
OVERLAP = 5 * SECOND  # of the preset
ONE, SHARD = Shard(), Shard(1, 4)
CLOCK = T // 1000 + 100_000_000  # in ms; later than all stamps here that are not meant to be ahead of it


def post(number: int, text: str = "a post", timestamp: int = 5_000, feed: str = "", received: int = CLOCK) -> Frame:
    """A frame of the simulator."""
    data = {"seq": number, "timestamp": timestamp, "text": text, **({"feed": feed} if feed else {})}
    return Frame(json.dumps(data).encode(), True, received)


def event(time_us: int, rkey: str, text: str = "a post", operation: str = "create", received: int = CLOCK) -> Frame:
    """A frame of Jetstream."""
    commit = {"operation": operation, "collection": "app.bsky.feed.post", "rkey": rkey, "record": {"text": text}}
    data = {"did": "did:plc:someone", "time_us": time_us, "kind": "commit", "commit": commit}
    return Frame(json.dumps(data).encode(), True, received)


def feed(kind: str, new_id: Callable[[], str] = str) -> Feed:
    """The feed of that name."""
    return make_feed({"jetstream": "jetstream-v1"}.get(kind, kind), new_id)


def collection(
    kind: str = "simulator",
    position: int | None = None,
    shard: Shard = ONE,
    clean: Callable[[str], str] = str,
    numbering: str = "",
) -> FeedProcessor:
    """One that has been at `position`, if that is given."""
    ids = itertools.count(1)
    progress = FeedState() if position is None else FeedState(kind, numbering, position)
    target = FeedProcessor(feed(kind, lambda: f"id{next(ids)}"), shard, clean, progress)
    target.server = "ws://a"
    return target


def restarted(old: FeedProcessor) -> FeedProcessor:
    """A new processor, restored from Flink's state: `FeedState` as a plain tuple, pickled."""
    kept = pickle.loads(pickle.dumps(tuple(old.progress)))
    return FeedProcessor(old.feed, old.shard, str, FeedState(*kept))


def reconnected(old: FeedProcessor) -> FeedProcessor:
    old.on_subscribed(True)
    return old


Again = Callable[[FeedProcessor], FeedProcessor]
AGAIN = pytest.mark.parametrize("again", [reconnected, restarted])


def keys(batch: Batch) -> list[str]:
    """The posts' own names or numbers."""
    posts = [record for record in batch.posts if value(record)["text"] is not None]
    return [re.split("[-/]", value(record)["id"])[-1] for record in posts]


def value(record: Record) -> dict[str, Any]:
    """A record's value, which must be a JSON object in one line of UTF-8."""
    assert "\n" not in record.value.decode()
    return dict(json.loads(record.value))


def reported_gaps(batch: Batch) -> list[dict[str, Any]]:
    """The gaps in `tweets.rejected`, each with its reason."""
    records = [record for record in map(value, batch.rejected) if record["reason"].startswith(("lost: ", "rejected "))]
    for record in records:
        assert (record["bytes"], record["position"]) == (0, None)
        assert record["code"] == ("lost" if record["reason"].startswith("lost: ") else "rejected_range")
        assert "frame" not in record
    return [{"reason": record["reason"], **json.loads(record["record"])} for record in records]


def lost(batch: Batch) -> list[tuple[int, int, int]]:
    """The first and last position and the size of each error line; the records in `tweets.rejected` say the same."""
    units = r"simulator feed \((?P<size>\d+) posts\)", r"jetstream feed \((?P<size>\d+) microseconds\)"
    lines = [re.compile(rf"LOST: positions (?P<first>\d+) to (?P<last>\d+) of the {unit}: .+") for unit in units]
    found = [match for error in batch.errors for line in lines if (match := line.fullmatch(error))]
    assert len(found) == len(batch.errors)
    gaps = [(int(match["first"]), int(match["last"]), int(match["size"])) for match in found]
    assert gaps == [(gap["first"], gap["last"], gap["lost"]) for gap in reported_gaps(batch) if gap["lost"]]
    return gaps


X, Y = "at://did:plc:someone/app.bsky.feed.post/x", 'at://did:plc:someone/app.bsky.feed.post/y"\\'
NOW = T // 1000
# frames with the texts "one" and "two"; id, timestamp and position of each; where the feed stands then
RECORDS: dict[str, tuple[list[Frame], list[tuple[str, int, str | None]], FeedState]] = {
    "simulator": (
        [post(3, "one", 20, "1a2b"), post(4, "two", 10, "1a2b")],
        [("simulator-1a2b-3", 20, "1a2b/3"), ("simulator-1a2b-4", 10, "1a2b/4")],
        FeedState("simulator", "1a2b", 4, 20, seen=CLOCK),
    ),
    "text": (
        [Frame(b"one", True, 20), Frame(b"two", True, 10)],
        [("text-id1", 20, None), ("text-id2", 10, None)],
        FeedState("text", "", None, 20, seen=10),
    ),
    "jetstream": (
        [event(T + 2_999, "x", "one"), event(T, 'y"\\', "two")],
        [(X, NOW + 2, f"{T + 2_999}"), (Y, NOW, f"{T}")],
        FeedState("jetstream", "", T + 2_999, NOW + 2, NOW + 2 - OUT_OF_ORDER_MS, ((T + 2_999, X), (T, Y)), CLOCK),
    ),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_posts_become_records_in_order(kind: str) -> None:
    frames, expected, progress = RECORDS[kind]
    target = collection(kind)
    records = target.process(frames).posts
    assert [record.key for record in records] == [key for key, _, _ in expected]
    assert [value(record) for record in records] == [
        {"id": key, "text": text, "timestamp": timestamp, "source": kind, **({"position": at} if at else {})}
        for (key, timestamp, at), text in zip(expected, ("one", "two"), strict=True)
    ]
    assert (target.counts.posts, target.progress) == (2, progress)


def test_batches_add_up() -> None:
    target = collection(position=0)
    batch = target.process([post(2), post(3), Frame(b"{", True, 0), post(4)])
    batch.add(target.process([post(6), post(7), Frame(b"[", True, 0)]))
    assert (keys(batch), lost(batch)) == (["2", "3", "4", "6", "7"], [(1, 1, 1), (5, 5, 1)])
    assert [record["record"] for record in map(value, batch.rejected) if record["bytes"]] == ["{", "["]


@given(st.text(min_size=1))
def test_every_text_arrives_as_it_is(text: str) -> None:
    (record,) = collection().process([post(1, text)]).posts
    assert value(record) == {
        "id": "simulator-1",
        "text": text,
        "timestamp": 5_000,
        "source": "simulator",
        "position": "1",
    }


def test_what_cleaning_empties_is_counted_and_written_down() -> None:
    target = collection(clean=lambda text: text.replace("#", ""))
    frames = [post(1, "#"), post(2, "#a"), post(3, "")]
    batch = target.process(frames)
    assert [record.key for record in batch.posts] == ["simulator-2", "heartbeat-0"]
    assert (target.counts.emptied, target.counts.posts, target.progress.position) == (2, 1, 3)
    assert target.counts.rejected == 0
    assert [value(record) for record in batch.rejected] == [
        {
            "code": "empty",
            "reason": "empty after cleaning",
            "source": "simulator",
            "server": "ws://a",
            "time": CLOCK,
            "position": position,
            "bytes": len(frame.data),
            "record": frame.data.decode(),
            "frame": encoded(frame.data),
        }
        for frame, position in ((frames[0], "1"), (frames[2], "3"))
    ]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


REJECTED = {
    "malformed": (Frame(b'{"seq": "one"}', True, 0), "seq", '{"seq": "one"}', 14),
    "no text": (Frame(b'{"seq": 1, "timestamp": 2}', True, 0), "text", '{"seq": 1, "timestamp": 2}', 26),
    "no timestamp": (Frame(b'{"seq": 1}', True, 0), "timestamp", '{"seq": 1}', 10),
    "binary": (Frame(post(2).data, False, 0), "binary", post(2).data.decode(), len(post(2).data)),
    "binary bytes": (Frame(b"\x00\xff\n", False, 0), "binary", "\x00\\xff\n", 3),
    "invalid UTF-8": (Frame(b"ab\xffc\xc3", True, 0), "byte 2", "ab\\xffc\\xc3", 5),
    "other scripts": (Frame("привет 🌍".encode(), True, 0), "not JSON", "привет 🌍", 17),
    "empty": (Frame(b"", True, 0), "not JSON", "", 0),
    "as long as is kept": (Frame(b"x" * 8192, True, 0), "not JSON", "x" * 8192, 8192),
    "longer": (Frame(b"x" * 8191 + b"yz", True, 0), "not JSON", "x" * 8191 + "y", 8193),
}


@pytest.mark.parametrize(("frame", "reason", "shown", "size"), REJECTED.values(), ids=REJECTED)
def test_rejected_frame(frame: Frame, reason: str, shown: str, size: int) -> None:
    target = collection()
    batch = target.process([post(1), frame, post(2)])
    (rejected,) = map(value, batch.rejected)
    assert reason in rejected.pop("reason")
    assert rejected.pop("code") in CODES
    assert rejected == {
        "source": "simulator",
        "server": "ws://a",
        "time": 0,
        "record": shown,
        "bytes": size,
        "position": None,
        "frame": encoded(frame.data),
        **({} if frame.is_text else {"binary": True}),
    }
    assert (keys(batch), target.counts.rejected, batch.errors) == (["1", "2"], 1, [])


# With unpaired surrogates in the texts, which JSON can encode but UTF-8 cannot.
ANY_POSTS = st.builds(lambda number, text: post(number, text).data, st.integers(0, 9), st.text(st.characters()))


@pytest.mark.parametrize("kind", RECORDS)
@given(frames=st.lists(st.builds(Frame, st.binary() | ANY_POSTS, st.booleans(), st.just(0))))
def test_nothing_that_is_sent_raises(kind: str, frames: list[Frame]) -> None:
    target = collection(kind, clean=cleaning.clean)
    batch = target.process(frames)
    reports = len(reported_gaps(batch))
    counts = target.counts
    counted = counts.posts + counts.ignored + len(batch.rejected) - reports + counts.overlap
    assert 0 <= len(frames) - counted <= (kind == "simulator")  # the last one may be held
    assert all(value(record) for record in batch.posts + batch.rejected)


@pytest.mark.parametrize("character", ["x", "é", "🌍", '"'], ids=["1 byte", "2 bytes", "4 bytes", "escaped"])
@pytest.mark.parametrize("over", [0, 1])
def test_post_that_kafka_would_refuse_is_rejected(character: str, over: int) -> None:
    frame = len(collection(clean=lambda _: "x").process([post(1, "x")]).posts[0].value) - 1
    most, rest = divmod(MAX_RECORD_BYTES - frame, len(json.dumps(character, ensure_ascii=False).encode()) - 2)
    target = collection(clean=lambda _: character * most + "x" * (rest + over))
    batch = target.process([post(1)])
    if over:
        assert str(MAX_RECORD_BYTES) in value(batch.rejected[0])["reason"]
        assert value(batch.rejected[0])["position"] == "1"
        assert [record.key for record in batch.posts] == ["heartbeat-0"]
        assert (target.counts.posts, target.counts.rejected) == (0, 1)
    else:
        assert len(batch.posts[0].value) == MAX_RECORD_BYTES < 1 << 20  # Kafka's own limit
        assert (batch.rejected, target.counts.posts, target.counts.rejected) == ([], 1, 0)
    assert target.progress.position == 1


def test_a_changed_post_has_its_original_a_few_times_a_second() -> None:
    """At 1,000 posts/s over two seconds; each third post is what cleaning leaves of it."""
    target = collection(clean=cleaning.clean)
    texts = {number: "calm" if number % 3 else f"#calm\n{number}" for number in range(2_000)}
    batch = target.process(post(number, text, received=CLOCK + number) for number, text in texts.items())
    found = [value(record) for record in batch.posts]
    sampled = [each for each in found if "original" in each]
    assert 30 <= len(sampled) <= 2 * 1_000 / ORIGINAL_MS
    assert {each["original"] == texts[int(each["position"])] != each["text"] for each in sampled} == {True}
    assert len(found) == 2_000


@pytest.mark.parametrize(("size", "kept"), [(MAX_RECORD_BYTES - 200, True), (MAX_RECORD_BYTES, False)])
def test_an_original_never_makes_a_record_too_large(size: int, kept: bool) -> None:
    batch = collection(clean=lambda _: "x").process([post(1, "y" * size)])
    (record,) = batch.posts
    assert (len(record.value) <= MAX_RECORD_BYTES, "original" in value(record)) == (True, kept)


# Numbers: each gap is a loss. A frame with an unexpected number waits for the next one.

Gaps = list[tuple[int, int, int]]
NUMBERS: dict[str, tuple[Shard, int | None, list[int], list[int], Gaps]] = {
    "going on": (ONE, 3, [4, 5], [4, 5], []),
    "the first ever": (ONE, None, [9, 10], [9, 10], []),
    "overlap": (ONE, 3, [1, 2, 3, 4], [4], []),
    "sent twice": (ONE, 3, [4, 4, 5, 4], [4, 5], []),
    "one missing": (ONE, 3, [5, 6], [5, 6], [(4, 4, 1)]),
    "many missing": (ONE, 3, [10, 11], [10, 11], [(4, 9, 6)]),
    "two gaps": (ONE, 0, [2, 3, 6, 7], [2, 3, 6, 7], [(1, 1, 1), (4, 5, 2)]),
    "one gap behind the other": (ONE, 0, [2, 4, 6, 7], [2, 4, 6, 7], [(1, 1, 1), (3, 3, 1), (5, 5, 1)]),
    "gap behind an overlap": (ONE, 3, [2, 3, 6, 7], [6, 7], [(4, 5, 2)]),
    "behind the gap twice": (ONE, 3, [6, 6, 3, 6, 7], [6, 7], [(4, 5, 2)]),
    "shard": (SHARD, 5, [9, 13], [9, 13], []),
    "shard's overlap": (SHARD, 9, [5, 9, 13], [13], []),
    "shard's one missing": (SHARD, 5, [13, 17], [13, 17], [(6, 12, 1)]),
    "shard's many missing": (SHARD, 5, [9, 29, 33], [9, 29, 33], [(10, 28, 4)]),
    "restored between shards": (SHARD, 7, [9, 13], [9, 13], []),
}


@pytest.mark.parametrize(("shard", "position", "sent", "out", "gaps"), NUMBERS.values(), ids=NUMBERS)
def test_numbers(shard: Shard, position: int | None, sent: list[int], out: list[int], gaps: Gaps) -> None:
    target = collection(position=position, shard=shard)
    batch = target.process(map(post, sent))
    assert keys(batch) == [str(number) for number in out]
    assert lost(batch) == gaps
    assert (target.counts.gaps, target.counts.lost) == (len(gaps), sum(size for _, _, size in gaps))
    assert (target.counts.overlap, target.counts.posts) == (len(sent) - len(out), len(out))
    assert target.resume_from == Position(out[-1])


def test_refused_feed_goes_on_from_live_and_reports_the_hole_once() -> None:
    target = collection(position=10)
    assert target.resume_from == Position(10)
    target.on_resume_rejected()
    assert target.resume_from is None
    assert restarted(target).resume_from == Position(10)  # else the gap would not be reported
    target.on_subscribed(False)
    batch = target.process([post(50), post(51)])
    assert (keys(batch), lost(batch)) == (["50", "51"], [(11, 49, 39)])
    assert (target.counts.gaps, target.counts.lost, target.resume_from) == (1, 39, Position(51))
    assert "began live" in batch.errors[0]
    assert target.process([post(52)]).errors == []


def test_a_live_answer_without_a_frame_costs_no_position() -> None:
    target = collection(position=10)
    target.on_resume_rejected()
    target.on_subscribed(False)
    assert target.resume_from == Position(10)  # for the next request: another server may have it
    target.on_subscribed(True)
    batch = target.process([post(11), post(12)])
    assert (keys(batch), batch.rejected) == (["11", "12"], [])


def test_a_live_answer_of_a_server_whose_clock_is_behind_brings_nothing_twice() -> None:
    for numbering in ("", "1a2b"):
        target = collection(numbering=numbering)
        target.process([post(number, timestamp=number * 1_000, feed=numbering) for number in range(1, 11)])
        target.on_resume_rejected()
        target.on_subscribed(False)
        batch = target.process([post(number, timestamp=number * 1_000, feed=numbering) for number in range(4, 13)])
        assert (keys(batch), batch.rejected, target.counts.overlap) == (["11", "12"], [], 7)


def test_a_numbering_without_a_name_that_begins_again_goes_on_from_there() -> None:
    target = collection()
    target.process([post(number, timestamp=number * 1_000) for number in range(1, 11)])
    target.on_resume_rejected()
    target.on_subscribed(False)
    batch = target.process([post(3, timestamp=12_000), post(4, timestamp=13_000)])
    assert (keys(batch), target.counts.overlap, target.resume_from) == (["3", "4"], 0, Position(4))
    (gap,) = reported_gaps(batch)
    assert "numbering went back" in gap.pop("reason")
    assert gap == {"numbering": "", "first": 11, "last": None, "lost": None, "rejected": 0}
    assert (len(batch.errors), target.counts.gaps, target.counts.lost, target.counts.gap_seconds) == (1, 1, 0, 2)


def test_another_numbering_is_a_hole_of_unknown_size_and_begins_at_once() -> None:
    target = collection(position=10, numbering="old1")
    target.on_resume_rejected()
    target.on_subscribed(False)
    assert keys(target.process([post(500, feed="new1", timestamp=9_000)])) == []
    assert restarted(target).resume_from == Position(10, "old1")
    batch = target.process([post(501, feed="new1", timestamp=9_000), post(502, feed="new1", timestamp=9_000)])
    assert (keys(batch), target.resume_from) == (["500", "501", "502"], Position(502, "new1"))
    (gap,) = reported_gaps(batch)
    assert "numbering" in gap.pop("reason")
    assert gap == {"numbering": "old1", "first": 11, "last": None, "lost": None, "rejected": 0}
    assert (len(batch.errors), target.counts.gaps, target.counts.lost) == (1, 1, 0)
    marker = value(batch.posts[-1])
    assert (marker["id"], marker["position"], marker["text"]) == ("heartbeat-0", "new1/502", None)


def test_the_newest_event_time_is_that_of_the_newest_numbering() -> None:
    """It shows a collector without state which numbering is the newer one."""
    target = collection()
    records = target.process([post(1, feed="old1", timestamp=9_000), post(2, feed="old1", timestamp=9_000)]).posts
    target.on_subscribed(False)
    records += target.process([post(700, feed="new1", timestamp=8_500), post(701, feed="new1", timestamp=8_500)]).posts
    newest = max(map(value, records), key=lambda record: record["timestamp"])
    assert (newest["position"], newest["timestamp"]) == ("new1/701", 9_001)
    assert [record.key for record in records if value(record) == newest] == [newest["id"]]


@pytest.mark.parametrize("position", [None, 10])
def test_the_position_of_another_feed_is_reported_and_never_used(position: int | None) -> None:
    state = FeedState("jetstream", "", position, 7_000, 8_000, ((9, "an id"),))
    target = FeedProcessor(feed("simulator"), ONE, str, state)
    assert target.resume_from is None
    target.on_subscribed(False)
    assert (target.process([Frame(b"{", True, CLOCK)]).errors, target.progress) == ([], state._replace(seen=CLOCK))
    batch = target.process([post(5, timestamp=9_500), post(6, timestamp=9_500)])
    assert keys(batch) == ["5", "6"]
    (gap,) = reported_gaps(batch)
    assert gap.pop("reason") == "lost: the state is of the jetstream feed"
    first = None if position is None else position + 1
    begin = "" if first is None else f"from position {first} on, "
    assert batch.errors[0].startswith(f"LOST: {begin}an unknown part of the jetstream feed: ")
    assert gap == {"numbering": "", "first": first, "last": None, "lost": None, "rejected": 0}
    assert (len(batch.errors), target.counts.gaps, target.counts.gap_seconds) == (1, 1, 3)
    assert target.progress == FeedState("simulator", "", 6, 9_500, 8_000, seen=CLOCK)


@pytest.mark.parametrize("source", ["simulator", "text", "jetstream"])
def test_a_first_start_reports_nothing(source: str) -> None:
    for before in (FeedState(), FeedState(source)):  # the other feed never sent anything
        target = FeedProcessor(feed("simulator"), ONE, str, before)
        assert target.process([post(5), post(6)]).rejected == []


# The frames behind position 10, the published posts, the gaps as (first, last, lost, rejected).
BOGUS, BROKEN = post(900), Frame(b"{", True, CLOCK)
Behind = tuple[list[Frame], list[int], list[tuple[int, int | None, int | None, int]]]
WRONG: dict[str, Behind] = {
    "an extra frame": ([BOGUS, post(11), post(12)], [11, 12], []),
    "a wrong number": ([BOGUS, post(12), post(13)], [12, 13], [(11, 11, 0, 1)]),
    "the next but one": ([post(12, "wrong"), post(12), post(13)], [12, 13], [(11, 11, 0, 1)]),
    "twice": ([BOGUS, BOGUS, post(11)], [11], []),
    "two in a row": ([BOGUS, post(700), post(13), post(14)], [13, 14], [(11, 12, 0, 2)]),
    "two in a row, higher": (
        [BOGUS, post(950), post(13), post(14)],
        [900, 13, 14],
        [(11, 899, 889, 0), (901, None, None, 1)],
    ),
    "a wrong number in front of a gap": ([BOGUS, post(20), post(21)], [20, 21], [(11, 19, 8, 1)]),
    "a wrong number behind a gap": ([post(20), BOGUS, post(22)], [20, 22], [(11, 19, 9, 0), (21, 21, 0, 1)]),
    "a known number": ([post(11), post(4), post(13), post(14)], [11, 13, 14], [(12, 12, 1, 0)]),
    "malformed": ([BROKEN, post(12)], [12], [(11, 11, 0, 1)]),
    "malformed twice": ([BROKEN, BROKEN, post(13), BROKEN, post(15)], [13, 15], [(11, 12, 0, 2), (14, 14, 0, 1)]),
    "malformed, no number": ([BROKEN, post(11), post(13), post(14)], [11, 13, 14], [(12, 12, 1, 0)]),
    "malformed, then a gap": ([BROKEN, post(20), post(21)], [20, 21], [(11, 19, 8, 1)]),
    "malformed behind a gap": ([post(20), BROKEN, post(22)], [20, 22], [(11, 19, 9, 0), (21, 21, 0, 1)]),
    "malformed around a wrong number": ([BROKEN, BOGUS, BROKEN, post(14)], [14], [(11, 13, 0, 3)]),
}


@pytest.mark.parametrize(("sent", "out", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_number_swallows_nothing(sent: list[Frame], out: list[int], expected: list[Any]) -> None:
    target = collection(position=10)
    batch = target.process(sent)
    assert keys(batch) == [str(number) for number in out]
    assert [(gap["first"], gap["last"], gap["lost"], gap["rejected"]) for gap in reported_gaps(batch)] == expected
    losses = [size for _, _, size, _ in expected if size != 0]
    lost_posts = sum(size or 0 for size in losses)
    assert (target.counts.gaps, target.counts.lost, len(batch.errors)) == (len(losses), lost_posts, len(losses))
    assert [gap["reason"].startswith("lost: ") for gap in reported_gaps(batch)] == [
        size != 0 for _, _, size, _ in expected
    ]


def test_what_is_rejected_before_the_first_number_explains_no_hole() -> None:
    target = collection()
    batch = target.process([BROKEN, post(5), post(7), post(8)])
    assert (keys(batch), lost(batch)) == (["5", "7", "8"], [(6, 6, 1)])


def test_the_reason_says_which_number_is_wrong() -> None:
    (rejected,) = collection(position=10).process([BOGUS, post(11)]).rejected
    assert value(rejected)["reason"] == "number 900 is ahead of what the feed sends next, 11"
    assert value(rejected)["record"] == BOGUS.data.decode()
    (rejected,) = collection(position=9, shard=SHARD).process([post(10)]).rejected
    assert value(rejected)["reason"] == "number 10 is not of shard 1/4"


def test_a_frame_behind_a_hole_that_is_sent_again_is_believed() -> None:
    target = collection(position=10)
    assert (keys(target.process([post(20)])), target.resume_from) == ([], Position(10))
    target.on_subscribed(True)
    batch = target.process([post(20)])
    assert (keys(batch), lost(batch), target.resume_from) == (["20"], [(11, 19, 9)], Position(20))
    assert (keys(target.process([post(21)])), target.counts.overlap) == (["21"], 0)


def test_a_frame_that_is_held_is_sent_again_after_a_restart() -> None:
    target = collection(position=10)
    target.process([post(11), post(20)])
    target = restarted(target)
    assert target.resume_from == Position(11)
    batch = target.process([post(20), post(21)])
    assert (keys(batch), lost(batch)) == (["20", "21"], [(12, 19, 8)])


def test_a_wrong_number_at_the_very_beginning_swallows_nothing() -> None:
    target = collection()
    target.on_subscribed(False)
    batch = target.process([BOGUS, post(12), post(13), post(14)])
    assert (keys(batch), target.resume_from) == (["900", "12", "13", "14"], Position(14))
    (gap,) = reported_gaps(batch)
    assert (gap["first"], gap["lost"]) == (901, None)


def test_an_answer_from_before_the_first_number_is_overlap() -> None:
    target = collection()
    target.on_subscribed(False)
    target.process([post(12)])
    target.on_subscribed(True)
    assert (keys(target.process(map(post, [9, 10, 11, 12, 13]))), target.counts.overlap) == (["13"], 4)


def test_gap_seconds_are_the_feeds_time_in_the_holes_rounded_up() -> None:
    target = collection()
    target.process([post(1, timestamp=10_000), post(3, timestamp=12_001), post(4, timestamp=12_001)])
    assert target.counts.gap_seconds == 3
    target.process([post(7, timestamp=12_001), post(8, timestamp=12_002)])
    assert target.counts.gap_seconds == 4


EARLIER = FeedState("simulator", "1a2b", 6, 0, 0, ((9, "0/3"), (8, "2/3")))


@AGAIN
def test_numbers_that_an_earlier_division_has_taken_are_overlap(again: Again) -> None:
    target = again(FeedProcessor(feed("simulator"), ONE, str, EARLIER))
    batch = target.process([post(number, feed="1a2b") for number in range(7, 9)])
    assert (keys(batch), target.counts.overlap, batch.rejected) == (["7"], 1, [])
    target = again(target)
    batch = target.process([post(number, feed="1a2b") for number in range(9, 12)])
    assert (keys(batch), batch.rejected, target.progress.recent) == (["10", "11"], [], ())


def test_a_hole_among_numbers_that_an_earlier_division_has_taken() -> None:
    target = FeedProcessor(feed("simulator"), ONE, str, EARLIER)
    batch = target.process([post(number, feed="1a2b") for number in (11, 12)])
    assert (keys(batch), lost(batch)) == (["11", "12"], [(7, 10, 2)])


# Timestamps: the feed resumes before the last position, and sends some posts twice.


def cursor(target: FeedProcessor) -> int:
    """The timestamp from which the feed resumes."""
    url = target.feed.request("wss://a", target.resume_from, ONE, str).url
    (moment,) = parse_qs(urlsplit(url).query)["cursor"]
    return int(moment)


@AGAIN
def test_events_sent_again_are_dropped(again: Again) -> None:
    events = [event(T + n * SECOND, f"p{n}", operation="delete" if n == 3 else "create") for n in range(7)]
    target = collection("jetstream")
    assert keys(target.process(events[:5])) == ["p0", "p1", "p2", "p4"]
    assert (target.counts.posts, target.counts.ignored) == (4, 1)
    target = again(target)
    before = target.counts.overlap
    batch = target.process(events[1:])
    assert (keys(batch), batch.errors, target.counts.overlap - before) == (["p5", "p6"], [], 3)


@AGAIN
@pytest.mark.parametrize("operation", ["create", "delete"])
@pytest.mark.parametrize(("later", "known"), [(0, True), (2 * OVERLAP, True), (2 * OVERLAP + 1, False)])
def test_ids_are_forgotten_after_twice_the_overlap(again: Again, operation: str, later: int, known: bool) -> None:
    target = collection("jetstream")
    target.process([event(T, "old"), event(T + later, "new", operation=operation)])
    target = again(target)
    assert ("old" in [identity[-3:] for _, identity in target.progress.recent]) == known
    assert keys(target.process([event(T, "old")])) == []  # known, or from before the moment that was asked for


@AGAIN
@pytest.mark.parametrize("operation", ["create", "delete"])
@pytest.mark.parametrize(("first", "gaps"), [(-OVERLAP, []), (0, []), (SECOND, []), (SECOND + 1, [SECOND + 1])])
def test_gap_shows_in_the_first_event_of_the_answer(again: Again, operation: str, first: int, gaps: list[int]) -> None:
    target = collection("jetstream")
    target.process([event(T, "seen")])
    target = again(target)
    batch = target.process([event(T + first, "first", operation=operation)])
    assert lost(batch) == [(T, T + first, size) for size in gaps]
    assert (target.counts.gaps, target.counts.lost) == (len(gaps), sum(gaps))
    assert target.process([event(T + 7200 * SECOND, "after a quiet hour")]).errors == []


def test_refused_time_feed_goes_on_from_live() -> None:
    target = collection("jetstream", T)
    target.on_resume_rejected()
    assert target.resume_from is None  # live, from now on
    target.on_subscribed(False)
    batch = target.process([event(T + 60 * SECOND, "a"), event(T + 61 * SECOND, "b")])
    ((_, _, size),) = lost(batch)
    assert size == pytest.approx(60 * SECOND, abs=1)
    assert (keys(batch), target.counts.gaps, target.progress.position) == (["a", "b"], 1, T + 61 * SECOND)


def test_refused_time_feed_with_a_slower_clock_leaves_a_hole_of_unknown_size() -> None:
    target = collection("jetstream", T)
    target.on_resume_rejected()
    target.on_subscribed(False)
    batch = target.process([event(T - SECOND, "a"), event(T + SECOND, "b")])
    (gap,) = reported_gaps(batch)
    assert (keys(batch), gap["first"], gap["lost"], len(batch.errors)) == (["a", "b"], T, None, 1)


@AGAIN
@pytest.mark.parametrize("back", [OVERLAP + 1, 2 * OVERLAP + 1, 3600 * SECOND])
def test_what_comes_from_before_the_moment_asked_for_is_overlap(again: Again, back: int) -> None:
    target = collection("jetstream")
    target.process([event(T - n * SECOND, f"p{n}") for n in range(3600, -1, -1)])
    target = again(target)
    assert len(target.progress.recent) == 11
    resent = [event(T - n * SECOND, f"p{n}") for n in range(back // SECOND, -1, -1)]
    batch = target.process([*resent, event(T + SECOND, "new"), event(T - back, "late")])
    assert (keys(batch), batch.errors) == (["new", "late"], [])  # the feed may well be out of order from there on


@pytest.mark.parametrize("operation", ["create", "delete"])
def test_a_time_ahead_of_the_clock_moves_nothing(operation: str) -> None:
    target = collection("jetstream")
    clock = T // 1000 + 5_000
    target.process([event(T, "a", received=clock)])
    wrong = event((clock + MAX_AHEAD_MS) * 1000 + 1, "wrong", operation=operation, received=clock)
    batch = target.process([wrong, event(T + SECOND, "b", received=clock)])
    assert (keys(batch), batch.errors) == (["wrong", "b"] if operation == "create" else ["b"], [])
    assert target.progress.position == T + SECOND
    assert target.progress.timestamp == (clock if operation == "create" else T // 1000 + 1_000)
    target.on_subscribed(True)
    batch = target.process([event(T, "a"), wrong, event(T + SECOND, "b"), event(T + 2 * SECOND, "c")])
    assert (keys(batch), batch.errors) == (["c"], [])


def test_a_time_far_ahead_is_written_with_the_arrival_and_without_its_position() -> None:
    target = collection("jetstream")
    clock = T // 1000 + 5_000
    ahead = T + 3600 * SECOND
    frames = [event(ahead, "a", received=clock), event(T, "b"), event(ahead, "c", received=clock)]
    first, second, third = target.process(frames).posts
    assert (value(first)["timestamp"], value(first)["stamp"]) == (clock, ahead // 1000)
    assert "position" not in value(first)
    assert (value(second)["position"], value(third)["position"]) == (f"{T}", f"{T}")
    assert (target.counts.ahead, target.progress.position) == (2, T)


def test_a_clock_a_little_ahead_moves_the_position_no_further_than_the_arrival() -> None:
    target = collection("jetstream")
    clock = T // 1000
    target.process([event(T - SECOND, "a", received=clock), event(T + 30 * SECOND, "b", received=clock)])
    assert (target.progress.position, target.counts.ahead) == (T, 1)
    target.on_subscribed(True)
    resent = [event(T - SECOND, "a"), event(T + 30 * SECOND, "b"), event(T + SECOND, "c")]
    assert (keys(target.process(resent)), target.progress.position) == (["c"], T + SECOND)


def test_a_live_answer_that_begins_with_a_known_post_has_no_hole() -> None:
    target = collection("jetstream")
    target.process([event(T, "a"), event(T + SECOND, "b")])
    target.on_resume_rejected()
    target.on_subscribed(False)
    batch = target.process([event(T + SECOND, "b"), event(T + 9 * SECOND, "c")])
    assert (keys(batch), batch.errors) == (["c"], [])


def test_ids_that_never_grow_old_are_bounded() -> None:
    target = collection("jetstream", T)
    ahead = [event(T + 3600 * SECOND, f"p{n}", received=T // 1000) for n in range(300)]
    for n in range(0, 300, 100):
        target.process(ahead[n : n + 100])
    assert len(target.progress.recent) == 300
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "MAX_RECENT", 250)
        assert keys(target.process(ahead[250:])) == []
        assert [identity[-4:] for _, identity in target.progress.recent][:1] == ["/p50"]


# Whatever happens, each post comes out once.

STEPS = st.lists(st.tuples(st.sampled_from(["send", "keep", "reconnect", "restart"]), st.integers(0, 5)), max_size=30)


def drive(
    target: FeedProcessor,
    steps: list[tuple[str, int]],
    live: int,
    frame: Callable[[int], Frame],
    answer: Callable[[FeedProcessor, int], int],
) -> tuple[list[int], int]:
    """Send frames from number `live` on, with a disconnect; `answer`: with which frame the feed resumes then.

    A restart forgets what came out after the last checkpoint, as Kafka's transactions do. Returns what came out, and
    the number that would be sent next.
    """
    out: list[int] = []
    kept, kept_out = restarted(target), 0
    for step, amount in [*steps, ("reconnect", 2), ("send", 50)]:
        if step == "send":
            batch = target.process(map(frame, range(live, live + amount)))
            assert batch.errors == []
            out += map(int, keys(batch))
            live += amount
        elif step == "keep":
            kept, kept_out = restarted(target), len(out)
        else:
            if step == "restart":
                target = restarted(kept)
                del out[kept_out:]
            target.on_subscribed(target.resume_from is not None)
            if target.resume_from is not None:
                live = answer(target, amount)
    return out, live


@settings(max_examples=examples(200), deadline=None)
@given(STEPS, st.integers(1, 3), st.integers(0, 2), st.integers(0, 3))
def test_each_number_comes_out_once_and_in_order(steps: list[tuple[str, int]], of: int, shard: int, start: int) -> None:
    first = shard % of  # frame n of this shard has the number first + n * of

    def resend_some_more(target: FeedProcessor, more: int) -> int:
        assert target.resume_from is not None
        return max(0, (target.resume_from.number - first) // of + 1 - more)

    target = collection(shard=Shard(first, of))
    out, live = drive(target, steps, start, lambda n: post(first + n * of), resend_some_more)
    assert out == list(range(out[0], first + live * of, of))


@settings(max_examples=examples(200), deadline=None)
@given(STEPS, st.lists(st.integers(250, 1_000), min_size=1), st.lists(st.integers(-2_000, 2_000), min_size=1))
def test_each_event_comes_out_once(steps: list[tuple[str, int]], pauses: list[int], clocks: list[int]) -> None:
    """Each connection is to another server, whose clock stamps all events differently."""
    moments = list(itertools.accumulate((1_000 * pause for pause in (pauses * 300)[:300]), initial=T))
    clock, next_clock = 0, itertools.cycle(clocks)

    def answer(target: FeedProcessor, _: int) -> int:
        nonlocal clock
        clock = 1_000 * next(next_clock)
        return next(n for n, moment in enumerate(moments) if moment + clock >= cursor(target))

    out, live = drive(collection("jetstream"), steps, 50, lambda n: event(moments[n] + clock, f"{n}"), answer)
    assert len(set(out)) == len(out)
    # The answer begins before the first post that was taken live, so some older ones may come as well.
    assert sorted(n for n in out if n >= out[0]) == list(range(out[0], live))


# A frame too large to be received, and event time while nothing comes.


@pytest.mark.parametrize(("shard", "position", "following"), [(ONE, 5, 7), (SHARD, 5, 13)])
def test_skipped_number(shard: Shard, position: int, following: int) -> None:
    target = collection(position=position, shard=shard)
    (rejected,) = target.skip("a frame larger than 9 bytes").rejected
    reason = f"a frame larger than 9 bytes, after position {position}"
    skipped = following - shard.of
    assert value(rejected) == {
        "code": "too_large",
        "reason": reason,
        "source": "simulator",
        "server": "ws://a",
        "time": 0,
        "record": "",
        "bytes": 0,
        "position": f"{skipped}",
        "frame": "",
    }
    target.on_subscribed(True)
    assert target.resume_from == Position(skipped)
    batch = target.process([post(following)])
    assert (keys(batch), batch.errors) == ([str(following)], [])
    assert (target.counts.rejected, target.counts.gaps) == (1, 0)


def test_a_frame_too_large_has_no_number_while_nobody_knows_the_last_one() -> None:
    target = collection(position=10)
    target.process([post(20)])  # held
    batch = target.skip("a frame larger than 9 bytes")
    assert (value(batch.rejected[0])["position"], target.resume_from) == (None, Position(10))
    target.on_subscribed(True)
    target.process([post(20)])
    batch = target.skip("a frame larger than 9 bytes")
    assert (value(batch.rejected[0])["position"], target.resume_from) == ("21", Position(21))
    target.on_subscribed(False)
    batch = target.skip("a frame larger than 9 bytes")
    assert (value(batch.rejected[0])["position"], target.resume_from) == (None, Position(21))


def test_a_frame_too_large_that_comes_again_and_again_doubles_nothing() -> None:
    target = collection("jetstream")
    target.process([event(T, "a", received=T // 1000)])
    for _ in range(5):
        target.skip("a frame larger than 9 bytes", T // 1000)
        target.on_subscribed(True)
    target.on_subscribed(False)
    again = [event(T + SECOND, "b", received=T // 1000 + 1_000)]
    assert (keys(target.process(again)), keys(target.process(again))) == (["b"], [])


def test_skipped_moments_are_reported_and_not_asked_for_again() -> None:
    target = collection("jetstream", T)
    for skips in (1, 2):
        known = target.progress.position
        batch = target.skip("a frame larger than 9 bytes")
        target.on_subscribed(True)
        ((first, last, size),) = lost(batch)
        assert (first, last) == (known, first + size)
        assert first < cursor(target) <= last
        assert "a frame larger than 9 bytes" in value(batch.rejected[0])["reason"]
        assert (target.counts.gaps, target.counts.lost, target.counts.rejected) == (skips, skips * size, skips)
    batch = target.process([event(cursor(target), "a")])
    assert (keys(batch), batch.errors) == (["a"], [])


@pytest.mark.parametrize("kind", RECORDS)
def test_skip_before_the_first_frame(kind: str) -> None:
    target = collection(kind)
    batch = target.skip("a frame larger than 9 bytes")
    assert (len(batch.rejected), batch.posts, batch.errors, target.resume_from) == (1, [], [], None)
    assert value(batch.rejected[0])["position"] is None


BEATS = ["beat-0", "beat-7"]


def beats(records: list[Record]) -> list[tuple[str, int]]:
    """Id and event time of each heartbeat among the records."""
    found = [(record.key, value(record)) for record in records]
    assert all(key == record["id"] for key, record in found if record["text"] is None)
    return [(key, record["timestamp"]) for key, record in found if record["text"] is None]


def test_no_heartbeat_before_the_first_post() -> None:
    target = collection("jetstream")
    target.heartbeat_keys = BEATS
    assert target.heartbeat(CLOCK, 60_000) == []
    target.process([Frame(b"{", True, CLOCK), event(T, "like", operation="delete")])
    assert target.heartbeat(CLOCK, 60_000) == []


LAG = HEARTBEAT_LAG_MS


@AGAIN
@pytest.mark.parametrize(
    ("quiet_ms", "later"), [(None, -1_000), (-1, 0), (0, 0), (LAG, 0), (LAG + 1, 1), (LAG + 60_000, 60_000)]
)
def test_heartbeat(again: Again, quiet_ms: int | None, later: int) -> None:
    target = collection(clean=lambda text: text.replace("#", ""))
    target.process([post(1, timestamp=6_000), post(2, "#", timestamp=7_000), post(3, timestamp=5_000)])
    assert target.progress.heartbeat_time == 6_000 - OUT_OF_ORDER_MS
    target = again(target)
    target.heartbeat_keys = BEATS
    target.heartbeat(6_000, 0)
    timestamp = 7_000 + later
    expected = {"text": None, "timestamp": timestamp, "source": "simulator", "position": "3", "shard": "0/1"}
    records = [(record.key, value(record)) for record in target.heartbeat(CLOCK, quiet_ms)]
    assert records == [("beat-0", {"id": "beat-0", **expected}), ("beat-7", {"id": "beat-7", **expected})]
    assert target.progress.heartbeat_time == timestamp


def test_a_heartbeat_of_a_named_numbering_and_of_a_feed_without_positions() -> None:
    target = collection(position=9, shard=SHARD, numbering="1a2b")
    target.heartbeat_keys = ["beat-0"]
    target.process([post(13, feed="1a2b")])
    (record,) = map(value, target.heartbeat(CLOCK, None))
    assert (record["position"], record["shard"]) == ("1a2b/13", "1/4")
    target = collection("text")
    target.heartbeat_keys = ["beat-0"]
    target.process([Frame(b"one", True, CLOCK)])
    (record,) = map(value, target.heartbeat(CLOCK, None))
    assert "position" not in record


def test_a_heartbeat_is_repeated_and_never_ahead_of_the_clock() -> None:
    target = collection()
    target.heartbeat_keys = ["beat-0"]
    target.process([post(1, timestamp=50_000)])
    moments = [(55_000, 4_000), (56_000, None), (52_000, 90_000), (40_000, None), (56_000, None), (58_000, 90_000)]
    found = [beats(target.heartbeat(now, quiet)) for now, quiet in moments]
    assert found == [[("beat-0", at)] for at in (52_000, 52_000, 52_000, 40_000, 52_000, 58_000)]


def test_the_promise_stands_while_a_frame_is_held() -> None:
    target = collection()
    target.heartbeat_keys = ["beat-0"]
    target.process([post(1, timestamp=50_000), post(5, timestamp=60_000)])
    assert beats(target.heartbeat(90_000, 30_000)) == [("beat-0", 49_000)]
    target.process([post(6, timestamp=60_000)])
    assert beats(target.heartbeat(90_000, 30_000)) == [("beat-0", 60_000 + 30_000 - LAG)]


def test_a_promise_outlives_a_restart() -> None:
    target = collection()
    target.heartbeat_keys = ["beat-0"]
    target.process([post(1, timestamp=50_000)])
    target.heartbeat(90_000, 30_000)
    target = restarted(target)
    target.heartbeat_keys = ["beat-0"]
    assert beats(target.heartbeat(90_000, None)) == [("beat-0", 50_000 + 30_000 - LAG)]


def test_heartbeats_follow_event_time_in_a_catch_up() -> None:
    target = collection()
    target.heartbeat_keys = BEATS
    target.process([post(1, timestamp=50_000)])
    stamps = [50_500, 50_000 - OUT_OF_ORDER_MS + HEARTBEAT_STEP_MS - 1, 54_000, 54_001, 90_000, 58_000]
    records = target.process([post(number, timestamp=at) for number, at in enumerate(stamps, start=2)]).posts
    at_54, at_90 = 54_000 - OUT_OF_ORDER_MS, 90_000 - OUT_OF_ORDER_MS
    found = [value(record)["timestamp"] for record in records]
    # The last one is more than MAX_BEHIND_MS older than the newest heartbeat.
    assert found == [50_500, 53_999, at_54, at_54, 54_000, 54_001, at_90, at_90, 90_000, at_90]
    assert beats(records) == [("beat-0", at_54), ("beat-7", at_54), ("beat-0", at_90), ("beat-7", at_90)]


@given(st.lists(st.integers(1, MAX_TIMESTAMP), min_size=1), st.integers(-(10**9), 10**9))
def test_heartbeats_are_never_older_than_the_newest_post(timestamps: list[int], quiet_ms: int) -> None:
    target = collection()
    target.heartbeat_keys = ["heartbeat-0"]
    target.process([post(number, timestamp=at, received=MAX_TIMESTAMP) for number, at in enumerate(timestamps)])
    (record,) = target.heartbeat(MAX_TIMESTAMP, quiet_ms)
    newest = target.progress.timestamp
    assert max(timestamps) <= newest <= value(record)["timestamp"] <= newest + max(0, quiet_ms)


# Stamps: none ahead of the clock, none far behind the newest heartbeat.
PROMISE = 500_000
STAMPS = {
    "in order": (PROMISE + 1, PROMISE + 2_000, PROMISE + 1, (0, 0)),
    "as late as is kept": (PROMISE - MAX_BEHIND_MS, PROMISE + 2_000, PROMISE - MAX_BEHIND_MS, (0, 0)),
    "later": (PROMISE - MAX_BEHIND_MS - 1, PROMISE + 2_000, PROMISE, (0, 1)),
    "long ago": (0, PROMISE + 2_000, PROMISE, (0, 1)),
    "now": (PROMISE + 2_000, PROMISE + 2_000, PROMISE + 2_000, (0, 0)),
    "ahead": (PROMISE + 2_001, PROMISE + 2_000, PROMISE + 2_000, (1, 0)),
    "year 9999": (MAX_TIMESTAMP, PROMISE + 2_000, PROMISE + 2_000, (1, 0)),
    "later, and the clock went back": (0, PROMISE - 9, PROMISE - 9, (0, 1)),
    "ahead, and the clock went back": (PROMISE, 9, 9, (1, 0)),
}


@pytest.mark.parametrize(("stamp", "clock", "expected", "counts"), STAMPS.values(), ids=STAMPS)
def test_stamps(stamp: int, clock: int, expected: int, counts: tuple[int, int]) -> None:
    state = FeedState("simulator", "", 1, PROMISE, PROMISE)
    target = FeedProcessor(feed("simulator"), ONE, str, state)
    target.heartbeat_keys = ["beat-0"]
    (record,) = map(value, target.process([post(2, timestamp=stamp, received=clock)]).posts)
    assert record["timestamp"] == expected
    assert record.get("stamp") == (stamp if any(counts) else None)
    assert (target.counts.ahead, target.counts.behind) == counts
    assert target.progress.timestamp == max(PROMISE, expected)


def test_the_keys_of_posts_take_turns() -> None:
    target = collection()
    target.keys = ["k0", "k1", "k2"]
    target.heartbeat_keys = ["beat-0"]
    records = target.process(map(post, range(1, 6))).posts
    assert [record.key for record in records] == ["beat-0", "k0", "k1", "k2", "k0", "k1"]
    target.keys = ["k3"]
    assert [record.key for record in target.process([post(6), post(7)]).posts] == ["k3", "k3"]
    target.keys = None
    assert [record.key for record in target.process([post(8)]).posts] == ["simulator-8"]


MARKED = {
    "a post last": ([post(3, "#"), post(4)], None),
    "emptied last": ([post(3), post(4, "#")], "4"),
    "only emptied": ([post(3, "#")], "3"),
    "malformed last": ([post(3), Frame(b"{", True, CLOCK)], None),
    "emptied, malformed": ([post(3, "#"), Frame(b"{", True, CLOCK)], "3"),
    "emptied behind a gap": ([post(7, "#"), post(8, "#")], "8"),
    "known": ([post(2, "#")], None),
}


def test_a_marker_in_front_of_all_posts_has_their_event_time() -> None:
    target = collection(clean=lambda text: text.replace("#", ""))
    target.heartbeat_keys = ["beat-3"]
    records = target.process([post(1, "#", timestamp=50_000)]).posts
    records += target.process([post(2, timestamp=50_100)]).posts + target.heartbeat(60_000, None)
    assert beats(records) == [("beat-3", 50_000), ("beat-3", 50_000)]


@pytest.mark.parametrize(("sent", "position"), MARKED.values(), ids=MARKED)
def test_the_topic_holds_the_newest_position_that_is_written_down(sent: list[Frame], position: str | None) -> None:
    target = collection(position=2, clean=lambda text: text.replace("#", ""))
    markers = [record for record in map(value, target.process(sent).posts) if record["text"] is None]
    assert [marker["position"] for marker in markers] == ([] if position is None else [position])
    target.heartbeat_keys = ["beat-3"]
    assert [record.key for record in target.skip("a frame larger than 9 bytes").posts] == ["beat-3"]


def test_a_refusal_before_the_first_post_loses_nothing() -> None:
    target = collection()
    target.on_resume_rejected()
    target.on_subscribed(False)
    batch = target.process([post(5), post(6)])
    assert (keys(batch), batch.errors, target.resume_from) == (["5", "6"], [], Position(6))


def test_a_refusal_with_shards_counts_only_the_shards_own_posts() -> None:
    target = collection(position=8, shard=Shard(0, 4))
    target.on_resume_rejected()
    target.on_subscribed(False)
    assert lost(target.process([post(48), post(52)])) == [(9, 47, 9)]


def test_a_rejected_frame_is_cut_at_a_character() -> None:
    batch = collection().process([Frame(("あ" * 9_000).encode(), True, 0)])
    assert value(batch.rejected[0])["record"] == "あ" * 8_192
