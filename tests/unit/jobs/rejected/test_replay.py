"""A replay writes each post once, whatever happens between two of its transactions."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feeds.definition import load
from jobs.feeds.feed import Feed
from jobs.feeds.model import Shard
from jobs.records import REPLAYED, gap_rejection
from jobs.rejected import work
from jobs.rejected.work import event_time
from jobs.resume import progress_from
from tests.unit.jobs.rejected.lab import MANY, NOW, Kafka

WRONG = replace(MANY, post={**MANY.post, "text": "body"})
TEXT = load("text")


def frame(*numbers: int) -> str:
    posts = [{"id": number, "text": f"post {number}", "at": NOW - 9_000, "lang": "en"} for number in numbers]
    return json.dumps({"posts": posts})


def test_a_corrected_mapping_gives_each_post_once() -> None:
    kafka = Kafka()
    kafka.append("tweets", 0, "x", json.dumps({"id": "x", "text": "old", "timestamp": NOW - 5_000}).encode())
    kafka.collect(WRONG, [frame(1, 2), frame(3)])
    assert kafka.open() == ["bad_text"] * 3
    result = kafka.replay(MANY, "bad_text")
    assert (result.replayed, result.posts, result.kept) == (3, 3, {})
    assert kafka.texts() == ["old", "post 1", "post 2", "post 3"]
    again = kafka.replay(MANY, "bad_text")
    assert list(again.lines) == ["nothing to do"]
    assert len(kafka.posts()) == 4
    (post,) = (each for each in kafka.posts() if each["id"] == "many-3")
    expected = {"id": "many-3", "text": "post 3", "timestamp": NOW - 5_000, "source": "many", "stamp": NOW - 9_000}
    assert post == {**expected, "extra": {"lang": "en"}, "replayed": "0/1"}


def test_the_markers_are_in_the_partition_of_their_rejections() -> None:
    kafka = Kafka()
    kafka.collect(WRONG, [frame(1), frame(2), frame(3)])
    kafka.replay(MANY)
    (writes,) = kafka.commits
    markers = [(each.partition, json.loads(each.value)) for each in writes if each.topic == "tweets.rejected"]
    assert markers == [
        (0, {"code": REPLAYED, "of": ["0/0", "0/1"], "time": NOW, "posts": 2}),
        (1, {"code": REPLAYED, "of": ["1/0"], "time": NOW, "posts": 1}),
    ]


def test_only_the_rejected_part_of_a_frame_is_replayed() -> None:
    kafka = Kafka()
    good, bad = {"id": 1, "text": "good", "at": NOW}, {"id": 2, "body": "bad", "at": NOW}
    kafka.collect(MANY, [json.dumps({"posts": [good, bad]})])
    assert (kafka.texts(), kafka.open()) == (["good"], ["bad_text"])
    assert kafka.replay(MANY).kept == {"still bad_text: text is not a string": 1}
    assert kafka.replay(WRONG).replayed == 1
    assert kafka.texts() == ["bad", "good"]


def test_an_emptied_post_of_a_frame_is_replayed_alone() -> None:
    kafka = Kafka()
    anonymous = replace(MANY, post={"text": "text"})
    kafka.collect(anonymous, [json.dumps({"posts": [{"text": "a"}, {"text": " "}, {"text": "b"}]})])
    (entry,) = kafka.open()
    assert entry == "empty"
    assert kafka.replay(anonymous).kept == {"still empty: empty after cleaning": 1}
    assert kafka.replay(replace(anonymous, post={"text": "x{text}"})).posts == 1
    assert kafka.texts() == ["a", "b", "x"]


def test_a_part_that_is_no_post_any_more_is_done() -> None:
    kafka = Kafka()
    kafka.collect(WRONG, [frame(1, 2)])
    kept = {"keep": [{"path": "id", "equals": 2}]}
    result = kafka.replay(replace(MANY, post={**MANY.post, **kept}))
    assert (result.replayed, kafka.texts(), kafka.open()) == (2, ["post 2"], [])


def test_a_mapping_that_divides_the_frame_otherwise_cannot_replay_a_part() -> None:
    kafka = Kafka()
    kafka.collect(WRONG, [frame(1, 2)])
    whole = replace(MANY, frames={}, post={"text": "{posts[0].text}"})
    reasons = {f"still bad_structure: today's mapping finds no part {n} in the frame": 1 for n in (0, 1)}
    assert kafka.replay(whole).kept == reasons
    assert kafka.open() == ["bad_text"] * 2


def test_the_malformed_parts_of_a_replayed_frame_become_rejections() -> None:
    kafka = Kafka()
    parts = [{"id": 1, "text": "good", "at": NOW}, {"id": 2, "at": NOW}]
    kafka.collect(MANY, [json.dumps({"items": parts})])
    assert kafka.open() == ["bad_structure"]
    result = kafka.replay(replace(MANY, frames={"each": "items"}))
    assert (result.replayed, result.posts, result.parts) == (1, 1, 1)
    assert kafka.open() == ["bad_text"]
    assert kafka.replay(replace(WRONG, frames={"each": "items"}, post={**MANY.post, "text": "id"})).kept
    assert kafka.texts() == ["good"]


def test_parts_that_share_a_record_are_replayed_together() -> None:
    kafka = Kafka()
    numbers = range(1, 40)
    kafka.collect(WRONG, [frame(*numbers)])
    assert kafka.open() == ["bad_text"]
    result = kafka.replay(MANY)
    assert (result.replayed, result.posts, kafka.open()) == (1, 39, [])
    assert kafka.texts() == sorted(f"post {number}" for number in numbers)


def test_many_malformed_parts_of_a_replayed_frame_share_a_rejection() -> None:
    kafka = Kafka()
    parts = [{"id": 0, "text": "good", "at": NOW}, *({"id": number, "at": NOW} for number in range(1, 40))]
    kafka.collect(MANY, [json.dumps({"items": parts})])
    result = kafka.replay(replace(MANY, frames={"each": "items"}))
    assert (result.replayed, result.posts, result.parts, kafka.open()) == (1, 1, 39, ["bad_text"])


def test_a_frame_that_is_no_post_is_done() -> None:
    kafka = Kafka()
    kafka.collect(MANY, ['{"kind":"hello"}'])
    result = kafka.replay(replace(MANY, frames={**MANY.frames, "control": [{"path": "kind", "equals": "hello"}]}))
    assert (result.replayed, result.posts, kafka.open()) == (1, 0, [])


def test_a_post_that_the_feed_sent_again_is_not_doubled() -> None:
    kafka = Kafka()
    kafka.collect(WRONG, [frame(1), frame(2), frame(1)])
    kafka.now += 5_000
    kafka.collect(MANY, [frame(2)])
    result = kafka.replay(MANY)
    assert (result.replayed, result.posts, result.known) == (3, 1, 2)
    assert kafka.texts() == ["post 1", "post 2"]


def test_posts_without_an_id_get_the_same_one_in_each_run() -> None:
    kafka = Kafka()
    kafka.collect(TEXT, ["one", "one", b"\xff"])
    kafka.collect(TEXT, ["two", "three"], is_text=False)
    kafka.collect(replace(TEXT, frames={}, post={"text": "text"}), ["one more", "one more"])
    assert kafka.open() == ["binary", "binary", "not_json", "not_json", "not_utf8"]
    result = kafka.replay(TEXT)
    assert (result.replayed, sum(result.kept.values())) == (2, 3)
    assert [each["id"] for each in kafka.posts() if "replayed" in each] == ["text-0-2-1", "text-1-1-1"]


def test_gaps_records_of_the_aggregator_and_other_feeds_stay() -> None:
    kafka = Kafka()
    gap = gap_rejection("lost", "lost: it began live", "many", {"numbering": "", "first": 1, "last": 2}, "", NOW)
    kafka.append("tweets.rejected", 0, *gap)
    late = {"reason": "late", "source": "tweets", "record": "{}", "bytes": 2}
    kafka.append("tweets.rejected", 0, "tweets/0/7", json.dumps(late).encode())
    earlier = {"reason": "not JSON: x", "source": "many", "record": "x", "bytes": 1, "position": None}
    kafka.append("tweets.rejected", 0, "many", json.dumps(earlier).encode())
    kafka.append("tweets.rejected", 0, "", b"no JSON")
    kafka.collect(replace(WRONG, name="other"), [frame(1)])
    result = kafka.replay(MANY)
    assert (result.replayed, kafka.commits) == (0, [])
    assert sorted(reason.split(":")[0] for reason in result.kept) == [
        "a gap",
        "it has no frame",
        "it is of the feed other, and FEED is many",
        "the record is in the topic tweets already, and the aggregator rejected it there",
    ]
    assert kafka.discard("late").discarded == 1
    assert kafka.open() == ["bad_text", "lost", "unknown"]
    assert kafka.discard().discarded == 3
    assert kafka.open() == []
    assert kafka.texts() == []


def test_a_collector_resumes_as_if_nothing_was_replayed() -> None:
    kafka = Kafka()
    simulator = load("simulator")
    posts = [{"seq": n, "text": f"post {n}", "timestamp": NOW - 100 + n, "feed": "f"} for n in (1, 2, 3)]
    kafka.collect(simulator, map(json.dumps, [*posts, {**posts[2], "seq": 4, "text": 7}, {**posts[2], "seq": 5}]))
    before = progress_from([json.dumps(each) for each in kafka.posts()], Feed(simulator, str), Shard())
    assert before is not None
    assert before.position == 5
    assert kafka.replay(replace(simulator, post={**simulator.post, "text": "x{text}"}), "bad_text").posts == 1
    assert progress_from([json.dumps(each) for each in kafka.posts()], Feed(simulator, str), Shard()) == before


@pytest.mark.parametrize(("newest", "expected"), [({0: 5, 1: 9}, 5), ({1: 9}, 9), ({}, 20), ({0: 30, 1: 9}, 20)])
def test_the_event_time_is_the_newest_of_the_partition_and_never_ahead(newest: dict[int, int], expected: int) -> None:
    assert event_time(0, newest, 20) == expected


@given(st.lists(st.integers(0, 3), max_size=4), st.lists(st.integers(1, 40), max_size=30), st.integers(1, 4))
def test_killed_runs_lose_and_double_nothing(kills: list[int], numbers: list[int], size: int) -> None:
    kafka = Kafka()
    kafka.collect(WRONG, [frame(each) for each in numbers])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "BATCH_REJECTIONS", size)
        for kill in kills:
            kafka.killed_at = len(kafka.commits) + kill
            try:
                kafka.replay(MANY)
            except InterruptedError:
                assert kafka.open()
        kafka.killed_at = None
        kafka.replay(MANY)
    assert kafka.open() == []
    assert kafka.texts() == sorted(f"post {each}" for each in set(numbers))
