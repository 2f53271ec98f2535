"""What `make rejected` prints."""

import json

from jobs.rejected.entries import Entry, find_done, open_entries
from jobs.rejected.overview import MAX_GROUPS, details, grouped, overview
from tests.unit.jobs.rejected.lab import MANY, NAMES, NOW, Kafka


def entries(kafka: Kafka) -> list[Entry]:
    records = list(kafka.records("tweets.rejected", kafka.settled("tweets.rejected")))
    return list(open_entries(records, find_done(records), "tweets"))


def listed(kafka: Kafka) -> list[str]:
    records = kafka.records("tweets.rejected", kafka.settled("tweets.rejected"))
    done = find_done(records)
    topics = {"topic": NAMES.topic, "rejected_topic": NAMES.rejected_topic}
    return list(overview(grouped(entries(kafka)), done, **topics, feed=NAMES.feed))


def late(kafka: Kafka) -> None:
    value = {"reason": "no id", "source": "tweets", "record": '{"id":null}', "bytes": 11}
    kafka.append("tweets.rejected", 0, "tweets/0/7", json.dumps(value).encode())


def test_the_groups_with_their_commands() -> None:
    kafka = Kafka()
    kafka.collect(MANY, ['{"posts":[{"at":1}]}', "not \x1b JSON"])
    kafka.now += 60_000
    kafka.collect(MANY, ['{"posts":[{"id":2,"text":"a"}]}', '{"posts":[{"at":3}]}'])
    late(kafka)
    kafka.discard("bad_time")
    assert listed(kafka) == [
        "topic tweets.rejected: 4 rejections are neither replayed nor discarded; "
        "0 were replayed as 0 posts, 1 were discarded",
        "",
        "bad_text: 2 of the feed many, from 2026-01-01T00:00:00Z to 2026-01-01T00:01:00Z",
        "  the text is missing or not a string",
        "  2 x text is not a string",
        '  0/0: {"posts":[{"at":1}]}',
        "  replay: make rejected REPLAY=bad_text",
        "",
        "no id: 1, from 2026-01-01T00:01:00Z to 2026-01-01T00:01:00Z",
        '  0/2: {"id":null}',
        "  no replay: the record is in the topic tweets already, and the aggregator rejected it there",
        "",
        "not_json: 1 of the feed many, from 2026-01-01T00:00:00Z to 2026-01-01T00:00:00Z",
        "  the frame is not JSON, or not an object or an array",
        "  1 x not JSON: Expecting value: line 1 column 1 (char 0)",
        "  1/0: not \\x1b JSON",
        "  replay: make rejected REPLAY=not_json",
        "",
        "to see one completely: make rejected SHOW=0/0",
        "to discard a group: make rejected DISCARD=bad_text",
    ]


def test_an_empty_topic() -> None:
    first, *others = listed(Kafka())
    assert first.startswith("topic tweets.rejected: 0 rejections are neither")
    assert others == []


def test_one_rejection_completely() -> None:
    kafka = Kafka()
    kafka.collect(MANY, ['{\n"posts":[{"id":1,"text":"\u00e9\\u001b"},{"id":2}]}', b"\xff\x00\x1b"])
    kafka.collect(MANY, ["x"], is_text=False)
    late(kafka)
    # In the order of the topic's partitions.
    part, not_utf8, binary, by_aggregator, other_part = entries(kafka)
    assert list(details(part, "tweets", "many")) == [
        "code: bad_time",
        "reason: at is not a whole number from 0 to 253402300799999",
        "feed: many",
        "time: 2026-01-01T00:00:00Z",
        "part of the frame: 0",
        f"bytes: {part.size}",
        "replay: make rejected REPLAY=bad_time",
        "",
        "{",
        '"posts":[{"id":1,"text":"\u00e9\\u001b"},{"id":2}]}',
    ]
    assert other_part.items == (1,)
    assert list(details(not_utf8, "tweets", "many"))[-1] == "00000000  ff 00 1b"
    assert list(details(binary, "tweets", "many"))[-1] == "00000000  78"
    lines = list(details(by_aggregator, "tweets", "many"))
    assert "rejected record: tweets/0/7" in lines
    assert lines[-1] == '{"id":null}'


def test_parts_that_share_a_record_are_counted_and_named() -> None:
    kafka = Kafka()
    kafka.collect(MANY, [json.dumps({"posts": [{"id": number, "at": NOW} for number in range(1, 21)]})])
    (entry,) = entries(kafka)
    (group,) = grouped([entry])
    assert (group.count, sum(group.reasons.values())) == (20, 20)
    assert f"parts of the frame: {', '.join(map(str, range(20)))}" in list(details(entry, "tweets", "many"))


def test_many_sources_do_not_fill_the_memory() -> None:
    kafka = Kafka()
    for number in range(2 * MAX_GROUPS):
        value = {"code": "bad_text", "reason": f"{number}", "source": f"{number}", "record": "", "time": NOW}
        kafka.append("tweets.rejected", 0, "", json.dumps(value).encode())
    groups = grouped(entries(kafka))
    assert len(groups) == MAX_GROUPS + 1
    assert sum(group.count for group in groups) == 2 * MAX_GROUPS
