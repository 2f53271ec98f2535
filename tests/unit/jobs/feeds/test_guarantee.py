"""The delivery guarantee that follows from a definition."""

from typing import Any

import pytest

from jobs.feeds.definition import PRESETS, check, load
from jobs.feeds.guarantee import (
    EXACTLY_ONCE,
    GUARANTEES,
    LOSS_COUNTED,
    LOSS_TIMED,
    WITHIN_LOOK_BACK,
    explain,
    guarantee,
)
from tests.unit.jobs.feeds.samples import FULL, PLAIN, TEXT, TIMED, changed

DENSE = changed(PLAIN, ("position", {"path": "seq", "dense": True}))
RESUMED = ("resume", {"query": {"since": "${position}"}})
CASES: list[tuple[dict[str, Any], str, str]] = [
    (FULL, EXACTLY_ONCE, "the client resumes from a number, as long as the server keeps it (1 h)"),
    (changed(DENSE, RESUMED), EXACTLY_ONCE, "as long as the server keeps it"),
    (changed(PLAIN, ("position", {"path": "seq"}), RESUMED), EXACTLY_ONCE, "resumes from a number"),
    (TIMED, WITHIN_LOOK_BACK, "the client resumes 5 s before a time"),
    (changed(TIMED, ("resume/overlap", 0.5)), WITHIN_LOOK_BACK, "the client resumes 0.5 s before a time"),
    (DENSE, LOSS_COUNTED, "the server cannot resume; a missing number is a lost post"),
    (changed(DENSE, ("position/per", "product")), LOSS_COUNTED, "a missing number of each product is a lost post"),
    (PLAIN, LOSS_TIMED, "only the seconds without a connection are known"),
    (changed(PLAIN, ("position", {"path": "seq"})), LOSS_TIMED, "the server cannot resume"),
    (TEXT, LOSS_TIMED, "the server cannot resume"),
]


@pytest.mark.parametrize(("mapping", "expected", "reason"), CASES)
def test_guarantee(mapping: dict[str, Any], expected: str, reason: str) -> None:
    definition = check(mapping)
    assert guarantee(definition) == expected
    assert explain(definition).startswith(f"{expected}: ")
    assert reason in explain(definition)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_one(name: str) -> None:
    assert len(explain(load(name)).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "expected"), [("simulator", EXACTLY_ONCE), ("jetstream-v1", WITHIN_LOOK_BACK), ("text", LOSS_TIMED)]
)
def test_the_guarantees_of_presets(name: str, expected: str) -> None:
    assert guarantee(load(name)) == expected


def test_the_metric_has_the_stronger_guarantee_as_the_higher_number() -> None:
    assert GUARANTEES == ("loss timed", "loss counted", "exactly once within the look-back", "exactly once")
