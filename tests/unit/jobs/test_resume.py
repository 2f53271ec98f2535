"""From which position a collector without state resumes, by the records at the end of the topic, in any order."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feed_processor import FeedProcessor, FeedState, Frame
from jobs.feeds.feed import make_feed
from jobs.feeds.model import Shard
from jobs.resume import progress_from

ONE = Shard()
SIMULATOR, JETSTREAM, TEXT = (make_feed(kind, str) for kind in ("simulator", "jetstream-v1", "text"))
T = 1_767_225_600_000_000  # a moment in microseconds
OVERLAP = JETSTREAM.overlap


def post(position: str | None, timestamp: int = 1_000, source: str = "simulator", **fields: object) -> str:
    identity = f"{source}-{str(position).replace('/', '-')}"
    record = {"id": identity, "text": "a post", "timestamp": timestamp, "source": source, "position": position}
    return json.dumps({**record, **fields})


def heartbeat(position: str, timestamp: int, shard: str = "0/1", source: str = "simulator") -> str:
    return post(position, timestamp, source, id="heartbeat-3", text=None, shard=shard)


def shuffled(records: list[str]) -> list[str]:
    return random.Random(1).sample(records, len(records))


def test_the_newest_position_of_a_post_or_a_heartbeat() -> None:
    records = [post("1a2b/8", 5_000), post("1a2b/10", 4_000), post("1a2b/9", 6_000)]
    assert progress_from(records, SIMULATOR, ONE) == FeedState("simulator", "1a2b", 10, 6_000, 6_000)
    records.append(heartbeat("1a2b/12", 5_500))
    for order in (records, records[::-1], [record.encode() for record in shuffled(records)]):
        assert progress_from(order, SIMULATOR, ONE) == FeedState("simulator", "1a2b", 12, 6_000, 6_000)


def test_the_numbering_is_that_of_the_newest_event_time() -> None:
    records = [post("old/900", 5_000), post("new/8", 5_001), post("new/9", 4_000), heartbeat("old/901", 5_000)]
    assert progress_from(records, SIMULATOR, ONE) == FeedState("simulator", "new", 9, 5_001, 5_001)


def test_a_feed_without_named_numberings() -> None:
    assert progress_from([post("7")], SIMULATOR, ONE) == FeedState("simulator", "", 7, 1_000, 1_000)


def test_a_numbering_may_be_any_printable_name() -> None:
    assert progress_from([post("a/b:c/7")], SIMULATOR, ONE) == FeedState("simulator", "a/b:c", 7, 1_000, 1_000)


def test_other_feeds_do_not_count() -> None:
    records = [post("7", 1_000), post("900", 9_000, "jetstream"), post(None, 9_000, "text")]
    assert progress_from(records, SIMULATOR, ONE) == FeedState("simulator", "", 7, 1_000, 1_000)
    assert progress_from(records, TEXT, ONE) is None


@pytest.mark.parametrize("records", [[], [post("9", source="jetstream")], ["{"], [post(None)]])
def test_there_is_none(records: list[str]) -> None:
    assert progress_from(records, SIMULATOR, ONE) is None


MALFORMED: dict[str, str | bytes] = {
    "not JSON": "{",
    "not UTF-8": b"\xff\xfe{",
    "nested deeply": "[" * 100_000,
    "no object": "[1]",
    "no id": post("99", id=None),
    "no source": post("99", source="simulator").replace('"source"', '"from"'),
    "no timestamp": post("99", timestamp=None),  # type: ignore[arg-type]
    "timestamp in words": post("99", timestamp="now"),  # type: ignore[arg-type]
    "timestamp true": post("99", timestamp=True),
    "negative timestamp": post("99", timestamp=-1),
    "year 10000": post("99", timestamp=253_402_300_800_000),
    "no position": post(None),
    "position a number": post(99),  # type: ignore[arg-type]
    "position in words": post("ninety"),
    "no number": post("1a2b/"),
    "negative": post("-9"),
    "too many digits": post("9" * 20),
    "a numbering with a space": post("a b/9"),
    "a numbering that is too long": post(f"{'a' * 65}/9"),
    "no numbering": post("/9"),
    "other digits": post("\u0669"),
    "a heartbeat without shard": post("99", text=None, id="heartbeat-0"),
    "a heartbeat of no shard": heartbeat("99", 9_000, "2/2"),
    "a shard in words": heartbeat("99", 9_000, "one/two"),
    "no heartbeat's id": post("99", 9_000, text=None, shard="0/1"),
}


@pytest.mark.parametrize("record", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_passed_over(record: str | bytes) -> None:
    assert progress_from([record, post("7"), record], SIMULATOR, ONE) == FeedState("simulator", "", 7, 1_000, 1_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)
FIELDS = st.sampled_from(["id", "text", "timestamp", "source", "position", "shard", "stamp"])


RECORDS = st.dictionaries(FIELDS, JSON).map(lambda fields: json.dumps({**json.loads(post("7")), **fields}))


@given(st.lists(RECORDS | st.binary()))
def test_no_record_raises(records: list[str | bytes]) -> None:
    for feed in (SIMULATOR, JETSTREAM, TEXT):
        progress_from(records, feed, Shard(0, 2))


def test_a_time_feed_knows_the_ids_of_twice_the_overlap() -> None:
    moments = [T, T - OVERLAP, T - 2 * OVERLAP, T - 2 * OVERLAP - 1]
    records = [post(str(moment), moment // 1000, "jetstream", id=f"id{n}") for n, moment in enumerate(moments)]
    records.append(heartbeat(str(T), T // 1000 + 7, source="jetstream"))
    progress = progress_from(shuffled(records), JETSTREAM, ONE)
    recent = ((T - 2 * OVERLAP, "id2"), (T - OVERLAP, "id1"), (T, "id0"))
    assert progress == FeedState("jetstream", "", T, T // 1000 + 7, T // 1000 + 7, recent, T // 1000 + 7)


def test_a_time_feed_knows_a_post_with_a_stamp_ahead_for_longer() -> None:
    ahead = T // 1000 + 3_600_000
    records = [post(str(T), 5, "jetstream"), post(str(T - 3 * OVERLAP), 5, "jetstream", id="ahead", stamp=ahead)]
    progress = progress_from(records, JETSTREAM, ONE)
    assert progress is not None
    assert (ahead * 1000, "ahead") in progress.recent


# Shards.

SHARDS = [
    *[post(f"1a2b/{number}", 1_000 + number) for number in (1, 2, 3, 4, 5, 6, 7, 9, 11)],
    heartbeat("1a2b/8", 1_900, "0/2"),
    heartbeat("1a2b/11", 1_950, "1/2"),
]


@pytest.mark.parametrize(("shard", "position", "newest"), [(0, 8, 1_900), (1, 11, 1_950)])
def test_each_shard_goes_on_after_its_own_position(shard: int, position: int, newest: int) -> None:
    expected = FeedState("simulator", "1a2b", position, newest, newest)
    assert progress_from(shuffled(SHARDS), SIMULATOR, Shard(shard, 2)) == expected


def test_a_shard_of_which_the_topic_holds_nothing() -> None:
    assert progress_from([post("1a2b/9")], SIMULATOR, Shard(0, 2)) is None


@pytest.mark.parametrize("of", [1, 2, 3, 4, 5])
def test_with_other_shards_than_before_nothing_is_lost_and_nothing_comes_twice(of: int) -> None:
    collected = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11}
    out: list[int] = []
    for number in range(of):
        shard = Shard(number, of)
        progress = progress_from(shuffled(SHARDS), SIMULATOR, shard)
        assert progress is not None
        assert (progress.timestamp, progress.heartbeat_time) == ((1_900, 1_950)[number] if of == 2 else 1_950,) * 2
        target = FeedProcessor(make_feed("simulator", str), shard, str, progress)
        assert target.resume_from is not None
        sent = [n for n in range(target.resume_from.number + 1, 30) if n % of == number]
        batch = target.process(Frame(frame(n), True, 9_000) for n in sent)
        assert batch.rejected == []
        out += [int(json.loads(record.value)["text"]) for record in batch.posts]
    assert sorted(out) == sorted(set(range(1, 30)) - collected)


def frame(number: int) -> bytes:
    return json.dumps({"seq": number, "timestamp": 2_000, "text": f"{number}", "feed": "1a2b"}).encode()
