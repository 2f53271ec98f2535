"""Which settings need more memory for their windows than a TaskManager has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.settings import MEBIBYTE, SettingError, read_aggregator_settings
from jobs.window_memory import Memory, Tasks, check, fullest, needed

# The memory of a TaskManager with the chart's 1536 MiB, and with the 1200 MiB of its light profile.
DEFAULT, LIGHT = Memory(576 * MEBIBYTE, 256 * MEBIBYTE), Memory(240 * MEBIBYTE, 256 * MEBIBYTE)
RAISED = ("WINDOW_SECONDS", "ALLOWED_LATENESS_SECONDS", "PLANNED_POSTS_PER_SECOND", "OUT_OF_ORDER_SECONDS")


@pytest.mark.parametrize("available", [DEFAULT, LIGHT])
def test_the_defaults_fit_into_the_charts_taskmanagers(available: Memory) -> None:
    check(read_aggregator_settings({}), available)


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({"WINDOW_SECONDS": "110"}, True),
        ({"WINDOW_SECONDS": "120"}, False),
        ({"PLANNED_POSTS_PER_SECOND": "3900"}, True),
        ({"PLANNED_POSTS_PER_SECOND": "4200"}, False),
        ({"ALLOWED_LATENESS_SECONDS": "3600"}, False),
        ({"WINDOW_SECONDS": "3600", "ALLOWED_LATENESS_SECONDS": "3600", "PLANNED_POSTS_PER_SECOND": "20"}, True),
    ],
)
def test_a_window_fits_or_is_refused(settings: dict[str, str], fits: bool) -> None:
    if fits:
        check(read_aggregator_settings(settings), DEFAULT)
    else:
        with pytest.raises(SettingError):
            check(read_aggregator_settings(settings), DEFAULT)


def test_the_error_names_settings_and_figures() -> None:
    settings = read_aggregator_settings({"WINDOW_SECONDS": "600"})
    with pytest.raises(SettingError) as caught:
        check(settings, DEFAULT)
    assert str(caught.value) == (
        "WINDOW_SECONDS=600, ALLOWED_LATENESS_SECONDS=40, PLANNED_POSTS_PER_SECOND=1000: together they need 2626 MiB "
        "of a TaskManager's heap, which has 576 MiB: smaller ones, or a TaskManager with more memory, are allowed"
    )
    with pytest.raises(SettingError, match="need 515 MiB of a TaskManager's managed memory, which has 256 MiB"):
        check(settings, Memory(heap=1 << 40, managed=256 * MEBIBYTE))


@pytest.mark.parametrize(
    ("buckets", "parallelism", "slots", "share"),
    [(1, 1, 1, 1), (1, 4, 1, 1), (4, 1, 1, 1), (4, 2, 1, 1 / 2), (4, 4, 1, 1 / 4), (4, 3, 1, 1 / 2), (4, 4, 2, 1 / 2)],
)
def test_a_taskmanager_needs_memory_for_its_buckets(buckets: int, parallelism: int, slots: int, share: float) -> None:
    assert fullest(buckets, Tasks(parallelism, slots)) == share


def test_more_taskmanagers_allow_more_posts() -> None:
    fast = {"PLANNED_POSTS_PER_SECOND": "15000", "WINDOW_BUCKETS": "4"}
    check(read_aggregator_settings(fast), DEFAULT, Tasks(parallelism=4))
    with pytest.raises(SettingError, match="WINDOW_BUCKETS=4"):
        check(read_aggregator_settings(fast), DEFAULT, Tasks(parallelism=2))


@given(st.sampled_from(RAISED), st.integers(1, 1_800), st.integers(1, 1_800))
def test_a_larger_setting_never_needs_less(name: str, value: int, more: int) -> None:
    less, greater = (needed(read_aggregator_settings({name: str(each)})) for each in (value, value + more))
    assert less.heap < greater.heap
    assert less.managed <= greater.managed
