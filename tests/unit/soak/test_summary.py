"""What the soak counts, when it has passed, and what it says."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jobs.audit.numbers import NumberSum
from jobs.audit.report import Mismatch, Report, TopicSum
from tests.soak.memory import Growth
from tests.soak.settings import SoakSettings
from tests.soak.summary import (
    FLAT_MIB_PER_HOUR,
    MIN_SLOPE_SECONDS,
    Accumulated,
    Posts,
    Result,
    count_posts,
    lines,
    slope_result,
)

FLAT = Growth("broker", slope=3.0, seconds=MIN_SLOPE_SECONDS, processes=2, peak=512.0)
EXACT = Posts(posts=1_800_000, lost=0, duplicates=0, late=0, other=0, balanced=True)
GOOD = Result(
    settings=SoakSettings(minutes=30, seed=7, rate=1000),
    faults={"broker killed": 3, "simulator stopped": 2},
    skipped=1,
    ended={},
    catch_up=21.4,
    posts=EXACT,
    dropped=0,
    restarts_in_place=12,
    orphaned_workers=1,
    memory=[FLAT],
    stubs=[],
    kafka_mib=[10.0, 400.0, 350.0],
    cores=1.02,
)


def number_sum(**changed: Any) -> NumberSum:
    usual = NumberSum(
        source="simulator",
        numbering="n",
        first=1,
        last=100,
        posts=100,
        emptied=0,
        rejected=0,
        lost=0,
        missing=0,
        missing_samples=(),
        duplicates=0,
        duplicate_samples=(),
        gaps=(),
        earlier=0,
        later=0,
    )
    return replace(usual, **changed)


def report(numbers: Sequence[NumberSum], faults: Sequence[Mismatch] = ()) -> Report:
    topic = TopicSum(
        topic="tweets",
        windows=1,
        posts=100,
        others=0,
        in_documents=100,
        rejected=0,
        in_flight=0,
        in_flight_from=None,
        partial=0,
        old_documents=0,
        expired=0,
        missing_rejections=0,
        missing_rejection_samples=(),
        orphaned_rejections=0,
        orphaned_rejection_samples=(),
        empty_partitions=(),
        mismatches=tuple(faults),
    )
    return Report(tuple(numbers), (), topic)


def window(missing: int | None, extra: int | None) -> Mismatch:
    return Mismatch("2026-11-24T08:00:05Z", 100, 100, 0, missing, extra, ("differs",))


@pytest.mark.parametrize(
    ("found", "reasons", "expected"),
    [
        (report([number_sum()]), [], Posts(100, 0, 0, 0, 0, balanced=True)),
        (report([number_sum(lost=4)]), [], Posts(100, 4, 0, 0, 0, balanced=True)),
        (report([number_sum(missing=3)]), [], Posts(100, 3, 0, 0, 0, balanced=False)),
        (report([number_sum(duplicates=2)]), [], Posts(100, 0, 2, 0, 0, balanced=False)),
        (report([number_sum()], [window(5, 6)]), [], Posts(100, 5, 6, 0, 0, balanced=False)),
        (report([number_sum()], [window(None, None)]), [], Posts(100, 0, 0, 0, 0, balanced=False)),
        (report([number_sum()]), ["late", "no id", "late"], Posts(100, 0, 0, 2, 1, balanced=True)),
        (report([number_sum(), number_sum(missing=1)]), [], Posts(200, 1, 0, 0, 0, balanced=False)),
    ],
    ids=["exact", "reported", "missing", "doubled", "window", "window not compared", "rejected", "two numberings"],
)
def test_lost_duplicate_and_late_posts_are_counted(found: Report, reasons: list[str], expected: Posts) -> None:
    assert count_posts(found, reasons) == expected


def test_a_counter_that_restarts_is_added_up() -> None:
    counter = Accumulated()
    for value in (0, 2, 5, 0, 1, 4, 3):
        counter.add(value)
    assert counter.total == 5 + 4 + 3


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        (FLAT, "flat"),
        (replace(FLAT, slope=-500.0), "flat"),
        (replace(FLAT, slope=FLAT_MIB_PER_HOUR), "grows"),
        (replace(FLAT, seconds=MIN_SLOPE_SECONDS - 1), "not judged, which needs 300 s"),
        (replace(FLAT, slope=None, seconds=0), "not judged, which needs 300 s"),
    ],
)
def test_flat_needs_a_slope_below_the_limit_over_enough_time(growth: Growth, expected: str) -> None:
    assert slope_result(growth) == expected


def test_a_soak_without_failures_passes() -> None:
    assert GOOD.failures == []
    assert list(lines(GOOD))[-1] == "PASSED"


@pytest.mark.parametrize(
    ("changed", "failure"),
    [
        ({"posts": replace(EXACT, lost=1)}, "lost 1"),
        ({"posts": replace(EXACT, duplicates=1_000)}, "twice 1,000"),
        ({"posts": replace(EXACT, late=2)}, "late 2"),
        ({"posts": replace(EXACT, other=2)}, "rejected 2"),
        ({"posts": replace(EXACT, balanced=False)}, "the audit does not balance"),
        ({"posts": replace(EXACT, posts=0)}, "no posts"),
        ({"dropped": 9}, "numLateRecordsDropped 9"),
        ({"ended": {"TaskManager": 1}}, "TaskManager ended by itself"),
        ({"memory": [FLAT, replace(FLAT, group="store", slope=1e4)]}, "memory of store grows"),
    ],
)
def test_each_failure_fails_the_soak(changed: dict[str, Any], failure: str) -> None:
    result = replace(GOOD, **changed)
    assert result.failures == [failure]
    assert list(lines(result))[-1] == f"FAILED: {failure}"


def test_the_summary_can_be_pasted_into_a_note() -> None:
    assert "\n".join(lines(GOOD)) == (
        "soak: MINUTES=30 SEED=7 RATE=1000\n"
        "  faults: 5 (broker killed 3, simulator stopped 2), 1 could not be done\n"
        "  posts: 1,800,000, lost 0, twice 0, late 0, rejected for another reason 0, numLateRecordsDropped 0\n"
        "  audit: balanced; caught up 21 s after the last fault\n"
        "  memory of broker: +3 MiB/h over 300 s of 2 processes, the largest 512 MiB: flat\n"
        "  flat: below 100 MiB/h, as the common slope of all processes after their warm-up\n"
        "  Kafka's data: 10 MiB at the start, at most 400, 350 at the end\n"
        "  starts of jobs in one TaskManager after its first ones: at most 12\n"
        "  Python workers left behind by killed TaskManagers, at the end: 1\n"
        "  ended by themselves: none; load: 1.02 cores\n"
        "PASSED"
    )


def test_the_memory_of_a_stub_is_shown_and_does_not_count() -> None:
    grows = Growth("document store", slope=5_000.0, seconds=MIN_SLOPE_SECONDS, processes=1, peak=2_500.0)
    assert replace(GOOD, memory=[FLAT, grows]).failures == ["memory of document store grows"]
    result = replace(GOOD, memory=[FLAT, grows], stubs=["document store"])
    assert result.failures == []
    assert any("+5,000 MiB/h" in line and "not judged" in line for line in lines(result))
