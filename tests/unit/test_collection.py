"""From frames to records: what comes out, what is dropped as known, what is reported as lost, what is refused."""

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

from jobs import cleaning
from jobs.collection import HEARTBEAT_LAG_MS, MAX_RECORD_BYTES, Batch, Collection, Frame, Progress, Record
from jobs.feeds import MAX_TIMESTAMP, JetstreamFeed, Shard, make_feed

SECOND = 1_000_000
T = 1_767_225_600 * SECOND  # a moment in microseconds
OVERLAP = JetstreamFeed.overlap
ONE, SHARD = Shard(), Shard(1, 4)


def post(number: int, text: str = "a post", timestamp: int = 5_000) -> Frame:
    """A frame of the simulator."""
    return Frame(json.dumps({"seq": number, "timestamp": timestamp, "text": text}).encode(), True, 0)


def event(time_us: int, rkey: str, text: str = "a post", operation: str = "create") -> Frame:
    """A frame of Jetstream."""
    commit = {"operation": operation, "collection": "app.bsky.feed.post", "rkey": rkey, "record": {"text": text}}
    data = {"did": "did:plc:someone", "time_us": time_us, "kind": "commit", "commit": commit}
    return Frame(json.dumps(data).encode(), True, 0)


def collection(
    kind: str = "simulator",
    position: int | None = None,
    shard: Shard = ONE,
    clean: Callable[[str], str] = str,
) -> Collection:
    ids = itertools.count(1)
    return Collection(make_feed(kind, lambda: f"id{next(ids)}"), shard, clean, Progress(position))


def restarted(old: Collection) -> Collection:
    """A new one that goes on from what Flink kept: `Progress` as a plain tuple, pickled."""
    kept = pickle.loads(pickle.dumps(tuple(old.progress)))
    return Collection(old.feed, old.shard, str, Progress(*kept))


def reconnected(old: Collection) -> Collection:
    old.asked()
    return old


Again = Callable[[Collection], Collection]
AGAIN = pytest.mark.parametrize("again", [reconnected, restarted])


def keys(batch: Batch) -> list[str]:
    """The posts' own names or numbers."""
    return [re.split("[-/]", record.key)[-1] for record in batch.posts]


def value(record: Record) -> dict[str, Any]:
    """A record's value, which must be a JSON object in one line of UTF-8."""
    assert "\n" not in record.value.encode().decode()
    return dict(json.loads(record.value))


def lost(batch: Batch) -> list[tuple[int, int, int]]:
    """The first and last position and the size that each error line tells."""
    units = r"simulator feed \((?P<size>\d+) posts\)", r"jetstream feed \((?P<size>\d+) microseconds\)"
    lines = [re.compile(rf"LOST: positions (?P<first>\d+) to (?P<last>\d+) of the {unit}: .+") for unit in units]
    found = [match for error in batch.errors for line in lines if (match := line.fullmatch(error))]
    assert len(found) == len(batch.errors)
    return [(int(match["first"]), int(match["last"]), int(match["size"])) for match in found]


X, Y = "at://did:plc:someone/app.bsky.feed.post/x", 'at://did:plc:someone/app.bsky.feed.post/y"\\\n'
NOW = T // 1000
# frames with the texts "one" and "two"; id and timestamp of each; where the feed stands then
RECORDS = {
    "simulator": (
        [post(3, "one", 20), post(4, "two", 10)],
        [("simulator-3", 20), ("simulator-4", 10)],
        Progress(4, 20),
    ),
    "text": (
        [Frame(b"one", True, 20), Frame(b"two", True, 10)],
        [("text-id1", 20), ("text-id2", 10)],
        Progress(None, 20),
    ),
    "jetstream": (
        [event(T + 2_999, "x", "one"), event(T, 'y"\\\n', "two")],
        [(X, NOW + 2), (Y, NOW)],
        Progress(T + 2_999, NOW + 2, ((T + 2_999, X), (T, Y))),
    ),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_posts_become_records_in_order(kind: str) -> None:
    frames, expected, progress = RECORDS[kind]
    target = collection(kind)
    records = target.take(frames).posts
    assert [record.key for record in records] == [key for key, _ in expected]
    assert [value(record) for record in records] == [
        {"id": key, "text": text, "timestamp": timestamp, "source": kind}
        for (key, timestamp), text in zip(expected, ("one", "two"), strict=True)
    ]
    assert (target.counts.posts, target.progress) == (2, progress)


def test_batches_add_up() -> None:
    target = collection(position=0)
    batch = target.take([post(2), Frame(b"{", True, 0)])
    batch.add(target.take([post(4), Frame(b"[", True, 0)]))
    assert (keys(batch), lost(batch)) == (["2", "4"], [(1, 1, 1), (3, 3, 1)])
    assert [value(record)["record"] for record in batch.rejected] == ["{", "["]


@given(st.text(min_size=1))
def test_every_text_arrives_as_it_is(text: str) -> None:
    (record,) = collection().take([post(1, text)]).posts
    assert value(record) == {"id": "simulator-1", "text": text, "timestamp": 5_000, "source": "simulator"}


def test_what_cleaning_empties_is_counted_and_passed_over() -> None:
    target = collection(clean=lambda text: text.replace("#", ""))
    assert keys(target.take([post(1, "#"), post(2, "#a"), post(3, "")])) == ["2"]
    assert (target.counts.emptied, target.counts.posts, target.progress.position) == (2, 1, 3)


REJECTED = {
    "malformed": (Frame(b'{"seq": "1"}', True, 0), "seq", '{"seq": "1"}', 12),
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
    batch = target.take([post(1), frame, post(2)])
    (rejected,) = map(value, batch.rejected)
    assert reason in rejected.pop("reason")
    assert rejected == {"source": "simulator", "record": shown, "bytes": size}
    assert (keys(batch), target.counts.rejected, batch.errors) == (["1", "2"], 1, [])


# With lone surrogates in the texts, which UTF-8 cannot tell but JSON can.
ANY_POSTS = st.builds(lambda number, text: post(number, text).data, st.integers(0, 9), st.text(st.characters()))


@pytest.mark.parametrize("kind", RECORDS)
@given(frames=st.lists(st.builds(Frame, st.binary() | ANY_POSTS, st.booleans(), st.just(0))))
def test_nothing_that_is_sent_raises(kind: str, frames: list[Frame]) -> None:
    target = collection(kind, clean=cleaning.clean)
    batch = target.take(frames)
    dropped = target.counts.emptied + target.counts.overlap
    assert len(batch.posts) + len(batch.rejected) + dropped == len(frames)
    assert all(value(record) for record in batch.posts + batch.rejected)


@pytest.mark.parametrize("character", ["x", "é", "🌍", '"'], ids=["1 byte", "2 bytes", "4 bytes", "escaped"])
@pytest.mark.parametrize("over", [0, 1])
def test_post_that_kafka_would_refuse_is_rejected(character: str, over: int) -> None:
    frame = len(collection(clean=lambda _: "x").take([post(1)]).posts[0].value) - 1
    most, rest = divmod(MAX_RECORD_BYTES - frame, len(json.dumps(character, ensure_ascii=False).encode()) - 2)
    target = collection(clean=lambda _: character * most + "x" * (rest + over))
    batch = target.take([post(1)])
    if over:
        assert str(MAX_RECORD_BYTES) in value(batch.rejected[0])["reason"]
        assert (batch.posts, target.counts.posts, target.counts.rejected) == ([], 0, 1)
    else:
        assert len(batch.posts[0].value.encode()) == MAX_RECORD_BYTES < 1 << 20  # Kafka's own limit
        assert (batch.rejected, target.counts.posts, target.counts.rejected) == ([], 1, 0)
    assert target.progress.position == 1


# Numbers: each hole is a loss.

Gaps = list[tuple[int, int, int]]
NUMBERS: dict[str, tuple[Shard, int | None, list[int], list[int], Gaps]] = {
    "going on": (ONE, 3, [4, 5], [4, 5], []),
    "the first ever": (ONE, None, [9, 10], [9, 10], []),
    "overlap": (ONE, 3, [1, 2, 3, 4], [4], []),
    "sent twice": (ONE, 3, [4, 4, 5, 4], [4, 5], []),
    "one missing": (ONE, 3, [5], [5], [(4, 4, 1)]),
    "many missing": (ONE, 3, [10, 11], [10, 11], [(4, 9, 6)]),
    "two holes": (ONE, 0, [2, 3, 6], [2, 3, 6], [(1, 1, 1), (4, 5, 2)]),
    "hole behind an overlap": (ONE, 3, [2, 3, 6], [6], [(4, 5, 2)]),
    "shard": (SHARD, 5, [9, 13], [9, 13], []),
    "shard's overlap": (SHARD, 9, [5, 9, 13], [13], []),
    "shard's one missing": (SHARD, 5, [13], [13], [(6, 12, 1)]),
    "shard's many missing": (SHARD, 5, [9, 29], [9, 29], [(10, 28, 4)]),
}


@pytest.mark.parametrize(("shard", "position", "sent", "out", "gaps"), NUMBERS.values(), ids=NUMBERS)
def test_numbers(shard: Shard, position: int | None, sent: list[int], out: list[int], gaps: Gaps) -> None:
    target = collection(position=position, shard=shard)
    batch = target.take(map(post, sent))
    assert keys(batch) == [str(number) for number in out]
    assert lost(batch) == gaps
    assert (target.counts.gaps, target.counts.lost) == (len(gaps), sum(size for _, _, size in gaps))
    assert (target.counts.overlap, target.counts.posts) == (len(sent) - len(out), len(out))
    assert target.resume_from == out[-1]


def test_refused_feed_goes_on_from_live_and_reports_the_hole_once() -> None:
    target = collection(position=10)
    assert target.resume_from == 10
    target.refused()
    target.asked()
    assert target.resume_from is None
    assert restarted(target).resume_from == 10  # the hole would be forgotten else
    batch = target.take([post(50), post(51)])
    assert (keys(batch), lost(batch)) == (["50", "51"], [(11, 49, 39)])
    assert (target.counts.gaps, target.counts.lost, target.resume_from) == (1, 39, 51)
    assert "refused" in batch.errors[0]
    assert target.take([post(52)]).errors == []


def test_numbering_that_goes_back_goes_on_from_there() -> None:
    target = collection(position=10)
    target.refused()
    batch = target.take([post(3), post(4)])
    assert (keys(batch), target.counts.overlap, target.resume_from) == (["3", "4"], 0, 4)
    assert (len(batch.errors), target.counts.gaps) == (1, 1)
    assert "numbering went back" in batch.errors[0]


# Moments: the feed is asked again from a while back, and sends some posts twice.


def cursor(target: Collection) -> int:
    """The moment from which the feed is asked."""
    (moment,) = parse_qs(urlsplit(target.feed.url("wss://a", target.resume_from, ONE)).query)["cursor"]
    return int(moment)


@AGAIN
def test_events_sent_again_are_dropped(again: Again) -> None:
    events = [event(T + n * SECOND, f"p{n}", operation="delete" if n == 3 else "create") for n in range(7)]
    target = collection("jetstream")
    assert keys(target.take(events[:5])) == ["p0", "p1", "p2", "p4"]
    assert (target.counts.posts, target.counts.ignored) == (4, 1)
    target = again(target)
    before = target.counts.overlap
    batch = target.take(events[1:])
    assert (keys(batch), batch.errors, target.counts.overlap - before) == (["p5", "p6"], [], 3)


@AGAIN
@pytest.mark.parametrize("operation", ["create", "delete"])
@pytest.mark.parametrize(("later", "out"), [(0, []), (2 * OVERLAP, []), (2 * OVERLAP + 1, ["old"])])
def test_ids_are_forgotten_after_twice_the_overlap(again: Again, operation: str, later: int, out: list[str]) -> None:
    target = collection("jetstream")
    target.take([event(T, "old"), event(T + later, "new", operation=operation)])
    assert keys(again(target).take([event(T, "old")])) == out


@AGAIN
@pytest.mark.parametrize("operation", ["create", "delete"])
@pytest.mark.parametrize(("first", "gaps"), [(-OVERLAP, []), (0, []), (SECOND, []), (SECOND + 1, [SECOND + 1])])
def test_gap_shows_in_the_first_event_of_the_answer(again: Again, operation: str, first: int, gaps: list[int]) -> None:
    target = collection("jetstream")
    target.take([event(T, "seen")])
    target = again(target)
    batch = target.take([event(T + first, "first", operation=operation)])
    assert lost(batch) == [(T, T + first, size) for size in gaps]
    assert (target.counts.gaps, target.counts.lost) == (len(gaps), sum(gaps))
    assert target.take([event(T + 7200 * SECOND, "after a quiet hour")]).errors == []


def test_refused_time_feed_goes_on_from_live() -> None:
    target = collection("jetstream", T)
    target.refused()
    target.asked()
    assert target.resume_from is None  # live, from now on
    batch = target.take([event(T + 60 * SECOND, "a"), event(T + 61 * SECOND, "b")])
    ((_, _, size),) = lost(batch)
    assert size == pytest.approx(60 * SECOND, abs=1)
    assert (keys(batch), target.counts.gaps, target.progress.position) == (["a", "b"], 1, T + 61 * SECOND)


# Whatever happens, each post comes out once.

STEPS = st.lists(st.tuples(st.sampled_from(["send", "keep", "reconnect", "restart"]), st.integers(0, 5)), max_size=30)


def drive(
    target: Collection,
    steps: list[tuple[str, int]],
    live: int,
    frame: Callable[[int], Frame],
    answer: Callable[[Collection, int], int],
) -> tuple[list[int], int]:
    """Send frames number `live` and on, and break off in between; `answer` says with which the feed goes on then.

    A restart forgets what came out after the last checkpoint, as Kafka's transactions do. Returns what came out, and
    the number that would be sent next.
    """
    out: list[int] = []
    kept, kept_out = restarted(target), 0
    for step, amount in [*steps, ("reconnect", 2), ("send", 50)]:
        if step == "send":
            batch = target.take(map(frame, range(live, live + amount)))
            assert batch.errors == []
            out += map(int, keys(batch))
            live += amount
        elif step == "keep":
            kept, kept_out = restarted(target), len(out)
        else:
            if step == "restart":
                target = restarted(kept)
                del out[kept_out:]
            target.asked()
            if target.resume_from is not None:
                live = answer(target, amount)
    return out, live


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 3), st.integers(0, 2), st.integers(0, 3))
def test_each_number_comes_out_once_and_in_order(steps: list[tuple[str, int]], of: int, shard: int, start: int) -> None:
    first = shard % of  # frame n of this shard has the number first + n * of

    def resend_some_more(target: Collection, more: int) -> int:
        assert target.resume_from is not None
        return max(0, (target.resume_from - first) // of + 1 - more)

    target = collection(shard=Shard(first, of))
    out, live = drive(target, steps, start, lambda n: post(first + n * of), resend_some_more)
    assert out == list(range(out[0], first + live * of, of))


@settings(max_examples=200, deadline=None)
@given(STEPS, st.lists(st.integers(250, 1_000), min_size=1), st.lists(st.integers(-2_000, 2_000), min_size=1))
def test_each_event_comes_out_once(steps: list[tuple[str, int]], pauses: list[int], clocks: list[int]) -> None:
    """Each connection is to another server, whose clock stamps all events differently."""
    moments = list(itertools.accumulate((1_000 * pause for pause in (pauses * 300)[:300]), initial=T))
    clock, next_clock = 0, itertools.cycle(clocks)

    def answer(target: Collection, _: int) -> int:
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
    assert value(rejected) == {"reason": reason, "source": "simulator", "record": "", "bytes": 0}
    target.asked()
    assert target.resume_from == following - shard.of
    batch = target.take([post(following)])
    assert (keys(batch), batch.errors) == ([str(following)], [])
    assert (target.counts.rejected, target.counts.gaps) == (1, 0)


def test_skipped_moments_are_reported_and_not_asked_for_again() -> None:
    target = collection("jetstream", T)
    for skips in (1, 2):
        known = target.resume_from
        batch = target.skip("a frame larger than 9 bytes")
        target.asked()
        ((first, last, size),) = lost(batch)
        assert (first, last) == (known, first + size)
        assert first < cursor(target) <= last
        assert "a frame larger than 9 bytes" in value(batch.rejected[0])["reason"]
        assert (target.counts.gaps, target.counts.lost, target.counts.rejected) == (skips, skips * size, skips)
    batch = target.take([event(cursor(target), "a")])
    assert (keys(batch), batch.errors) == (["a"], [])


@pytest.mark.parametrize("kind", RECORDS)
def test_skip_before_the_first_frame(kind: str) -> None:
    target = collection(kind)
    batch = target.skip("a frame larger than 9 bytes")
    assert (len(batch.rejected), batch.errors, target.resume_from) == (1, [], None)


def test_no_heartbeat_before_the_first_post() -> None:
    target = collection("jetstream")
    assert target.heartbeat(60_000, ["heartbeat-0"]) == []
    target.take([Frame(b"{", True, 9), event(T, "like", operation="delete")])
    assert target.heartbeat(60_000, ["heartbeat-0"]) == []


LAG = HEARTBEAT_LAG_MS


@AGAIN
@pytest.mark.parametrize(("quiet_ms", "later"), [(-1, 0), (0, 0), (LAG, 0), (LAG + 1, 1), (LAG + 60_000, 60_000)])
def test_heartbeat(again: Again, quiet_ms: int, later: int) -> None:
    target = collection(clean=lambda text: text.replace("#", ""))
    target.take([post(1, timestamp=4_000), post(2, "#", timestamp=5_000), post(3, timestamp=3_000)])
    expected = {"text": None, "timestamp": 5_000 + later, "source": "simulator"}
    records = [(record.key, value(record)) for record in again(target).heartbeat(quiet_ms, ["beat-0", "beat-7"])]
    assert records == [("beat-0", {"id": "beat-0", **expected}), ("beat-7", {"id": "beat-7", **expected})]


@given(st.lists(st.integers(1, MAX_TIMESTAMP), min_size=1), st.integers(-(10**9), 10**9))
def test_heartbeats_are_never_older_than_the_newest_post(timestamps: list[int], quiet_ms: int) -> None:
    target = collection()
    target.take([post(number, timestamp=timestamp) for number, timestamp in enumerate(timestamps)])
    (record,) = target.heartbeat(quiet_ms, ["heartbeat-0"])
    assert max(timestamps) <= value(record)["timestamp"] <= max(timestamps) + max(0, quiet_ms)


def test_a_refusal_before_the_first_post_loses_nothing() -> None:
    target = collection()
    target.refused()
    batch = target.take([post(5), post(6)])
    assert (keys(batch), batch.errors, target.resume_from) == (["5", "6"], [], 6)


def test_a_refusal_with_shards_counts_only_the_shards_own_posts() -> None:
    target = collection(position=8, shard=Shard(0, 4))
    target.refused()
    assert lost(target.take([post(48)])) == [(9, 47, 9)]


def test_a_rejected_frame_is_cut_at_a_character() -> None:
    batch = collection().take([Frame(("あ" * 9_000).encode(), True, 0)])
    assert value(batch.rejected[0])["record"] == "あ" * 8_192
