"""Where an aggregator without state starts to read."""

import pytest

from jobs.documents import unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.layouts import Layout, Newest, Window
from jobs.settings import AggregatorSettings, SettingError, read_aggregator_settings
from jobs.starting_point import EARLIEST, StartingPoint, rebuilt_from, starting_point

END = "2026-11-24T08:00:20Z"
END_MS = unix(END) * 1000
NEWEST = Newest(END, Layout(20), reached=END)
OTHER = Window(END, Layout(20, 2))


def settings(**values: str) -> AggregatorSettings:
    return read_aggregator_settings({"ALLOWED_LATENESS_SECONDS": "60", **values})


def from_time(milliseconds: int, begin_ms: int = 0) -> StartingPoint:
    options = {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(milliseconds)}
    return StartingPoint(options, begin_ms)


def test_without_documents_it_reads_all_that_there_is() -> None:
    assert starting_point(settings(), None, None, restored=False) == EARLIEST
    assert StartingPoint({"scan.startup.mode": "earliest-offset"}) == EARLIEST


def test_it_reads_every_window_again_that_may_get_a_late_post() -> None:
    start = starting_point(settings(), NEWEST, None, restored=False)
    assert start == from_time(END_MS - 80_000 - MAX_AHEAD_MS)


def test_it_reads_the_windows_again_that_a_slower_task_did_not_write() -> None:
    newest = NEWEST._replace(reached="2026-11-24T07:59:00Z")
    start = starting_point(settings(), newest, None, restored=False)
    assert start == from_time(END_MS - 80_000 - 80_000 - MAX_AHEAD_MS)


@pytest.mark.parametrize("layout", [Layout(60), Layout(20, 4), Layout(60, 4)])
def test_posts_in_documents_of_another_layout_are_passed_over(layout: Layout) -> None:
    start = starting_point(settings(WINDOW_SECONDS="60"), NEWEST, Window(END, layout), restored=False)
    assert start == from_time(END_MS - 120_000 - MAX_AHEAD_MS, END_MS)


def test_they_are_passed_over_even_if_no_newest_window_is_known() -> None:
    start = starting_point(settings(), None, OTHER, restored=False)
    assert start == StartingPoint(EARLIEST.options, END_MS)
    assert starting_point(settings(), None, OTHER, restored=True) == EARLIEST


def test_a_savepoint_says_itself_what_was_read() -> None:
    assert starting_point(settings(WINDOW_SECONDS="60"), NEWEST, OTHER, restored=True).begin_ms == 0


@pytest.mark.parametrize("newest", [None, NEWEST])
def test_a_replay_begins_where_the_user_says(newest: Newest | None) -> None:
    assert starting_point(settings(REPLAY_FROM="earliest"), newest, None, restored=False) == EARLIEST
    start = starting_point(settings(REPLAY_FROM="2026-11-24T07:00:33Z"), newest, None, restored=False)
    begin = unix("2026-11-24T07:00:20Z") * 1000
    assert start == from_time(begin - MAX_AHEAD_MS, begin)


def test_no_time_is_before_1970() -> None:
    start = starting_point(settings(REPLAY_FROM="1970-01-01T00:00:30Z"), None, None, restored=False)
    assert start == from_time(0, 20_000)


def test_a_replay_of_another_layout_is_refused() -> None:
    replay = settings(REPLAY_FROM="earliest", WINDOW_BUCKETS="4")
    with pytest.raises(SettingError) as caught:
        starting_point(replay, NEWEST, OTHER, restored=False)
    assert str(caught.value) == (
        f"REPLAY_FROM=earliest: the window that ends at {END} was written with WINDOW_SECONDS=20 and "
        "WINDOW_BUCKETS=2: these values, a later time, or a collection without these documents are allowed"
    )


def test_other_layouts_matter_where_windows_are_built_again() -> None:
    assert rebuilt_from(settings(), None) == 0
    assert rebuilt_from(settings(), NEWEST) == END_MS - 80_000
    assert rebuilt_from(settings(REPLAY_FROM="earliest"), NEWEST) == 0
    assert rebuilt_from(settings(REPLAY_FROM=END), NEWEST) == END_MS
