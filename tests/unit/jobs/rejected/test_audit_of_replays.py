"""The audit balances before, between and after replays, and finds a post that is replayed twice."""

import json

from jobs.audit.reader import Record
from jobs.records import DISCARDED, REPLAYED, marker
from tests.unit.jobs.test_audit import START, History, report_of


def history() -> tuple[History, str]:
    """Numbers 101 to 110, of which 105 is rejected; and the place of its rejection."""
    made = History()
    for number in range(101, 111):
        if number != 105:
            made.post(number, number - 101)
    made.reject_frame("the cleaned post is larger", "x", "1a2b3c4d/105")
    return made, "0/0"


def mark(made: History, code: str, place: str, posts: int = 0) -> None:
    key, value = marker(code, [place], START, posts)
    made.rejected.append(Record(0, 2 * len(made.rejected), key.encode(), value))


def replay(made: History, place: str) -> None:
    value = {"id": "simulator-1a2b3c4d-105", "text": "replayed", "source": "simulator", "stamp": START}
    made.append(value | {"timestamp": START + 15_000, "replayed": place}, 1)
    mark(made, REPLAYED, place, 1)


def finish(made: History) -> None:
    made.heartbeat(110, 60)
    made.aggregate(40)


def test_a_replayed_number_counts_once_as_rejected() -> None:
    made, place = history()
    replay(made, place)
    finish(made)
    report = report_of(made)
    assert report.balanced, report.lines
    (numbers,) = report.numbers
    assert (numbers.posts, numbers.rejected, numbers.numbers) == (9, 1, 10)
    assert report.sources == ()
    assert report.unreadable == 0
    line = "rejections, counted above: 1 replayed as 1 posts, 0 discarded; 1 replayed posts are in the topic"
    assert line in report.lines


def test_a_discarded_number_still_counts_as_rejected() -> None:
    made, place = history()
    mark(made, DISCARDED, place)
    finish(made)
    report = report_of(made)
    assert report.balanced, report.lines
    assert (report.replays.discarded, report.numbers[0].rejected) == (1, 1)


def test_a_post_that_is_replayed_twice_does_not_balance() -> None:
    made, place = history()
    replay(made, place)
    replay(made, place)
    finish(made)
    report = report_of(made)
    assert not report.balanced
    assert report.lines[-1] == "NOT BALANCED: 1 posts replayed twice"


def test_a_replayed_post_without_its_document_does_not_balance() -> None:
    made, place = history()
    finish(made)
    replay(made, place)
    assert json.loads(made.topic[-1].value or b"")["text"] == "replayed"
    assert not report_of(made).balanced
