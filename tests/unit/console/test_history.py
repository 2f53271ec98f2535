"""The numbers of the last quarter of an hour."""

from console.history import POINTS, STEP_SECONDS, Rate, Series


def test_a_series_keeps_one_value_for_each_step_and_no_more_than_its_points() -> None:
    series = Series()
    for second in range(POINTS * STEP_SECONDS * 2):
        series.add(float(second), float(second))
    points = series.points(float(POINTS * STEP_SECONDS * 2 - 1))
    assert len(points) == POINTS
    assert points[-1] == POINTS * STEP_SECONDS * 2 - 1
    assert None not in points


def test_steps_without_a_value_stay_empty() -> None:
    series = Series()
    series.add(0.0, 1.0)
    series.add(3.0 * STEP_SECONDS, 2.0)
    assert series.points(3.0 * STEP_SECONDS)[-4:] == [1.0, None, None, 2.0]


def test_the_rate_of_a_total_that_starts_again_is_never_negative() -> None:
    rate = Rate()
    rates = [rate.add(second, total) for second, total in enumerate([0.0, 100.0, 200.0, 10.0, 30.0])]
    assert rates == [None, 100.0, 100.0, None, 20.0]


def test_an_unknown_total_has_no_rate() -> None:
    rate = Rate()
    assert [rate.add(0, 1.0), rate.add(1, None), rate.add(2, 5.0)] == [None, None, None]
