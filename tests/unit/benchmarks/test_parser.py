"""The benchmark of the parsers compares what does the same work: both sides make the same events of the same frames."""

import pytest

from benchmarks import parser
from benchmarks.fixed_feeds import Ignored, Post
from jobs.feeds import model


def comparable(event: object) -> tuple[object, ...]:
    """The fields that both sides have."""
    if isinstance(event, Post | model.Post):
        return event.id, event.text, event.timestamp, event.position, event.numbering
    assert isinstance(event, Ignored | model.Ignored)
    return (event.position,)


@pytest.mark.parametrize("case", list(parser.cases()), ids=lambda case: case.name)
def test_both_sides_make_the_same_events(case: parser.Case) -> None:
    fixed = [comparable(case.fixed(frame)) for frame in case.frames]
    assert [comparable(case.compiled(frame)) for frame in case.frames] == fixed
    assert sum(len(event) > 1 for event in fixed) > len(fixed) * 0.9


def test_the_benchmark_prints_the_ratio_of_each_feed() -> None:
    lines: list[str] = []
    ratios = parser.run(lines.append, rounds=2, seconds=0.001)
    assert list(ratios) == ["simulator", "text", "jetstream-v1"]
    assert sum("ratio compiled / fixed" in line for line in lines) == len(ratios)
