"""The arithmetic of the benchmarks."""

import pytest

from benchmarks.numbers import Measurement, Steady, at, percentile, ratios, spread, steady, summary


def test_a_spread_is_minimum_median_and_maximum() -> None:
    assert spread([3, 1, 9, 2, 8]) == (1, 3, 9)


def test_ratios_are_pair_by_pair() -> None:
    assert ratios([2, 9], [1, 3]) == [2, 3]


def test_rounds_without_a_partner_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_the_first_fifth_of_the_items_is_not_counted() -> None:
    times = [100.0, 0, 0, 101, 102, 103, 104, 105, 106, 107]  # in any order; the first two took a hundred seconds
    assert steady(times) == Steady(begin=100, end=107, share=0.7)


def test_a_steady_rate_is_found_behind_a_slow_start() -> None:
    slow = [number * 1.0 for number in range(20)]
    fast = [20 + number * 0.1 for number in range(80)]
    part = steady([*slow, *fast])
    assert 100 * part.share / (part.end - part.begin) == pytest.approx(10)


def test_what_one_look_found_before_the_counted_part_is_not_counted() -> None:
    """The first look at the store found 60 of 100 documents; the other 40 came within 4 s."""
    times = [100.0] * 60 + [100.0 + number for number in (1, 2, 3, 4) for _ in range(10)]
    assert steady(times) == Steady(begin=100, end=104, share=0.4)


@pytest.mark.parametrize(("time", "value"), [(0, 5), (1, 5), (2, 10), (3, 15), (4, 15), (9, 15)])
def test_a_value_between_two_samples_is_on_the_line_between_them(time: float, value: float) -> None:
    assert at([(1, 5), (3, 15), (4, 15)], time) == value


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 201)]
    assert percentile(values, 50) == 100
    assert percentile(values, 99) == 198
    assert percentile([7.0], 99) == 7
    assert percentile([1.0, 2.0], 0) == 1


def test_rate_and_processor_time_of_a_measurement() -> None:
    measured = Measurement(posts=500_000, seconds=10, cpu_seconds=8)
    assert measured.rate == 50_000
    assert measured.cpu == 16


ROUNDS = {
    "loop": [Measurement(100, 1, 1), Measurement(300, 1, 1, lost=1_500)],
    "job": [Measurement(150, 1, 1), Measurement(300, 1, 1)],
}


def test_a_summary_has_rates_ratios_and_what_was_lost() -> None:
    titles, _, loop, job = [columns(line) for line in summary("job", ROUNDS, {})]
    assert titles == ["Side", "posts/s", "job / side", "cpu s per million posts", "lost"]
    assert loop[:3] == ["loop", "200 (100 to 300)", "1.25 (1.00 to 1.50)"]
    assert loop[4] == "1,500"
    assert job[:3] == ["job", "225 (150 to 300)", ""]
    assert job[4] == "0"


def test_a_summary_has_the_notes_of_the_sides_that_have_one() -> None:
    titles, _, loop, job = [columns(line) for line in summary("job", ROUNDS, {"job": "exactly once"})]
    assert (titles[-1], loop[-1], job[-1]) == ("guarantee", "", "exactly once")


def columns(line: str) -> list[str]:
    return [each.strip() for each in line.strip("|").split("|")]
