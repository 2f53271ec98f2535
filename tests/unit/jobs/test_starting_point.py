"""Where an aggregator without state starts to read."""

import pytest

from jobs.documents import unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.settings import AggregatorSettings, read_aggregator_settings
from jobs.starting_point import EARLIEST, StartingPoint, starting_point

END = "2026-11-24T08:00:20Z"
END_MS = unix(END) * 1000


def settings(**values: str) -> AggregatorSettings:
    return read_aggregator_settings({"ALLOWED_LATENESS_SECONDS": "60", **values})


def from_time(milliseconds: int, begin_ms: int = 0) -> StartingPoint:
    options = {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(milliseconds)}
    return StartingPoint(options, begin_ms)


def test_without_documents_it_reads_all_that_there_is() -> None:
    assert starting_point(settings(), None, None, restored=False) == EARLIEST
    assert StartingPoint({"scan.startup.mode": "earliest-offset"}) == EARLIEST


def test_it_reads_every_window_again_that_may_get_a_late_post() -> None:
    start = starting_point(settings(), END, 20, restored=False)
    assert start == from_time(END_MS - 80_000 - MAX_AHEAD_MS)


def test_posts_in_documents_of_another_length_are_passed_over() -> None:
    start = starting_point(settings(WINDOW_SECONDS="60"), END, 20, restored=False)
    assert start == from_time(END_MS - 120_000 - MAX_AHEAD_MS, END_MS)


def test_a_savepoint_says_itself_what_was_read() -> None:
    assert starting_point(settings(WINDOW_SECONDS="60"), END, 20, restored=True).begin_ms == 0


@pytest.mark.parametrize("newest", [None, END])
def test_a_replay_begins_where_the_user_says(newest: str | None) -> None:
    assert starting_point(settings(REPLAY_FROM="earliest"), newest, 20, restored=False) == EARLIEST
    start = starting_point(settings(REPLAY_FROM="2026-11-24T07:00:33Z"), newest, 20, restored=False)
    begin = unix("2026-11-24T07:00:20Z") * 1000
    assert start == from_time(begin - MAX_AHEAD_MS, begin)


def test_no_time_is_before_1970() -> None:
    assert starting_point(settings(REPLAY_FROM="1970-01-01T00:00:10Z"), None, None, restored=False) == from_time(0)
